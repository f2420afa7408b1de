"""Which shard and node an account is on: the pure part, and the hash against PostgreSQL's own."""

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.errors import OrganizationNotFoundError
from billing_app.billing.executions import by_shard
from billing_app.billing.executions.directory import Targets
from billing_app.billing.executions.requests import Accepted, Commit, Decision, Mode, Request
from billing_app.billing.executions.shards import Shard, ShardMap, hash_of
from billing_app.billing.executions.statements import PLAIN, ROUTED, of_shard
from billing_app.db.distribution import DISTRIBUTED
from tests.billing.clusters import NODES, shard_map
from tests.factories import PLATFORM, check_request

accounts = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(accounts, min_size=50, max_size=200))
def test_hash_is_the_one_of_postgresql(server_url: str, numbers: list[int]) -> None:
    with psycopg.connect(server_url) as connection:
        query = "SELECT hashint8(number) FROM unnest(%s::bigint[]) AS number"
        rows = connection.execute(query, [numbers]).fetchall()
    assert [hash_of(number) for number in numbers] == [row[0] for row in rows]


@given(st.lists(accounts, max_size=40))
def test_each_position_is_in_the_part_of_its_shard(numbers: list[int]) -> None:
    shards = shard_map(8)
    parts = shards.split(numbers)
    assert sorted(place for _, places in parts for place in places) == list(range(len(numbers)))
    for shard, places in parts:
        assert places == sorted(places)
        assert all(shards.shard_of(numbers[place]) is shard for place in places)


@given(st.lists(accounts, max_size=40))
def test_all_processes_lock_shards_in_the_same_order(numbers: list[int]) -> None:
    order = [shard.number for shard, _ in shard_map(8).split(numbers)]
    again = [shard.number for shard, _ in shard_map(8).split(numbers[::-1])]
    assert order == again == sorted(order)


def test_every_account_has_a_shard_whose_range_it_is_in() -> None:
    shards = shard_map(8)
    starts = sorted(shard.starts_at for shard in _shards(shards))
    for number in range(1000):
        start = shards.shard_of(number).starts_at
        later = [other for other in starts if other > start]
        assert start <= hash_of(number) < (later[0] if later else 2**31)


async def test_batch_is_decided_shard_by_shard_and_answered_in_its_order() -> None:
    shards = shard_map(4)
    targets: Targets = {("org_a", ""): 1, ("org_b", ""): 2, ("nobody", ""): NOBODY}
    requests: list[Request] = [
        check_request(Mode.CONSUME, 1, "1", organization_id="org_b"),
        check_request(Mode.CONSUME, 2, "2", organization_id="nobody"),
        Commit(3, 7, None, PLATFORM),
        check_request(Mode.CONSUME, 3, "3", organization_id="org_a"),
    ]
    parts: list[int] = []

    async def decide_part(shard: Shard, part: object, owned: Targets) -> list[Decision]:
        parts.append(shard.number)
        assert isinstance(part, list)
        for request in part:
            account = by_shard.account_of(request, owned)
            assert isinstance(account, int)
            assert shards.shard_of(account) is shard
        return [Accepted(repr(request).encode()) for request in part]

    decisions = await by_shard.by_shard(shards, requests, targets, decide_part)
    assert parts == sorted(set(parts))
    assert decisions[1] is NOBODY
    for place in (0, 2, 3):
        assert decisions[place] == Accepted(repr(requests[place]).encode())


def test_statements_of_a_shard_name_its_tables_alone() -> None:
    tables = {name: f"{name}_102008" for name in DISTRIBUTED}
    shard = of_shard(102_008, 1, tables)
    for field in shard.__struct_fields__:
        statement = getattr(shard, field)
        if isinstance(statement, str):
            words = set(statement.replace("(", " ").replace(".", " ").replace(",", " ").split())
            assert not words & set(DISTRIBUTED), field
    assert "FROM plans_102008" in shard.lock_plans
    assert "lock_shard_metadata(5, ARRAY[102008::bigint])" in shard.lock_plans
    assert "is_here" in shard.clock
    assert "is_here" in shard.read_plans


def test_only_the_coordinator_is_told_the_accounts_twice() -> None:
    assert PLAIN.accounts([1, 2]) == ()
    assert ROUTED.accounts([1, 2]) == ([1, 2],)
    assert "route" not in "".join(str(getattr(PLAIN, f)) for f in PLAIN.__struct_fields__)
    assert "plans.account_id = ANY($29::bigint[])" in ROUTED.apply


def test_map_names_the_nodes_that_hold_shards() -> None:
    assert shard_map(4).nodes == set(NODES)


def _shards(shards: ShardMap) -> set[Shard]:
    return {shards.shard_of(number) for number in range(1000)}


NOBODY = OrganizationNotFoundError(organization_id="nobody")

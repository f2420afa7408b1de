"""Counting on a cluster: exact under concurrency, whatever the shards of a batch's accounts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import CannotDecideError, InsufficientExecutionsError
from billing_app.billing.executions.requests import Accepted, Adjust, Commit, Mode, Refund
from billing_app.billing.executions.service import Executions
from billing_app.billing.executions.verification import verify
from billing_app.db.engine import Database
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.distributed.counted_load import consume, holders_of_all_shards, place_of, service
from tests.factories import (
    PLATFORM,
    PLATFORM_SERVICE,
    check_request,
    connect,
    organization,
    public_organization,
)


@pytest.fixture
async def executions(own_database_url: str) -> AsyncIterator[Executions]:
    made = service(own_database_url)
    yield made
    await made.close()


@pytest.fixture
async def other(own_database_url: str) -> AsyncIterator[Executions]:
    """Another process' connections."""
    made = service(own_database_url)
    yield made
    await made.close()


@pytest.fixture(autouse=True)
async def verified(own_database_url: str) -> AsyncIterator[None]:
    yield
    database = Database(own_database_url)
    assert list(await verify(database)) == []
    await database.dispose()


async def test_2000_at_once_of_500_executions_accept_exactly_500(
    executions: Executions, other: Executions, own_database_url: str
) -> None:
    holder = organization(own_database_url, 300, 200)
    decisions = await asyncio.gather(
        *[
            each.decide(PLATFORM_SERVICE, consume(holder, f"{place}-{n}"))
            for place, each in enumerate((executions, other))
            for n in range(1000)
        ]
    )
    kinds = Counter(type(decision) for decision in decisions)
    assert kinds == {Accepted: 500, InsufficientExecutionsError: 1500}
    assert _used(own_database_url, holder.account_number) == 500


async def test_one_key_200_times_at_once_counts_once(
    executions: Executions, other: Executions, own_database_url: str
) -> None:
    holder = organization(own_database_url, 500)
    decisions = await asyncio.gather(
        *[
            each.decide(PLATFORM_SERVICE, consume(holder, "one", 3))
            for each in (executions, other)
            for _ in range(100)
        ]
    )
    assert all(isinstance(decision, Accepted) for decision in decisions)
    answers = [decision for decision in decisions if isinstance(decision, Accepted)]
    assert len({answer.answer for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert _used(own_database_url, holder.account_number) == 3


async def test_batch_over_all_shards_is_answered_in_order(
    executions: Executions, own_database_url: str
) -> None:
    holders = holders_of_all_shards(own_database_url, 1)
    assert len({place_of(own_database_url, h.account_number).port for h in holders}) > 1
    requests = [consume(h, f"{turn}-{n}", n + 1) for turn in "ab" for n, h in enumerate(holders)]
    nobody = check_request(Mode.CONSUME, 1, "x", organization_id="nobody")
    too_many = consume(holders[0], "too many", 1_000_000)
    decisions = await executions.decide_each(PLATFORM_SERVICE, [*requests, nobody, too_many])
    assert [type(decision).__name__ for decision in decisions] == [
        *["Accepted"] * len(requests),
        "OrganizationNotFoundError",
        "InsufficientExecutionsError",
    ]
    again = await executions.decide_each(PLATFORM_SERVICE, requests)
    for first, second in zip(decisions, again, strict=False):
        assert isinstance(first, Accepted)
        assert second == Accepted(first.answer, replayed=True)
    for n, holder in enumerate(holders):
        assert _used(own_database_url, holder.account_number) == 2 * (n + 1)


async def test_new_users_get_one_trial_each(
    executions: Executions, other: Executions, own_database_url: str
) -> None:
    public_organization(own_database_url)
    users = [f"user-{n}" for n in range(60)]
    decisions = await asyncio.gather(
        *[
            each.decide(
                PLATFORM_SERVICE,
                check_request(
                    Mode.CONSUME, 1, f"{place}-{user}", organization_id=PUBLIC, user_id=user
                ),
            )
            for place, each in enumerate((executions, other))
            for user in users
        ]
    )
    assert all(isinstance(decision, Accepted) for decision in decisions)
    with connect(own_database_url) as connection:
        row = connection.execute(
            "SELECT count(*), sum(executions), sum(used) FROM plans"
        ).fetchone()
    assert row == (len(users), len(users) * TRIAL_EXECUTIONS, 2 * len(users))


async def test_reservations_and_refunds_on_every_shard(
    executions: Executions, own_database_url: str
) -> None:
    for holder in holders_of_all_shards(own_database_url, 1):
        name, account = holder.organization_id, holder.account_number
        request = check_request(Mode.RESERVE, 10, "r", organization_id=name)
        reserved = await executions.decide(PLATFORM_SERVICE, request)
        number = _number(own_database_url, "reservations", account)
        commit = Commit(account, number, 4, PLATFORM)
        committed = await executions.decide(PLATFORM_SERVICE, commit)
        event = _number(own_database_url, "execution_events", account)
        refund = Refund(account, event, 1, "failed", "f", PLATFORM)
        refunded = await executions.decide(PLATFORM_SERVICE, refund)
        assert [type(d) for d in (reserved, committed, refunded)] == [Accepted] * 3
        assert await executions.decide(PLATFORM_SERVICE, commit) == _replayed(committed)
        assert _used(own_database_url, account) == 3


async def test_expired_reservation_is_released_by_the_next_decision(
    executions: Executions, own_database_url: str
) -> None:
    holder = organization(own_database_url, 10)
    reserve = check_request(Mode.RESERVE, 10, "r", organization_id=holder.organization_id)
    await executions.decide(PLATFORM_SERVICE, reserve)
    denied = await executions.decide(PLATFORM_SERVICE, consume(holder, "early"))
    assert isinstance(denied, InsufficientExecutionsError)
    with connect(own_database_url) as connection:
        connection.execute("UPDATE reservations SET expires_at = now() - interval '1 second'")
    decision = await executions.decide(PLATFORM_SERVICE, consume(holder, "late", 10))
    assert isinstance(decision, Accepted)


async def test_staff_corrections_through_the_coordinator_share_one_transaction(
    executions: Executions, own_database_url: str
) -> None:
    holders = holders_of_all_shards(own_database_url, 1)
    for holder in holders:
        await executions.decide(PLATFORM_SERVICE, consume(holder, "used", 5))
    adjusts = [Adjust(h.account_number, [(1, -2)], "a mistake") for h in holders]
    async with executions.ledger() as ledger:
        decisions = await ledger.decide(adjusts)
        refunds = [
            Refund(
                h.account_number, _event(own_database_url, h.account_number), 1, "", "", PLATFORM
            )
            for h in holders
        ]
        decisions += await ledger.decide(refunds)
        await ledger.connection.execute("SET LOCAL application_name = 'beside'")
    assert all(isinstance(decision, Accepted) for decision in decisions)
    assert {_used(own_database_url, h.account_number) for h in holders} == {2}
    with pytest.raises(UndoneError):
        await _correct_and_fail(executions, adjusts)
    assert {_used(own_database_url, h.account_number) for h in holders} == {2}


async def test_locked_account_fails_alone(executions: Executions, own_database_url: str) -> None:
    holders = holders_of_all_shards(own_database_url, 1)
    await executions.decide_each(PLATFORM_SERVICE, [consume(h, "warm") for h in holders])
    with connect(own_database_url) as connection, connection.transaction():
        connection.execute(
            "SELECT 1 FROM plans WHERE account_id = %s FOR UPDATE", [holders[0].account_number]
        )
        requests = [consume(h, "locked") for h in holders]
        decisions = await executions.decide_each(PLATFORM_SERVICE, requests)
    kinds = [type(decision) for decision in decisions]
    assert kinds == [CannotDecideError] + [Accepted] * (len(holders) - 1)


class UndoneError(Exception):
    pass


async def _correct_and_fail(executions: Executions, adjusts: list[Adjust]) -> None:
    async with executions.ledger() as ledger:
        await ledger.decide(adjusts)
        raise UndoneError


def _used(url: str, account_id: int) -> int:
    with connect(url) as connection:
        query = "SELECT sum(used)::bigint FROM plans WHERE account_id = %s"
        row = connection.execute(query, [account_id]).fetchone()
    assert row is not None
    return row[0]


def _number(url: str, table: str, account_id: int) -> int:
    with connect(url) as connection:
        query = f"SELECT max(number) FROM {table} WHERE account_id = %s"  # noqa: S608
        row = connection.execute(query.encode(), [account_id]).fetchone()
    assert row is not None
    return row[0]


def _event(url: str, account_id: int) -> int:
    with connect(url) as connection:
        query = "SELECT number FROM execution_events WHERE account_id = %s AND kind = 'consume'"
        row = connection.execute(query, [account_id]).fetchone()
    assert row is not None
    assert ids.decode(ids.EVENT, ids.encode(ids.EVENT, account_id, row[0])) is not None
    return row[0]


def _replayed(decision: object) -> Accepted:
    assert isinstance(decision, Accepted)
    return Accepted(decision.answer, replayed=True)

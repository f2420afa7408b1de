"""A shard moves to another node while its accounts are counted."""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from billing_app.billing.executions.service import Executions
from tests.distributed.cluster import at_node
from tests.distributed.counted_load import (
    CountedLoad,
    Place,
    holders_of_all_shards,
    place_of,
    places,
    service,
)
from tests.factories import connect

MOVE = "SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, %s)"


@pytest.fixture
async def executions(own_database_url: str) -> AsyncIterator[Executions]:
    made = service(own_database_url)
    yield made
    await made.close()


@pytest.mark.parametrize("mode", ["force_logical", "block_writes"])
async def test_shard_moved_under_load_loses_and_doubles_nothing(
    executions: Executions, own_database_url: str, mode: str
) -> None:
    holders = holders_of_all_shards(own_database_url, 2)
    load = CountedLoad(own_database_url, executions, holders)
    await load.begin()
    await asyncio.sleep(1)
    before = place_of(own_database_url, holders[0].account_number)
    target = next(place for place in places(own_database_url) if place.port != before.port)
    await asyncio.to_thread(_move, own_database_url, before, target, mode)
    moved_at = time.monotonic()
    assert place_of(own_database_url, holders[0].account_number).port == target.port
    await asyncio.sleep(1)
    await asyncio.to_thread(
        _move, own_database_url, place_of(own_database_url, holders[0].account_number), before, mode
    )
    await asyncio.sleep(1)
    await load.end()
    assert load.acknowledged_since(moved_at) == {holder.organization_id for holder in holders}
    await load.assert_counted()
    print(
        f"{mode}: {load.acknowledged.total()} acknowledged, {load.refused.total()} refused,"
        f" longest {load.longest_seconds:.2f} s, {load.replays} replays"
    )


def _move(url: str, source: Place, target: Place, mode: str) -> None:
    with connect(url) as connection:
        values = [source.shard, source.host, source.port, target.host, target.port, mode]
        connection.execute(MOVE, values)


async def test_waiting_for_a_move_does_not_stop_other_shards(
    executions: Executions, own_database_url: str
) -> None:
    """As in the last phase of a move: its lock is held on every node."""
    holders = holders_of_all_shards(own_database_url, 1)
    load = CountedLoad(own_database_url, executions, holders)
    await load.begin()
    await asyncio.sleep(0.5)
    place = place_of(own_database_url, holders[0].account_number)
    with psycopg.connect(at_node(own_database_url, host=place.host, port=place.port)) as connection:
        connection.execute("SELECT lock_shard_metadata(7, ARRAY[%s]::bigint[])", [place.shard])
        locked_at = time.monotonic()
        await asyncio.sleep(6)
        going_on = load.acknowledged_since(locked_at + 3)
        connection.rollback()
    await asyncio.sleep(2)
    await load.end()
    others = {h.organization_id for h in holders[1:]}
    assert going_on == others
    assert set(load.refused) == {holders[0].organization_id}
    await load.assert_counted()

"""kill -9 of nodes under load. CITUS_KILL_NODE and CITUS_START_NODE are shell commands that get the
node's port in place of {port}."""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from billing_app.billing.executions.requests import Accepted
from billing_app.billing.executions.service import Executions
from tests.distributed.counted_load import (
    CountedLoad,
    consume,
    holders_of_all_shards,
    place_of,
    service,
)
from tests.factories import PLATFORM_SERVICE, organization

KILL = os.environ.get("CITUS_KILL_NODE", "")
START = os.environ.get("CITUS_START_NODE", "")

pytestmark = pytest.mark.skipif(
    not (KILL and START), reason="CITUS_KILL_NODE and CITUS_START_NODE name no commands"
)


@pytest.fixture
async def executions(own_database_url: str) -> AsyncIterator[Executions]:
    made = service(own_database_url)
    yield made
    await made.close()


async def test_killed_worker_stops_its_own_accounts_alone(
    executions: Executions, own_database_url: str
) -> None:
    holders = holders_of_all_shards(own_database_url, 2)
    port_of = {
        h.organization_id: place_of(own_database_url, h.account_number).port for h in holders
    }
    (lost, *_) = sorted(set(port_of.values()))
    load = CountedLoad(own_database_url, executions, holders)
    await load.begin()
    await asyncio.sleep(1)
    await _run(KILL, lost)
    killed_at = time.monotonic()
    await asyncio.sleep(4)
    going_on = load.acknowledged_since(killed_at + 1)
    await _run(START, lost)
    started_at = time.monotonic()
    await asyncio.sleep(4)
    await load.end()
    assert going_on == {name for name, port in port_of.items() if port != lost}
    assert {port_of[name] for name in load.refused} == {lost}
    assert load.acknowledged_since(started_at) == set(port_of)
    await load.assert_counted()
    _report("worker", load)


async def test_killed_coordinator_stops_no_account_that_is_known(
    executions: Executions, own_database_url: str
) -> None:
    holders = holders_of_all_shards(own_database_url, 2)
    late = organization(own_database_url, 10)
    port = urlsplit(own_database_url).port or 5432
    load = CountedLoad(own_database_url, executions, holders)
    await load.begin()
    await asyncio.sleep(1)
    await _run(KILL, port)
    killed_at = time.monotonic()
    unknown = await executions.decide(PLATFORM_SERVICE, consume(late, "unknown"))
    await asyncio.sleep(3)
    going_on = load.acknowledged_since(killed_at + 1)
    await _run(START, port)
    await asyncio.sleep(2)
    known = await executions.decide(PLATFORM_SERVICE, consume(late, "unknown"))
    load.acknowledged[late.organization_id] += 1
    await load.end()
    assert not isinstance(unknown, Accepted)
    assert isinstance(known, Accepted)
    assert going_on == {holder.organization_id for holder in holders}
    assert load.refused.total() == 0
    await load.assert_counted()
    _report("coordinator", load)


async def _run(command: str, port: int) -> None:
    line = command.format(port=port)
    await asyncio.to_thread(subprocess.run, ["sh", "-c", line], check=True)


def _report(node: str, load: CountedLoad) -> None:
    print(
        f"{node}: {load.acknowledged.total()} acknowledged, {load.refused.total()} refused,"
        f" longest {load.longest_seconds:.2f} s, {load.replays} replays"
    )

"""Lanes of the group commit: keys that are assumed to be new, and a helper for large batches."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from billing_app.billing.errors import IdempotencyKeyReusedError, InsufficientExecutionsError
from billing_app.billing.executions.group_commit import LARGE_BATCH
from billing_app.billing.executions.requests import Accepted, CheckRequest, Mode
from billing_app.billing.executions.service import Executions
from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.engine import Database
from tests.conftest import PUBLIC
from tests.factories import PLATFORM_SERVICE, Holder, check_request, connect, organization

TERMS = TrialTerms(public_organization_id=PUBLIC, executions=10, days=None)


@pytest.fixture
async def executions(own_database_url: str) -> AsyncIterator[Executions]:
    service = Executions(own_database_url, TERMS)
    yield service
    await service.close()


def consume(holder: Holder, key: str, executions: int = 1) -> CheckRequest:
    return check_request(Mode.CONSUME, executions, key, organization_id=holder.organization_id)


async def test_replay_of_the_request_that_took_the_last_executions(
    executions: Executions, own_database_url: str
) -> None:
    holder = organization(own_database_url, 5)
    first = await executions.decide(PLATFORM_SERVICE, consume(holder, "last", 5))
    again = await executions.decide(PLATFORM_SERVICE, consume(holder, "last", 5))
    other = await executions.decide(PLATFORM_SERVICE, consume(holder, "other", 5))
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.answer, again.replayed) == (first.answer, True)
    assert isinstance(other, InsufficientExecutionsError)


async def test_known_key_in_a_batch_of_new_ones_counts_once(
    executions: Executions, own_database_url: str
) -> None:
    holders = [organization(own_database_url, 100) for _ in range(20)]
    first = await executions.decide(PLATFORM_SERVICE, consume(holders[7], "known"))
    requests = [consume(holder, f"new-{n}") for n, holder in enumerate(holders)]
    requests += [consume(holders[7], "known"), consume(holders[7], "known", 2)]
    *new, again, reused = await executions.decide_each(PLATFORM_SERVICE, requests)
    assert all(isinstance(decision, Accepted) and not decision.replayed for decision in new)
    assert isinstance(first, Accepted)
    assert again == Accepted(first.answer, replayed=True)
    assert isinstance(reused, IdempotencyKeyReusedError)
    assert _used(own_database_url) == 21
    await _assert_verified(own_database_url)


async def test_large_batches_on_two_lanes_are_counted_exactly(
    executions: Executions, own_database_url: str
) -> None:
    holders = [organization(own_database_url, 150) for _ in range(40)]
    batches = [
        [consume(holders[(n + i) % 40], f"{n}-{i}") for i in range(5 * LARGE_BATCH)]
        + [consume(holders[0], "the same in all")]
        for n in range(16)
    ]
    await asyncio.gather(*[executions.decide_each(PLATFORM_SERVICE, batch) for batch in batches])
    assert _used(own_database_url) == 40 * 150
    assert _states(own_database_url) == ["idle", "idle"]
    await _assert_verified(own_database_url)


def _used(url: str) -> int:
    with connect(url) as connection:
        row = connection.execute("SELECT sum(used)::bigint FROM plans").fetchone()
    assert row is not None
    return row[0]


def _states(url: str) -> list[str]:
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT state FROM pg_stat_activity WHERE application_name = 'billing executions'"
            " AND datname = current_database()"
        ).fetchall()
    return [row[0] for row in rows]


async def _assert_verified(url: str) -> None:
    database = Database(url)
    assert list(await verify(database)) == []
    await database.dispose()

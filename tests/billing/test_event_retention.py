"""Months of events past their retention: removed for good, and nothing else changes."""

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from billing_app.billing import ids
from billing_app.billing.errors import EventNotFoundError, EventRemovedError, RefundExceedsError
from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.receipts import read_receipt
from billing_app.billing.executions.requests import Accepted, Adjust, Mode, Refund
from billing_app.billing.executions.service import Executions
from billing_app.billing.executions.verification import verify
from billing_app.billing.retention import attach_months, purge_days, remove_oldest_month
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.refunds import REFUND, REFUND_RANGE, Range, RefundOne
from billing_app.billing.staff.repairs.repair import RepairServices
from billing_app.billing.staff.repairs.service import carry_out, preview, undo
from billing_app.billing.usage.service import EventFilter, export_events, list_events
from billing_app.db import partitions
from billing_app.db.engine import Database
from billing_app.db.partitions import EARLIER, number_of, read_partitions, start_of_month
from billing_app.settings import Settings
from tests.conftest import server_environment
from tests.factories import OPERATOR, PLATFORM, PLATFORM_SERVICE, Holder, check_request, connect
from tests.months import (
    TERMS,
    consume_at,
    decide_at,
    months_since,
    old_customer,
    partition_of,
)

NOBODY: Any = None
CLIENTS = 32


def ago(months: int) -> datetime:
    """The middle of the month that was so many months ago."""
    return start_of_month(datetime.now(UTC), -months) + timedelta(days=14)


@pytest.fixture
async def database(own_database_url: str) -> AsyncIterator[Database]:
    months_since(own_database_url, ago(8))
    database = Database(own_database_url)
    yield database
    await database.dispose()


@pytest.fixture
def holder(database: Database) -> Holder:
    return old_customer(database.url)


async def remove(database: Database, retention_months: int = 3) -> str | None:
    return await remove_oldest_month(
        database, now=datetime.now(UTC), retention_months=retention_months
    )


async def remove_all(database: Database, retention_months: int = 3) -> int:
    removed = 0
    while await remove(database, retention_months):
        removed += 1
        assert await verify(database) == []
    return removed


def used(database: Database, holder: Holder) -> int:
    with connect(database.url) as connection:
        row = connection.execute(
            "SELECT used FROM plans WHERE account_id = %s", [holder.account_number]
        ).fetchone()
    assert row is not None
    return row[0]


def carried(database: Database, holder: Holder) -> list[tuple[Any, ...]]:
    with connect(database.url) as connection:
        return connection.execute(
            "SELECT before, executions, events FROM carried_forward WHERE account_id = %s"
            " ORDER BY before",
            [holder.account_number],
        ).fetchall()


def event_id(holder: Holder, number: int) -> str:
    return ids.encode(ids.EVENT, holder.account_number, number)


async def refuse_refund(database: Database, holder: Holder, number: int) -> Any:
    connection = await store.connect(database.url)
    request = Refund(holder.account_number, number, 1, "failed", "late", PLATFORM)
    (decision,) = await store.transact(connection, Directory(TERMS), [request])
    await connection.close()
    return decision


async def test_one_month_is_removed_at_a_time_and_its_sums_stay(
    database: Database, holder: Holder
) -> None:
    for months in (7, 6, 5, 4, 3):
        await consume_at(database.url, holder, ago(months), [f"{months}-a", f"{months}-b"], 5)
    first = await remove(database)
    assert first == partitions.name_of(number_of(start_of_month(ago(8))))
    assert await remove_all(database) == 4
    # Whole months are kept: 3 besides the current one.
    assert await remove(database) is None
    kept = number_of(start_of_month(datetime.now(UTC), -3))
    assert [row[1:] for row in carried(database, holder)] == [(10, 2)] * 4
    assert carried(database, holder)[-1][0] == kept
    with connect(database.url) as connection:
        found = read_partitions(connection)
        left = connection.execute("SELECT min(number) FROM execution_events").fetchone()
        tables = connection.execute(partitions.REMOVED_TABLES).fetchall()
    assert found[0].name == EARLIER
    assert found[0].until == found[1].first == kept
    assert left is not None
    assert left[0] >= kept
    assert tables == []
    assert used(database, holder) == 50


async def test_what_needs_a_removed_event_says_so(database: Database, holder: Holder) -> None:
    (old,) = await consume_at(database.url, holder, ago(6), ["old"], 5)
    refund = Refund(holder.account_number, old, 2, "failed", "r", PLATFORM)
    (answer,) = await decide_at(database.url, ago(6) + timedelta(hours=1), [refund])
    (young,) = await consume_at(database.url, holder, ago(1), ["young"], 5)
    stranger = old_customer(database.url)
    await remove_all(database)
    # The account's own: later months had nothing of it to remove.
    kept = start_of_month(ago(6), 1)

    with pytest.raises(EventRemovedError, match="no longer kept") as removed:
        await read_receipt(database, OPERATOR, event_id(holder, old))
    assert removed.value.kept_from == kept
    assert isinstance(await refuse_refund(database, holder, old), EventRemovedError)
    assert isinstance(await refuse_refund(database, holder, young - 1), EventNotFoundError)
    assert isinstance(await refuse_refund(database, stranger, old), EventNotFoundError)
    # The retry of a refund is answered as it was.
    assert await decide_at(database.url, None, [refund]) == [answer]

    everything = await list_events(database, OPERATOR, holder.account_id)
    assert [event.number for event in everything.items] == [young]
    range_of_old = EventFilter(first=(kept - timedelta(days=1)).date())
    with pytest.raises(EventRemovedError):
        await list_events(database, OPERATOR, holder.account_id, where=range_of_old)
    with pytest.raises(EventRemovedError):
        await anext(export_events(database, OPERATOR, holder.account_id, range_of_old))
    from_kept = EventFilter(first=kept.date())
    page = await list_events(database, OPERATOR, holder.account_id, where=from_kept)
    assert [event.number for event in page.items] == [young]
    # Of who had no events then, none are missing.
    assert not (
        await list_events(database, OPERATOR, stranger.account_id, where=range_of_old)
    ).items
    assert used(database, holder) == 8


async def test_repairs_of_removed_events_are_refused(database: Database, holder: Holder) -> None:
    (old,) = await consume_at(database.url, holder, ago(6), ["old"], 5)
    executions = Executions(database.url, TERMS)
    services = RepairServices(database, executions, provider=NOBODY, provider_requests=NOBODY)
    about: dict[str, Any] = {"reason": "Failed", "now": datetime.now(UTC)}

    async def refund(form: Any, repair: Any, target: str) -> EntryView:
        return await carry_out(services, OPERATOR, repair, target, form, **about)

    (young,) = await consume_at(database.url, holder, None, ["young"], 5)
    entry = await refund(RefundOne(executions=2), REFUND, event_id(holder, young))
    # As if it were about the old one.
    with connect(database.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE audit_entries SET after = jsonb_set(after, '{refunds}', %s::jsonb)",
            [f"[{old}]"],
        )
    await remove_all(database)
    with pytest.raises(EventRemovedError):
        await undo(services, OPERATOR, entry.id, **about)
    with pytest.raises(EventRemovedError):
        await refund(RefundOne(executions=1), REFUND, event_id(holder, old))
    found = Range("", ago(7), datetime.now(UTC))
    with pytest.raises(EventRemovedError):
        await refund(found, REFUND_RANGE, holder.account_id)
    with pytest.raises(EventRemovedError):
        await preview(
            services, OPERATOR, REFUND_RANGE, holder.account_id, found, now=datetime.now(UTC)
        )
    await executions.close()
    assert used(database, holder) == 8


@pytest.mark.parametrize("seed", range(3))
async def test_ledger_and_sums_agree_at_every_moment(
    database: Database, holder: Holder, seed: int
) -> None:
    """Consumes, refunds and adjustments of any time, months removed in between."""
    chance = random.Random(seed)  # noqa: S311
    other = old_customer(database.url)
    taken: list[tuple[Holder, int]] = []
    for day in range(0, 240, chance.randint(9, 14)):
        at = ago(8) + timedelta(days=day)
        if at > datetime.now(UTC):
            break
        who = chance.choice([holder, other])
        keys = [f"{day}-{n}" for n in range(chance.randint(1, 3))]
        taken += [(who, n) for n in await consume_at(database.url, who, at, keys, 4)]
        owner, number = chance.choice(taken)
        refund = Refund(owner.account_number, number, 1, "failed", f"r{day}", PLATFORM)
        adjust = Adjust(who.account_number, [(1, chance.choice([-2, 3]))], "wrong", "", "")
        connection = await store.connect(database.url)
        later = at + timedelta(minutes=1)
        await store.transact(connection, Directory(TERMS), [refund, adjust], at=later)
        await connection.close()
        assert await verify(database) == []
    before = used(database, holder), used(database, other)
    assert await remove_all(database, 2) > 0
    assert (used(database, holder), used(database, other)) == before
    await consume_at(database.url, holder, None, ["now"])
    assert await verify(database) == []


async def test_verify_finds_what_is_missing_of_sums(database: Database, holder: Holder) -> None:
    await consume_at(database.url, holder, ago(6), ["old"], 5)
    await remove_all(database)
    with connect(database.url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE carried_forward SET executions = 4")
    assert [each.figure for each in await verify(database)] == ["plan used"]


async def test_ledger_that_does_not_verify_is_kept(database: Database, holder: Holder) -> None:
    await consume_at(database.url, holder, ago(6), ["old"], 5)
    with connect(database.url) as connection:
        connection.execute("UPDATE plans SET used = 6")
    assert await remove(database) is None
    assert carried(database, holder) == []


async def test_event_of_a_clock_set_back_is_counted_and_removed_with_the_next_month(
    database: Database, holder: Holder
) -> None:
    await consume_at(database.url, holder, ago(7), ["old"], 5)
    while carried(database, holder) == []:
        assert await remove(database)
    (late,) = await consume_at(database.url, holder, ago(7), ["late"], 5)
    with connect(database.url) as connection:
        assert partition_of(connection, late) == EARLIER
    assert await verify(database) == []
    assert (await read_receipt(database, OPERATOR, event_id(holder, late))).executions == 5
    await remove(database)
    assert [row[1:] for row in carried(database, holder)] == [(5, 1), (5, 1)]
    assert await verify(database) == []


async def test_worker_whose_clock_is_ahead_removes_nothing_early(
    database: Database, holder: Holder
) -> None:
    await consume_at(database.url, holder, ago(1), ["young"])
    await remove_all(database)
    far = datetime.now(UTC) + timedelta(days=2000)
    assert await remove_oldest_month(database, now=far, retention_months=3) is None


KILLED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from billing_app.billing.retention import remove_oldest_month
from billing_app.db import partitions
from billing_app.db.engine import Database

def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

setattr(partitions, sys.argv[2], die)
asyncio.run(remove_oldest_month(Database(sys.argv[1]), now=datetime.now(UTC), retention_months=3))
"""


@pytest.mark.parametrize("at", ["_detach", "create_partition", "drop_removed"])
async def test_killed_removal_is_whole_or_nothing(
    database: Database, holder: Holder, at: str
) -> None:
    """`drop_removed`: between detaching and dropping."""
    await consume_at(database.url, holder, ago(8), ["old"], 5)
    await consume_at(database.url, holder, ago(1), ["young"], 5)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, database.url, at],
        env=server_environment(database.url),
        timeout=120,
        check=False,
    )
    assert done.returncode == -9
    assert await verify(database) == []
    is_committed = at == "drop_removed"
    assert bool(carried(database, holder)) == is_committed
    with connect(database.url) as connection:
        tables = connection.execute(partitions.REMOVED_TABLES).fetchall()
    assert len(tables) == (2 if is_committed else 0)
    await attach_months(database, datetime.now(UTC))
    await remove_all(database)
    assert [row[1:] for row in carried(database, holder)] == [(5, 1)]
    with connect(database.url) as connection:
        assert connection.execute(partitions.REMOVED_TABLES).fetchall() == []
    assert used(database, holder) == 10


async def test_months_are_removed_while_clients_consume(database: Database, holder: Holder) -> None:
    for months in (8, 7, 6, 5, 4):
        await consume_at(database.url, holder, ago(months), [f"{months}"])
    busy = old_customer(database.url, 10**9)
    executions = Executions(database.url, TERMS)
    stopped = asyncio.Event()
    counts = {"consumed": 0}

    async def consume(client: int) -> None:
        while not stopped.is_set():
            key = f"{client}-{counts['consumed']}"
            counts["consumed"] += 1
            request = check_request(Mode.CONSUME, 1, key, organization_id=busy.organization_id)
            decision = await executions.decide(PLATFORM_SERVICE, request)
            assert isinstance(decision, Accepted), decision

    clients = [asyncio.create_task(consume(client)) for client in range(CLIENTS)]
    checked = 0
    removed = 0
    while await remove(database):
        removed += 1
        await attach_months(database, datetime.now(UTC) + timedelta(days=31 * removed))
        checked += len(await verify(database))
    stopped.set()
    await asyncio.gather(*clients)
    await executions.close()
    assert (removed, checked) == (5, 0)
    assert used(database, busy) == counts["consumed"] > 0
    assert await verify(database) == []


async def test_verify_agrees_while_months_are_removed(database: Database, holder: Holder) -> None:
    for months in (8, 7, 6, 5, 4):
        await consume_at(database.url, holder, ago(months), [f"{months}"])
    stopped = asyncio.Event()
    differences: list[Any] = []

    async def look() -> None:
        while not stopped.is_set():
            differences.extend(await verify(database))

    looking = asyncio.create_task(look())
    removed = 0
    while await remove(database):
        removed += 1
    stopped.set()
    await looking
    assert (removed, differences) == (5, [])


async def test_days_are_removed_only_after_their_events(database: Database, holder: Holder) -> None:
    await consume_at(database.url, holder, ago(8), ["old"])
    await consume_at(database.url, holder, ago(4), ["young"])
    now = datetime.now(UTC)
    assert await purge_days(database, now=now, retention_months=3) == 0
    assert days(database) == [ago(8).date(), ago(4).date()]
    assert await remove(database)
    assert await purge_days(database, now=now, retention_months=3) == 1
    assert days(database) == [ago(4).date()]
    assert await verify(database) == []


def days(database: Database) -> list[date]:
    with connect(database.url) as connection:
        return [row[0] for row in connection.execute("SELECT day FROM daily_usage ORDER BY 1")]


@pytest.mark.parametrize(
    ("events", "daily", "problem"),
    [
        (1, None, "must be at least 2"),
        (-3, None, "must be at least 2"),
        (None, 13, "EVENT_RETENTION_MONTHS"),
        (24, 23, "EVENT_RETENTION_MONTHS"),
        (2, 12, "must be at least 13"),
    ],
)
def test_retention_is_long_enough(events: int | None, daily: int | None, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Settings(
            trial_plan_executions=1,
            public_org_id="public",
            event_retention_months=events,
            daily_retention_months=daily,
        )


async def test_refund_has_a_higher_number_than_its_event(own_database_url: str) -> None:
    """Also when the clock was set back: what was refunded is looked for behind the event."""
    holder, database = old_customer(own_database_url), Database(own_database_url)
    ahead = datetime.now(UTC) + timedelta(days=366)
    (number,) = await consume_at(own_database_url, holder, ahead, ["k"], 5)
    refund = Refund(holder.account_number, number, None, "failed", "r", PLATFORM)
    await decide_at(own_database_url, None, [refund])
    receipt = await read_receipt(database, OPERATOR, event_id(holder, number))
    assert receipt.executions_refunded == 5
    assert isinstance(await refuse_refund(database, holder, number), RefundExceedsError)
    assert await verify(database) == []
    await database.dispose()

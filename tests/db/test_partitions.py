"""The ledger's months: where they begin, how they are attached, and a place for every event."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.executions.verification import verify
from billing_app.db import partitions
from billing_app.db.engine import Database
from billing_app.db.partitions import (
    AHEAD_MONTHS,
    EARLIER,
    EPOCH,
    LATER,
    MICROSECOND,
    attach_ahead,
    name_of,
    number_of,
    read_partitions,
    split_later,
    start_of_month,
)
from tests.factories import connect
from tests.months import consume_at, months_since, old_customer, partition_of, time_of

FIRST, LAST = datetime(2024, 1, 1), datetime(2040, 1, 1)  # noqa: DTZ001 - the strategy adds it
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
numbers = moments.map(number_of)


def assert_seamless(url: str) -> None:
    """Each number is of exactly one partition."""
    with connect(url) as connection:
        found = read_partitions(connection)
    assert found[0].name == EARLIER
    assert found[-1].name == LATER
    assert [each.until for each in found[:-1]] == [each.first for each in found[1:]]
    assert (found[0].first, found[-1].until) == (None, None)


def names(url: str) -> list[str]:
    with connect(url) as connection:
        return [each.name for each in read_partitions(connection)]


@pytest.mark.parametrize(
    ("at", "months", "start"),
    [
        (datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC), 0, datetime(2024, 2, 1, tzinfo=UTC)),
        (datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC), 1, datetime(2024, 3, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, tzinfo=UTC), 1, datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2026, 1, 31, tzinfo=UTC), -2, datetime(2025, 11, 1, tzinfo=UTC)),
        (datetime(2026, 1, 31, tzinfo=UTC), -25, datetime(2023, 12, 1, tzinfo=UTC)),
    ],
)
def test_months_start_in_utc(at: datetime, months: int, start: datetime) -> None:
    assert start_of_month(at, months) == start
    assert start_of_month(at.astimezone(), months) == start


@given(moments, moments, st.none() | st.tuples(numbers, numbers).map(sorted))
def test_months_are_attached_without_a_gap_and_without_losing_events(
    now: datetime, begins: datetime, kept: list[int] | None
) -> None:
    """Whatever `later` holds: a clock may have run ahead, or no worker may have run for years."""
    first = number_of(start_of_month(begins))
    lowest, highest = kept or (None, None)
    if lowest is not None and lowest < first:
        lowest = first
        highest = max(highest or 0, first)
    ahead = number_of(start_of_month(now, AHEAD_MONTHS + 1))
    split = split_later(first, now, lowest, highest)
    if split is None:
        assert first >= ahead
        return
    assert split.later_from >= ahead
    begin = first if split.closed_at is None else split.closed_at
    assert (split.months[0] if split.months else split.later_from) == begin
    for start, end in pairwise([*split.months, split.later_from]):
        assert number_of(start_of_month(EPOCH + start * MICROSECOND, 1)) == end
    if split.closed_at is None:
        # It refuses events of before while its bounds change.
        assert lowest is None or lowest >= split.later_from
        assert number_of(now + timedelta(days=6)) < first
    else:
        assert highest is None or highest < split.closed_at
        assert number_of(now + timedelta(days=6)) < split.closed_at


def test_migrated_database_has_months_ahead(own_database_url: str) -> None:
    assert_seamless(own_database_url)
    with connect(own_database_url) as connection:
        later = read_partitions(connection)[-1]
    ahead = number_of(start_of_month(datetime.now(UTC), AHEAD_MONTHS + 1))
    assert later.first is not None
    assert later.first >= ahead


def test_months_are_attached_once(own_database_url: str) -> None:
    last = start_of_month(datetime.now(UTC), AHEAD_MONTHS)
    now = start_of_month(datetime.now(UTC), 2)
    attached = attach_ahead(own_database_url, now)
    wanted = [start_of_month(last, months) for months in (1, 2)]
    assert attached == [f"execution_events_{month:%Y_%m}" for month in wanted]
    assert set(attached) <= set(names(own_database_url))
    assert attach_ahead(own_database_url, now) == []
    assert attach_ahead(own_database_url, datetime(2026, 1, 1, tzinfo=UTC)) == []
    assert_seamless(own_database_url)


def test_one_process_at_a_time_attaches(own_database_url: str) -> None:
    with partitions.alone(own_database_url), pytest.raises(partitions.PartitionsInUseError):
        attach_ahead(own_database_url, datetime(2031, 1, 1, tzinfo=UTC))


def test_long_reader_delays_only_the_months(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MAX_ATTEMPTS", 2)
    before = names(own_database_url)
    with psycopg.connect(own_database_url) as reader:
        reader.execute("SELECT count(*) FROM execution_events")
        with pytest.raises(partitions.PartitionsInUseError):
            attach_ahead(own_database_url, datetime(2031, 1, 1, tzinfo=UTC))
    assert names(own_database_url) == before
    attach_ahead(own_database_url, datetime(2031, 1, 1, tzinfo=UTC))
    assert_seamless(own_database_url)


async def test_events_at_the_ends_of_months_have_their_place(own_database_url: str) -> None:
    months_since(own_database_url, datetime(2024, 1, 1, tzinfo=UTC))
    holder = old_customer(own_database_url)
    last = datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC)
    (leap,) = await consume_at(own_database_url, holder, last, ["leap"])
    (march,) = await consume_at(own_database_url, holder, last + MICROSECOND, ["march"])
    (before,) = await consume_at(
        own_database_url, holder, datetime(2001, 9, 9, tzinfo=UTC), ["old"]
    )
    with connect(own_database_url) as connection:
        assert partition_of(connection, leap) == "execution_events_2024_02"
        assert partition_of(connection, march) == "execution_events_2024_03"
        assert partition_of(connection, before) == EARLIER


async def test_batch_over_the_end_of_a_month_counts_once(own_database_url: str) -> None:
    """All events of a batch have one time; their numbers are raised to be unique."""
    months_since(own_database_url, datetime(2026, 1, 1, tzinfo=UTC))
    holder = old_customer(own_database_url)
    at = datetime(2026, 1, 31, 23, 59, 59, 999_998, UTC)
    raised = await consume_at(own_database_url, holder, at, ["a", "b", "c", "d"])
    assert time_of(raised[0]) == at
    assert time_of(raised[-1]) > datetime(2026, 2, 1, tzinfo=UTC)
    with connect(own_database_url) as connection:
        found = [partition_of(connection, number) for number in raised]
    assert found == ["execution_events_2026_01"] * 2 + ["execution_events_2026_02"] * 2
    assert await verify(Database(own_database_url)) == []


async def test_clock_may_jump_a_year_ahead_and_back(own_database_url: str) -> None:
    holder, now = old_customer(own_database_url), datetime.now(UTC)
    times = [now + timedelta(days=days, seconds=days) for days in (0, 366, 367, 1, 2)]
    numbers = [
        (await consume_at(own_database_url, holder, at, [f"{place}"]))[0]
        for place, at in enumerate(times)
    ]
    with connect(own_database_url) as connection:
        assert partition_of(connection, numbers[1]) == LATER
    database = Database(own_database_url)
    assert await verify(database) == []
    # With a clock that is still ahead, and then right again.
    attach_ahead(own_database_url, now + timedelta(days=367))
    attach_ahead(own_database_url, now + timedelta(days=40))
    assert_seamless(own_database_url)
    with connect(own_database_url) as connection:
        assert partition_of(connection, numbers[1]) != LATER
    await consume_at(own_database_url, holder, None, ["afterwards"])
    assert await verify(database) == []
    await database.dispose()


async def test_far_events_stay_in_later_while_months_are_attached(own_database_url: str) -> None:
    holder, now = old_customer(own_database_url), datetime.now(UTC)
    (far,) = await consume_at(own_database_url, holder, now + timedelta(days=2000), ["far"])
    attached = attach_ahead(own_database_url, now + timedelta(days=62))
    assert attached
    assert_seamless(own_database_url)
    with connect(own_database_url) as connection:
        assert partition_of(connection, far) == LATER
        assert connection.execute("SELECT count(*) FROM execution_events").fetchone() == (1,)


async def test_worker_that_rested_for_a_year_attaches_months_again(own_database_url: str) -> None:
    months_since(own_database_url, datetime(2026, 1, 1, tzinfo=UTC))
    holder, now = old_customer(own_database_url), datetime.now(UTC) + timedelta(days=366)
    (late,) = await consume_at(own_database_url, holder, now, ["late"])
    attach_ahead(own_database_url, now)
    assert_seamless(own_database_url)
    with connect(own_database_url) as connection:
        place = partition_of(connection, late)
        later = read_partitions(connection)[-1]
    assert place != LATER
    assert later.first is not None
    assert later.first >= number_of(start_of_month(now, AHEAD_MONTHS + 1))
    (next_one,) = await consume_at(own_database_url, holder, now + timedelta(days=60), ["next"])
    with connect(own_database_url) as connection:
        wanted = name_of(number_of(start_of_month(now + timedelta(days=60))))
        assert partition_of(connection, next_one) == wanted


@pytest.mark.parametrize("place", ["earlier", "month", "later"])
async def test_partitions_refuse_changes_themselves(own_database_url: str, place: str) -> None:
    found = names(own_database_url)
    name = {"earlier": EARLIER, "month": found[1], "later": LATER}[place]
    with connect(own_database_url) as connection:
        for statement in ("UPDATE {} SET executions = 1", "DELETE FROM {}", "TRUNCATE {}"):
            change: Any = statement.format(name)
            with pytest.raises(psycopg.IntegrityError, match="append-only"):
                connection.execute(change)

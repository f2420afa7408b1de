"""Limits of attempts: pure rules, and their counts in the database that all processes share."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing import ids
from billing_app.billing.errors import TooManyAttemptsError
from billing_app.billing.identity import known_browsers
from billing_app.billing.identity.rate_limits import (
    SIGN_IN,
    SIGN_IN_BY_ADDRESS,
    AttemptLimits,
    Delays,
    Limit,
    Window,
    network_of,
)
from billing_app.billing.retention import purge_attempts
from billing_app.composition import Services
from billing_app.db.engine import Database
from tests.factories import connect, person

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LIMITS: list[Limit] = [
    Window(3, 60 * SECOND),
    Delays(2, 2 * SECOND, 60 * SECOND, timedelta(minutes=10)),
    SIGN_IN,
]


async def wait(check: Awaitable[object]) -> int:
    """Seconds to wait; 0 for an attempt that is let through."""
    try:
        await check
    except TooManyAttemptsError as error:
        return error.retry_after_seconds
    return 0


@given(
    limit=st.sampled_from(LIMITS),
    gaps=st.lists(st.integers(0, 90).map(lambda seconds: seconds * SECOND), max_size=40),
)
def test_waiting_as_told_is_enough_and_never_less(limit: Limit, gaps: list[timedelta]) -> None:
    times: list[datetime] = []
    now = NOW
    for gap in gaps:
        now += gap
        times = [at for at in times if at > now - limit.memory]
        told = limit.wait(times, now)
        assert timedelta() <= told <= limit.memory
        if told:
            later = now + told - timedelta(microseconds=1)
            assert limit.wait([at for at in times if at > later - limit.memory], later)
            now += told
            times = [at for at in times if at > now - limit.memory]
            assert limit.wait(times, now) == timedelta()
        times = [*times, now][-limit.most :]
    if isinstance(limit, Window):
        assert all(b - a >= limit.memory for a, b in zip(times, times[limit.most :], strict=False))


def test_delays_grow_to_their_longest() -> None:
    times: list[datetime] = []
    delays: list[float] = []
    now = NOW
    for _ in range(15):
        told = SIGN_IN.wait(times, now)
        delays.append(told.total_seconds())
        now += told
        times = [*times, now][-SIGN_IN.most :]
    assert delays == [0, 0, 0, 0, 0, 15, 30, 60, 120, 240, 480, 900, 900, 900, 900]


async def test_failed_sign_ins_delay_the_person_from_that_address_alone(
    services: Services, database_url: str
) -> None:
    here, there = AttemptLimits(services.database), AttemptLimits(Database(database_url))
    email, address = f"{ids.new_id('')}@b.cd", ids.new_id("")
    processes = [here, there, here, there, here]
    for process in processes:
        assert await wait(process.check_sign_in(email, address, "", NOW)) == 0
    assert await wait(there.check_sign_in(email, address, "", NOW + SECOND)) == 14
    assert await wait(here.check_sign_in(email, address, "", NOW + 14 * SECOND)) == 1
    counted = await there.check_sign_in(email, address, "", NOW + 15 * SECOND)
    assert await wait(here.check_sign_in(email, address, "", NOW + 15 * SECOND)) == 30
    assert await wait(here.check_sign_in(f"other-{email}", address, "", NOW)) == 0
    assert await wait(here.check_sign_in(email, ids.new_id(""), "", NOW)) == 0
    assert await wait(here.check_sign_in(email, address, "a browser of theirs", NOW)) == 0
    await here.forget(counted)
    assert await wait(there.check_sign_in(email, address, "", NOW + 16 * SECOND)) == 0
    await there._database.dispose()  # pyright: ignore[reportPrivateUsage]


async def test_many_at_once_count_one_by_one(services: Services) -> None:
    limits, email, address = AttemptLimits(services.database), ids.new_id(""), ids.new_id("")
    waits = await asyncio.gather(
        *(wait(limits.check_sign_in(email, address, "", NOW)) for _ in range(30))
    )
    assert sorted(waits) == [0] * SIGN_IN.free + [15] * (30 - SIGN_IN.free)


async def test_one_address_cannot_try_many_people(services: Services) -> None:
    limits, address, email = AttemptLimits(services.database), ids.new_id(""), ids.new_id("")
    for number in range(SIGN_IN_BY_ADDRESS.most):
        assert await wait(limits.check_sign_in(f"{number}{email}", address, "", NOW)) == 0
    assert await wait(limits.check_sign_in(email, address, "", NOW + SECOND)) == 299
    assert await wait(limits.check_sign_in(email, ids.new_id(""), "", NOW)) == 0
    assert await wait(limits.check_sign_in(email, address, "a browser of theirs", NOW)) == 0


async def test_sign_ups_are_limited_by_address_and_tell_when(services: Services) -> None:
    limits, address = AttemptLimits(services.database), ids.new_id("")
    for minute in range(20):
        assert await wait(limits.check_sign_up(address, NOW + minute * 60 * SECOND)) == 0
    assert await wait(limits.check_sign_up(address, NOW + 1_200 * SECOND)) == 2_400
    assert await wait(limits.check_sign_up(ids.new_id(""), NOW)) == 0
    assert await wait(limits.check_sign_up(address, NOW + 3_600 * SECOND)) == 0


async def test_refused_attempts_do_not_count(services: Services) -> None:
    limits, email, address = AttemptLimits(services.database), ids.new_id(""), ids.new_id("")
    for _ in range(5):
        await limits.check_password_link(email, address, NOW)
    for _ in range(5):
        assert await wait(limits.check_password_link(email, ids.new_id(""), NOW)) == 3_600
    assert await wait(limits.check_password_link(email, address, NOW + 3_600 * SECOND)) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_one_client_is_one_network(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_browser_is_known_for_who_signed_in_with_it(services: Services) -> None:
    database = services.database
    ada, ben = person(database.url), person(database.url)
    planted = "x" * 43
    token, expires_at = await known_browsers.remember(database, planted, ada.user_id, NOW)
    assert token != planted
    assert await known_browsers.is_known(database, token, ada.email.upper(), NOW)
    assert not await known_browsers.is_known(database, planted, ada.email, NOW)
    assert not await known_browsers.is_known(database, token, ben.email, NOW)
    assert not await known_browsers.is_known(database, token, ada.email, expires_at)
    again, _ = await known_browsers.remember(database, token, ben.user_id, NOW + SECOND)
    assert again == token
    for each in (ada, ben):
        assert await known_browsers.is_known(database, token, each.email, NOW)


async def test_what_no_longer_counts_is_deleted(services: Services) -> None:
    database, address = services.database, ids.new_id("")
    ada = person(database.url)
    await AttemptLimits(database).check_sign_up(address, NOW)
    token, expires_at = await known_browsers.remember(database, "", ada.user_id, NOW)
    await purge_attempts(database, now=expires_at + SECOND)
    assert not await known_browsers.is_known(database, token, ada.email, NOW)
    with connect(database.url) as connection:
        (row,) = connection.execute(
            "SELECT count(*) FROM attempt_counters WHERE expires_at <= %s",
            [NOW + timedelta(hours=1)],
        ).fetchall()
    assert row == (0,)

"""Use that is far above the account's own weekdays, and executions that run out."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.alerts.pace import (
    WEEKS,
    alert_forecasts,
    alert_unusual_pace,
    usual_executions,
)
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Rule
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind
from tests.billing.alerts.rows import alerts, own_rules
from tests.factories import Holder, connect, organization

TODAY: Final = date(2026, 3, 10)
PACE: Final = Rule(AlertKind.UNUSUAL_PACE, 3)


def days_of(*weekly: int) -> dict[date, int]:
    """Of so many weeks ago, from one on: the same on each day of the week."""
    return {
        TODAY - timedelta(days=7 * weeks + day): used
        for weeks, used in enumerate(weekly)
        for day in range(1, 8)
    }


def test_usual_is_the_median_of_the_weekday() -> None:
    assert usual_executions(days_of(100, 100, 100, 100), TODAY) == 100
    assert usual_executions(days_of(100, 9_999, 100, 100), TODAY) == 100


def test_nothing_is_usual_before_three_weeks() -> None:
    assert usual_executions({}, TODAY) is None
    assert usual_executions(days_of(100, 100), TODAY) is None
    assert usual_executions({TODAY: 5}, TODAY) is None


def test_first_busy_sunday_is_compared_with_all_days() -> None:
    days = {day: used for day, used in days_of(100, 100, 100, 100).items() if day.weekday() != 1}
    assert TODAY.weekday() == 1
    assert usual_executions(days, TODAY) == 100


@given(st.lists(st.integers(50, 150), min_size=7 * WEEKS, max_size=7 * WEEKS), st.integers(0, 50))
def test_one_odd_day_hardly_moves_what_is_usual(used: list[int], odd: int) -> None:
    days = {TODAY - timedelta(days=n): count for n, count in enumerate(used, 1)}
    usual = usual_executions(days | {TODAY - timedelta(days=odd + 1): 10**9}, TODAY)
    assert usual is not None
    assert 50 <= usual <= 150


def counted(url: str, holder: Holder, day: date, used: int) -> None:
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)"
            " VALUES (%s, %s, '', '', %s, 0)",
            [holder.account_number, day, used],
        )


async def test_unusual_day_is_alerted_once(own_database_url: str) -> None:
    url, now = own_database_url, datetime.now(UTC)
    busy, usual = organization(url, 100_000), organization(url, 100_000)
    for holder in (busy, usual):
        own_rules(url, holder, PACE)
        for day in range(1, 40):
            counted(url, holder, now.date() - timedelta(days=day), 200)
    counted(url, busy, now.date(), 601)
    counted(url, usual, now.date(), 600)
    database = Database(url)
    book = RuleBook(database)
    await book.read()
    assert await alert_unusual_pace(database, book, now) == 1
    assert await alert_unusual_pace(database, book, now + timedelta(minutes=1)) == 0
    await database.dispose()
    figures = {"executions": 601, "usual_executions": 200}
    assert [row[:2] for row in alerts(url, busy)] == [("unusual_pace:3", figures)]
    assert alerts(url, usual) == []


async def test_forecast_is_alerted_once_until_there_is_more(own_database_url: str) -> None:
    url, now = own_database_url, datetime.now(UTC)
    holder = organization(url, 1_000)
    own_rules(url, holder, Rule(AlertKind.FORECAST_END, 7))
    for day in range(5):
        counted(url, holder, now.date() - timedelta(days=day), 180)
    _use(url, holder, 900)
    database = Database(url)
    book = RuleBook(database)
    await book.read()
    assert await alert_forecasts(database, book, now) == 1
    assert await alert_forecasts(database, book, now + timedelta(hours=1)) == 0
    _grow(url, holder, 100_000)
    assert await alert_forecasts(database, book, now + timedelta(hours=2)) == 0
    _grow(url, holder, 1_000)
    assert await alert_forecasts(database, book, now + timedelta(hours=3)) == 1
    await database.dispose()
    found = alerts(url, holder)
    assert [row[2] for row in found] == [True, False]
    assert found[0][1]["days"] == 0
    assert found[0][1]["executions_left"] == 100


def _use(url: str, holder: Holder, used: int) -> None:
    with connect(url) as connection:
        connection.execute(
            "UPDATE plans SET used = %s WHERE account_id = %s", [used, holder.account_number]
        )


def _grow(url: str, holder: Holder, executions: int) -> None:
    with connect(url) as connection:
        connection.execute(
            "UPDATE plans SET executions = %s WHERE account_id = %s",
            [executions, holder.account_number],
        )

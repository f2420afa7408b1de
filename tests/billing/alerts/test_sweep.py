"""Crossings that decisions missed are found, once, and risen balances are cleared."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.alerts.sweep import sweep_balances
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind
from tests.billing.alerts.rows import NUMBER, SHARE, alerts, own_rules, rules_raised
from tests.factories import Holder, add_plan, connect, organization

NOW: Final = datetime.now(UTC)


def used(url: str, holder: Holder, executions: int, sequence: int = 1) -> None:
    """As a process of an older release counts: without alerts."""
    with connect(url) as connection:
        connection.execute(
            "UPDATE plans SET used = %(used)s,"
            " ended_at = CASE WHEN executions = %(used)s THEN now() END,"
            " ended_because = CASE WHEN executions = %(used)s THEN 'depleted' END"
            " WHERE account_id = %(account)s AND sequence = %(sequence)s",
            {"used": executions, "account": holder.account_number, "sequence": sequence},
        )


async def sweep(url: str, workers: int = 1) -> int:
    databases = [Database(url) for _ in range(workers)]
    try:
        return sum(
            await asyncio.gather(
                *[sweep_balances(each, RuleBook(each), datetime.now(UTC)) for each in databases]
            )
        )
    finally:
        for database in databases:
            await database.dispose()


async def test_missed_crossing_is_raised_once_and_again_after_the_balance_rose(
    own_database_url: str,
) -> None:
    url = own_database_url
    holder, other = organization(url, 100), organization(url, 100)
    rules = (Rule(SHARE, 20), Rule(NUMBER, 5))
    own_rules(url, holder, *rules)
    assert await sweep(url) == 0
    used(url, holder, 81)
    used(url, other, 81)
    assert await sweep(url, workers=3) == 1
    assert await sweep(url) == 0
    figures = {"threshold": 20, "executions_left": 19, "executions_total": 100}
    assert alerts(url, holder) == [("remaining_share:20", figures, False)]
    used(url, holder, 50)
    assert await sweep(url) == 0
    assert [row[2] for row in alerts(url, holder)] == [True]
    used(url, holder, 100)
    assert await sweep(url) == 2
    assert await sweep(url) == 0
    assert rules_raised(url, holder)[1:] == ["remaining_share:20", "remaining_number:5"]
    assert alerts(url, other) == []


async def test_balance_that_began_below_never_crossed(own_database_url: str) -> None:
    url = own_database_url
    holder = organization(url, 50)
    own_rules(url, holder, Rule(NUMBER, 100))
    used(url, holder, 10)
    assert await sweep(url) == 0
    add_plan(url, holder, 2, 100)
    assert await sweep(url) == 0
    used(url, holder, 41, sequence=2)
    assert await sweep(url) == 1


async def test_expired_plan_is_no_crossing(own_database_url: str) -> None:
    url = own_database_url
    holder = organization(url)
    own_rules(url, holder, Rule(SHARE, 20))
    add_plan(url, holder, 1, 100, ends_at=NOW - timedelta(hours=1))
    assert await sweep(url) == 0


async def test_defaults_of_every_offer_apply_to_accounts_without_rules(
    own_database_url: str,
) -> None:
    url = own_database_url
    plain, own = organization(url, 100), organization(url, 100)
    own_rules(url, own)
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO default_alert_rules (offer_id, rules, updated_by, updated_at) VALUES"
            """ (0, '[{"kind": "remaining_share", "value": 10}]', 'test', now())"""
        )
    used(url, plain, 95)
    used(url, own, 95)
    assert await sweep(url) == 1
    assert rules_raised(url, plain) == ["remaining_share:10"]
    assert AlertKind.REMAINING_SHARE in rules_raised(url, plain)[0]

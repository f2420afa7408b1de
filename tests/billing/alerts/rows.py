"""Rules and alerts, straight from and into the database."""

import json
from datetime import datetime, timedelta
from typing import Any

from billing_app.billing.alerts.rules import Rule, as_rows
from billing_app.db.enums import AlertKind
from tests.factories import Holder, connect

SHARE = AlertKind.REMAINING_SHARE
NUMBER = AlertKind.REMAINING_NUMBER


def own_rules(url: str, holder: Holder, *rules: Rule) -> None:
    """The account's own rules, for processes that start later."""
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO alert_rules (account_id, rules, updated_by, updated_at)"
            " VALUES (%s, %s, 'test', now())",
            [holder.account_number, json.dumps(as_rows(rules))],
        )


def alerts(url: str, holder: Holder) -> list[tuple[Any, ...]]:
    """Rule, figures, and whether it is cleared, in the order in which they were raised."""
    return _rows(
        url,
        "SELECT rule, figures, cleared_at IS NOT NULL FROM alerts WHERE account_id = %s"
        " ORDER BY number",
        holder,
    )


def rules_raised(url: str, holder: Holder) -> list[str]:
    return [row[0] for row in alerts(url, holder)]


def events(url: str, holder: Holder) -> list[tuple[Any, ...]]:
    """Type and data of the account's events."""
    return _rows(
        url,
        "SELECT type, data FROM account_events WHERE account_id = %s ORDER BY created_at, type",
        holder,
    )


def _rows(url: str, query: str, holder: Holder) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(query.encode(), [holder.account_number]).fetchall()


def subscribe(url: str, holder: Holder, period_end: datetime, **more: Any) -> None:
    values = {"cancel": False, "past_due": None, **more}
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO offers (code, position, visible, created_at)"
            " VALUES ('growth', 1, true, now()) ON CONFLICT DO NOTHING"
        )
        connection.execute(
            "INSERT INTO offer_versions (offer_id, version, name, description, executions,"
            " price_minor, currency, interval, trial_days, overage, created_at)"
            " SELECT id, 1, 'Growth', '', 100, 900, 'USD', 'month', 0, 'hard', now() FROM offers"
            " ON CONFLICT DO NOTHING"
        )
        connection.execute(
            "INSERT INTO subscriptions (account_id, number, provider_id, status, offer_version_id,"
            " period_start, period_end, cancel_at_period_end, past_due_since, synced_at,"
            " created_at) SELECT %s, 1, 'sub_1', 'active', max(id), %s, %s, %s, %s, now(), now()"
            " FROM offer_versions",
            [
                holder.account_number,
                period_end - timedelta(days=30),
                period_end,
                values["cancel"],
                values["past_due"],
            ],
        )
        connection.execute(
            "INSERT INTO provider_customers (account_id, customer_id, created_at)"
            " VALUES (%s, %s, now())",
            [holder.account_number, f"cus_{holder.account_number}"],
        )

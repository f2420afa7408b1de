"""Rules and alerts, straight from and into the database."""

import json
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

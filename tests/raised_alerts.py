"""Raises alerts as the jobs do, for tests of what becomes of them."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from billing_app.billing.alerts.raising import NewAlert, raise_alert
from billing_app.billing.alerts.rules import Rule
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind

LEFT = Rule(AlertKind.REMAINING_NUMBER, 200)


def raise_left(url: str, account_number: int, left: int, total: int = 1000) -> None:
    """That so many executions are left; each call is another occasion."""
    figures = {"threshold": LEFT.value, "executions_left": left, "executions_total": total}
    raise_one(url, account_number, LEFT, figures)


def raise_one(url: str, account_number: int, rule: Rule, figures: dict[str, Any]) -> None:
    alert = NewAlert(account_number, rule, secrets.token_hex(8), figures)
    with ThreadPoolExecutor(1) as apart_from_other_loops:
        apart_from_other_loops.submit(asyncio.run, _raise(url, alert)).result()


async def _raise(url: str, alert: NewAlert) -> None:
    database = Database(url)
    try:
        async with database.transaction() as session:
            assert await raise_alert(session, alert, datetime.now(UTC))
    finally:
        await database.dispose()

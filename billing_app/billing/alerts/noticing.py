"""Refusals and error loops, as the processes that decide notice them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.alerts.effective import effective_rules
from billing_app.billing.alerts.raising import NewAlert, raise_alert
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind

COUNT: Final = text("""
INSERT INTO given_back_counts (account_id, minute, times) VALUES (:account, :minute, :times)
ON CONFLICT (account_id, minute) DO UPDATE SET times = given_back_counts.times + excluded.times
RETURNING times
""")


async def note_refusals(
    database: Database, refusals: Iterable[tuple[int, str]], now: datetime
) -> None:
    """The first of an account and a reason in an hour is an event; the first of a day is an alert,
    for accounts with that rule. `refusals`: account and reason."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    for account_id, reason in refusals:
        async with database.transaction() as session:
            event = NewEvent(
                EventType.EXECUTION_REFUSED,
                {"reason": reason},
                f"{EventType.EXECUTION_REFUSED}:{reason}:{hour:%Y-%m-%dT%H}",
            )
            if await append(session, account_id, event, now):
                await _alert_refusal(session, account_id, reason, now)


async def count_given_back(database: Database, counts: Mapping[int, int], now: datetime) -> None:
    """Releases and refunds of accounts, of now. Minutes are the clock's."""
    minute = now.replace(second=0, microsecond=0)
    for account_id, times in sorted(counts.items()):
        async with database.transaction() as session:
            values = {"account": account_id, "minute": minute, "times": times}
            total = (await (await session.connection()).execute(COUNT, values)).scalar_one()
            rules = await effective_rules(session, account_id, now)
            for rule in rules.of_kind(AlertKind.ERROR_LOOP):
                if total >= rule.value:
                    figures = {"threshold": rule.value, "times": total}
                    occasion = minute.isoformat()
                    await raise_alert(session, NewAlert(account_id, rule, occasion, figures), now)


async def _alert_refusal(
    session: AsyncSession, account_id: int, reason: str, now: datetime
) -> None:
    rules = await effective_rules(session, account_id, now)
    for rule in rules.of_kind(AlertKind.EXECUTION_REFUSED):
        alert = NewAlert(account_id, rule, f"{now:%Y-%m-%d}", {"reason": reason}, reason)
        await raise_alert(session, alert, now)

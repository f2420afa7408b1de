"""Raises and clears alerts outside decisions, in the caller's transaction."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.rules import Rule
from billing_app.db.engine import Database

# Heard by workers (jobs/alerts.py): there are alerts to deliver.
CHANNEL: Final = "billing_alerts"
ANNOUNCE: Final = text(f"SELECT pg_notify('{CHANNEL}', '')")
INSERT: Final = text("""
INSERT INTO alerts (account_id, number, kind, rule, occasion, figures, raised_at)
VALUES (:account, :number, :kind, :rule, :occasion, CAST(:figures AS jsonb), :at)
ON CONFLICT (account_id, rule, occasion) DO NOTHING
""")
LAST_NUMBER: Final = text("SELECT max(number) FROM alerts WHERE account_id = :account")
LOCK: Final = text("SELECT FROM accounts WHERE id = :account FOR NO KEY UPDATE")
EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class NewAlert:
    """An account gets one alert of a rule and an occasion, such as the end of a period."""

    account_id: int
    rule: Rule
    occasion: str
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    reason: str = ""

    @property
    def key(self) -> str:
        return f"{self.rule.key}:{self.reason}" if self.reason else self.rule.key


async def raise_alert(session: AsyncSession, alert: NewAlert, at: datetime) -> bool:
    """False: it was raised before. Takes the account's lock, so that numbers are unique."""
    connection = await session.connection()
    account = {"account": alert.account_id}
    await connection.execute(LOCK, account)
    last: int = await connection.scalar(LAST_NUMBER, account) or 0
    microseconds = round((at - EPOCH).total_seconds() * 1_000_000)
    values = {
        **account,
        "number": max(last + 1, microseconds),
        "kind": str(alert.rule.kind),
        "rule": alert.key,
        "occasion": alert.occasion,
        "figures": msgspec.json.encode(alert.figures).decode(),
        "at": at,
    }
    if not (await connection.execute(INSERT, values)).rowcount:
        return False
    await connection.execute(ANNOUNCE)
    return True


async def announce(database: Database, _account_ids: Iterable[int]) -> None:
    """Have workers deliver alerts that they could not hear of."""
    async with database.transaction() as session:
        await (await session.connection()).execute(ANNOUNCE)

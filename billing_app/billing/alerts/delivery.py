"""Delivers alerts: to the people who manage the account, in the app and by mail, and as an event
for webhooks. Each alert is delivered in one transaction, once."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.alerts.service import AlertView, view_of
from billing_app.billing.mail import AlertQueue
from billing_app.billing.notices.recipients import recipients_of
from billing_app.db.engine import Database
from billing_app.db.enums import AlertChannel, AlertKind
from billing_app.db.tables import Account, Alert, AlertDelivery

MAX_ACCOUNTS: Final = 500
# What was not sent by then is tried again, until it is old news.
RESEND_AFTER: Final = timedelta(hours=1)
GIVE_UP_AFTER: Final = timedelta(days=3)

WAITING: Final = text(f"""
SELECT DISTINCT account_id FROM alerts WHERE delivered_at IS NULL LIMIT {MAX_ACCOUNTS}
""")  # noqa: S608
UNSENT: Final = text(f"""
SELECT account_id, number, user_id FROM alert_deliveries
WHERE channel = '{AlertChannel.MAIL}' AND sent_at IS NULL AND created_at BETWEEN :since AND :until
ORDER BY created_at LIMIT {MAX_ACCOUNTS}
""")  # noqa: S608
WITHDRAW: Final = text(
    "DELETE FROM alert_deliveries WHERE account_id = :account AND user_id = :user"
)


async def deliver(database: Database, queue: AlertQueue | None, now: datetime) -> int:
    """Deliver what waits; returns how many alerts. `queue` None: no mail is sent."""
    delivered = 0
    while True:
        async with database.reading() as session:
            accounts = (await (await session.connection()).execute(WAITING)).scalars().all()
        for account_id in accounts:
            delivered += await _deliver_of(database, queue, account_id, now)
        if len(accounts) < MAX_ACCOUNTS:
            return delivered


async def queue_unsent(database: Database, queue: AlertQueue, now: datetime) -> int:
    """Queue mail again that could not be sent for long; returns how many."""
    window = {"since": now - GIVE_UP_AFTER, "until": now - RESEND_AFTER}
    async with database.transaction() as session:
        rows = (await (await session.connection()).execute(UNSENT, window)).all()
        for account_id, number, user_id in rows:
            await queue.alert(session, account_id, number, user_id, f"{now:%Y-%m-%dT%H}")
    return len(rows)


async def withdraw(session: AsyncSession, account_id: int, user_id: str) -> None:
    """Take the account's alerts from a person who has left it, mail that waits included."""
    values = {"account": account_id, "user": user_id}
    await (await session.connection()).execute(WITHDRAW, values)


async def _deliver_of(
    database: Database, queue: AlertQueue | None, account_id: int, now: datetime
) -> int:
    """Those of one account: its lock keeps other workers from them."""
    async with database.transaction() as session:
        account = await session.get(Account, account_id, with_for_update={"key_share": True})
        query = (
            select(Alert)
            .where(Alert.account_id == account_id, col(Alert.delivered_at).is_(None))
            .order_by(col(Alert.number))
        )
        alerts = (await session.exec(query)).all()
        people = await recipients_of(session, account) if alerts else []
        for alert in alerts:
            alert.delivered_at = now
            session.add(alert)
            await append(session, account_id, _event(view_of(alert)), now)
            for person in people:
                await _add(session, alert, person.user_id, AlertChannel.APP, now)
                wants_mail = person.preferences.wants(AlertKind(alert.kind))
                if queue is not None and wants_mail and person.email is not None:
                    await _add(session, alert, person.user_id, AlertChannel.MAIL, now)
                    await queue.alert(session, account_id, alert.number, person.user_id)
    return len(alerts)


async def _add(
    session: AsyncSession, alert: Alert, user_id: str, channel: AlertChannel, now: datetime
) -> None:
    session.add(
        AlertDelivery(
            account_id=alert.account_id,
            number=alert.number,
            user_id=user_id,
            channel=channel,
            created_at=now,
        )
    )
    await session.flush()


def _event(alert: AlertView) -> NewEvent:
    data: dict[str, Any] = {
        "alert": {
            "id": alert.id,
            "kind": alert.kind,
            "rule": alert.rule,
            "headline": alert.headline,
            "detail": alert.detail,
            "figures": alert.figures,
            "raised_at": alert.raised_at,
        }
    }
    return NewEvent(EventType.ALERT_RAISED, data, f"{EventType.ALERT_RAISED}:{alert.id}")

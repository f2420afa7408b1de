"""Accounts that people are mailed about, straight into the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.account_events.outbox import NewEvent, append
from billing_app.billing.actors import UserActor
from billing_app.billing.mail import Mail
from billing_app.db.engine import Database
from billing_app.db.enums import NoticeKind
from billing_app.db.tables import Notice
from tests.billing.alerts.rows import subscribe
from tests.factories import Holder, connect, membership, organization, person

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Team:
    holder: Holder
    owner: UserActor


def team(url: str, *, period_end: datetime = NOW + 20 * DAY, **more: Any) -> Team:
    """A new organization that subscribes to Growth, with its owner."""
    holder, owner = organization(url, 100), person(url, "Mary")
    membership(url, holder.organization_id, owner.user_id, "owner")
    subscribe(url, holder, period_end, **more)
    return Team(holder, owner)


def invoice(url: str, holder: Holder, invoice_id: str, **more: Any) -> None:
    values: dict[str, Any] = {
        "status": "paid",
        "reason": "subscription_cycle",
        "issued_at": datetime.now(UTC),
        "paid": 2900,
        "bank_decided_at": None,
        **more,
    }
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO invoices (account_id, provider_id, number, status, billing_reason,"
            " currency, amount_due_minor, amount_paid_minor, what_for, page_url, pdf_url,"
            " issued_at, bank_decided_at, synced_at)"
            " VALUES (%s, %s, 'A-1', %s, %s, 'USD', 2900, %s, 'Growth',"
            " 'https://pay.example/1', '', %s, %s, now())",
            [
                holder.account_number,
                invoice_id,
                values["status"],
                values["reason"],
                values["paid"],
                values["issued_at"],
                values["bank_decided_at"],
            ],
        )


async def happened(
    database: Database,
    holder: Holder,
    event_type: EventType,
    *,
    key: str | None = None,
    **data: Any,
) -> None:
    async with database.transaction() as session:
        await append(session, holder.account_number, NewEvent(event_type, data, key), NOW)


def subscription_of(holder: Holder) -> dict[str, Any]:
    return {"id": ids.encode("sub_", holder.account_number, 1), "status": "active"}


def notices(url: str, holder: Holder) -> list[Notice]:
    with connect(url) as connection:
        rows = connection.execute(
            "SELECT key, user_id, kind, figures FROM notices WHERE account_id = %s"
            " ORDER BY created_at, key, user_id",
            [holder.account_number],
        ).fetchall()
    return [
        Notice(
            account_id=holder.account_number,
            key=key,
            user_id=user_id,
            kind=NoticeKind(kind),
            figures=figures,
            created_at=NOW,
        )
        for key, user_id, kind, figures in rows
    ]


@dataclass
class Sent:
    """What was queued and sent."""

    queued: list[tuple[int, str, str, str]] = field(default_factory=list[tuple[int, str, str, str]])
    mails: list[Mail] = field(default_factory=list[Mail])

    async def notice(
        self, session: AsyncSession, account_id: int, key: str, user_id: str, again: str = ""
    ) -> None:
        del session
        self.queued.append((account_id, key, user_id, again))

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)


def subjects(mails: Sequence[Mail]) -> list[str]:
    return [mail.subject for mail in mails]

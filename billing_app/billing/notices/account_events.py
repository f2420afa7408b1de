"""Notices of what happened to accounts, from their events."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.notices.writing import NewNotice, write
from billing_app.billing.subscriptions.sold_lines import RENEWAL
from billing_app.db.enums import AlertKind, NoticeKind
from billing_app.db.tables import (
    Account,
    AccountEvent,
    Invoice,
    OfferVersion,
    Plan,
    ProviderCustomer,
    Subscription,
)

# Clocks of ours and of the provider differ by less.
CLOCK_SKEW: Final = timedelta(minutes=1)
PLAN_KINDS: Final = {
    EventType.SUBSCRIPTION_CANCELLED: NoticeKind.PLAN_CANCELLED,
    EventType.SUBSCRIPTION_RESUMED: NoticeKind.PLAN_RESUMED,
    EventType.SUBSCRIPTION_ENDED: NoticeKind.PLAN_ENDED,
}


class AccountEventNotices:
    """Writes notices of events in the transaction that takes them off the outbox."""

    def __init__(self, book: RuleBook) -> None:
        self._book = book

    async def hear(
        self,
        session: AsyncSession,
        account: Account,
        events: Sequence[AccountEvent],
        now: datetime,
    ) -> None:
        for event in events:
            notice = await self._notice(session, account, event, now)
            if notice is not None:
                await write(session, account, notice, now)

    async def _notice(
        self, session: AsyncSession, account: Account, event: AccountEvent, now: datetime
    ) -> NewNotice | None:
        """None: nobody is mailed about it."""
        match event.type:
            case EventType.INVOICE_PAID:
                return await _receipt(session, event)
            case EventType.INVOICE_FAILED:
                return await self._failed(session, event, now)
            case EventType.TOP_UP_STOPPED:
                return NewNotice(NoticeKind.TOP_UP_STOPPED, event.id.hex, event.data)
            case (
                EventType.SUBSCRIPTION_CANCELLED
                | EventType.SUBSCRIPTION_RESUMED
                | EventType.SUBSCRIPTION_ENDED
                | EventType.SUBSCRIPTION_UPDATED
            ):
                return await _plan_notice(session, account, event)
            case _:
                return None

    async def _failed(
        self, session: AsyncSession, event: AccountEvent, now: datetime
    ) -> NewNotice | None:
        """A renewal that could not be charged, at each attempt. The first one is an alert, if the
        account has a rule for that; what banks refuse has a mail of its own (debit_mails.py)."""
        _, invoice_id, attempt = (event.dedup_key or "").split(":")
        row = await _own_invoice(session, event.account_id, invoice_id)
        if row is None or row.billing_reason != RENEWAL or row.bank_asked_at is not None:
            return None
        # What changed since the last failure is read: those are few.
        await self._book.read()
        rules = self._book.rules_of(event.account_id, await _version(session, row))
        if attempt == "1" and rules.of_kind(AlertKind.PAYMENT_FAILED):
            return None
        stops = select(func.min(Plan.suspended_at)).where(
            Plan.account_id == event.account_id,
            col(Plan.ended_at).is_(None),
            col(Plan.suspended_at) > now,
        )
        suspend_at = (await session.exec(stops)).one()
        figures = _invoice_figures(row, row.amount_due_minor) | {
            "attempt": int(attempt),
            "suspend_at": suspend_at.isoformat() if suspend_at else None,
        }
        return NewNotice(NoticeKind.PAYMENT_FAILED, f"failed:{invoice_id}:{attempt}", figures)


async def _receipt(session: AsyncSession, event: AccountEvent) -> NewNotice | None:
    invoice_id = (event.dedup_key or "").rpartition(":")[2]
    row = await _own_invoice(session, event.account_id, invoice_id)
    if row is None or row.amount_paid_minor <= 0 or row.bank_decided_at is not None:
        return None
    figures = _invoice_figures(row, row.amount_paid_minor)
    return NewNotice(NoticeKind.RECEIPT, f"receipt:{invoice_id}", figures)


async def _plan_notice(
    session: AsyncSession, account: Account, event: AccountEvent
) -> NewNotice | None:
    number = ids.decode("sub_", event.data["subscription"]["id"])
    row = await session.get(Subscription, number) if number else None
    if row is None or row.is_duplicate:
        return None
    plan = await session.get_one(OfferVersion, row.offer_version_id)
    following = await session.get(OfferVersion, row.next_offer_version_id or 0)
    kind = PLAN_KINDS.get(EventType(event.type)) or _change(event, following)
    if kind is None:
        return None
    figures = {
        "plan": plan.name,
        "next_plan": following.name if following else plan.name,
        "period_end": row.period_end.isoformat(),
        "ends_at": (row.cancel_at or row.period_end).isoformat(),
    }
    return NewNotice(kind, event.id.hex, figures)


def _change(event: AccountEvent, following: OfferVersion | None) -> NoticeKind | None:
    """A renewal, or a later end of the period, is no news: receipts are."""
    changed = event.data.get("changed", ())
    if "offer" in changed:
        return NoticeKind.PLAN_CHANGED
    if "next_offer" in changed:
        return NoticeKind.CHANGE_SCHEDULED if following else NoticeKind.CHANGE_WITHDRAWN
    return None


async def _own_invoice(session: AsyncSession, account_id: int, invoice_id: str) -> Invoice | None:
    """None for one that was issued before the account had its customer here: imported history."""
    row = await session.get(Invoice, (account_id, invoice_id))
    customer = await session.get(ProviderCustomer, account_id)
    if row is None or customer is None:
        return None
    return row if row.issued_at >= customer.created_at - CLOCK_SKEW else None


async def _version(session: AsyncSession, invoice: Invoice) -> int | None:
    query = select(Subscription.offer_version_id).where(
        Subscription.account_id == invoice.account_id,
        Subscription.provider_id == invoice.subscription_provider_id,
    )
    return (await session.exec(query)).first()


def _invoice_figures(row: Invoice, amount_minor: int) -> dict[str, Any]:
    return {
        "amount_minor": amount_minor,
        "currency": row.currency,
        "number": row.number,
        "what_for": row.what_for,
        "page_url": row.page_url,
        "issued_at": row.issued_at.isoformat(),
    }

"""Mail about what a bank decided on a debit, days after the purchase."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.billing_details import details_of
from billing_app.billing.actors import OperatorActor
from billing_app.billing.mail import DecisionQueue, Letter, Mail, Mailer, letter_mail
from billing_app.billing.quantities import counted
from billing_app.billing.subscriptions.account_summary import AccountSummary, read_summary
from billing_app.billing.subscriptions.bank_debits import (
    DECISION_SHOWN_FOR,
    BankDebit,
    PaidFor,
    debit_of,
)
from billing_app.billing.subscriptions.purchase_outcomes import PaymentState
from billing_app.db.engine import Database
from billing_app.db.tables import Account, Invoice
from billing_app.routes import OVERVIEW

MAX_AT_ONCE: Final = 500
STARTS: Final = (PaidFor.FIRST, PaidFor.CHANGE)


async def queue_decisions(database: Database, mail_queue: DecisionQueue, now: datetime) -> int:
    """Queue mail about decisions that nobody was mailed about; returns how many. Older ones than
    the pages show are left alone."""
    query = (
        select(Invoice)
        .where(col(Invoice.bank_mailed_at).is_(None))
        .where(col(Invoice.bank_decided_at) > now - DECISION_SHOWN_FOR)
        .order_by(col(Invoice.bank_decided_at))
        .limit(MAX_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    async with database.transaction() as session:
        rows: Sequence[Invoice] = (await session.exec(query)).all()
        for row in rows:
            row.bank_mailed_at = now
            session.add(row)
            await mail_queue.bank_decision(session, row.account_id, row.provider_id)
    return len(rows)


async def mail_decision(
    database: Database,
    mailer: Mailer,
    *,
    account_id: int,
    invoice_id: str,
    site: str,
    now: datetime,
) -> None:
    """Mail the account's billing address; nothing when it has none, or when the bank is being asked
    again. Raises what `mailer` raises."""
    async with database.reading() as session:
        row = await session.get(Invoice, (account_id, invoice_id))
        email = await _address(session, account_id)
    if row is None or row.bank_decided_at is None or email is None:
        return
    account = ids.encode_account(account_id)
    summary = await read_summary(database, OperatorActor(), account, now)
    mail = decision_mail(debit_of(row), summary, to=email, site=site)
    if mail is not None:
        await mailer.send(mail)


async def _address(session: AsyncSession, account_id: int) -> str | None:
    account = await session.get_one(Account, account_id)
    return (await details_of(session, account)).email


def decision_mail(debit: BankDebit, summary: AccountSummary, *, to: str, site: str) -> Mail | None:
    """None: a renewal, or usage, that was paid as usual."""
    amount, page = debit.outcome.amount, f"{site}{OVERVIEW}"
    if debit.outcome.state is PaymentState.CHARGED:
        plans = [plan for plan in summary.queue if plan.name == debit.name]
        newest = max(plans, key=lambda plan: plan.sequence, default=None)
        if newest is None or debit.paid_for is PaidFor.RENEWAL:
            return None
        have = f"{debit.name} has been added, with {counted(newest.remaining, 'execution')} left."
        paid = f"Your bank has paid {amount} for {debit.name} at {site}. {have}"
        letter = Letter(f"Paid: {debit.name}", (paid,), "See your plans", page)
        return _mail(to, letter, site)
    unpaid = f"Your bank did not pay {amount} for {debit.name} at {site}. Nothing was charged."
    text, button = _what_helps(debit, summary)
    url = debit.outcome.payment_url or page
    headline = f"Your bank did not pay for {debit.name}"
    return _mail(to, Letter(headline, (unpaid, text), button, url), site)


def _mail(to: str, letter: Letter, site: str) -> Mail:
    reason = f"Sent to the billing email of your account at {site}."
    return letter_mail(to, letter.headline, replace(letter, small_print=reason))


def _what_helps(debit: BankDebit, summary: AccountSummary) -> tuple[str, str]:
    """In a sentence, and on the button."""
    if debit.outcome.payment_url is None:
        cancelled = "The order was cancelled, so it is not charged later either."
        return f"{cancelled} You can order it again.", "See plans"
    if debit.paid_for is PaidFor.RENEWAL:
        return f"Pay the invoice to keep {debit.name}.", "Pay the invoice"
    if debit.paid_for not in STARTS:
        return "You can pay the invoice yourself.", "Pay the invoice"
    left = summary.current.executions_remaining
    count = counted(left, "execution")
    has_more = f" Until then you can use the {count} that you have." if left > 0 else ""
    starts = f"{debit.name} starts as soon as the invoice is paid.{has_more}"
    return starts, "Pay the invoice"

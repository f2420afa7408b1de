"""Trusting the first invoice of a subscription on net terms: its period is given before it is paid.

Renewals on net terms are given at once anyway. The plan is the invoice's own, so paying it later
gives nothing more; unpaid, it is stopped by dunning like a renewal's.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import structlog
from pydantic import Field
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.errors import (
    AccountNotFoundError,
    BillingError,
    ConflictError,
    NotFoundError,
)
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.staff.access.permissions import (
    Action,
    require,
    require_within_limit,
)
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.drivers import InSession
from billing_app.billing.staff.repairs.fields import Control, Input, RepairForm, stored
from billing_app.billing.staff.repairs.repair import (
    ACCOUNT,
    AlreadyInStateError,
    Figures,
    Repair,
    RepairRequest,
    RepairResult,
    RepairServices,
    Shown,
)
from billing_app.billing.subscriptions.provider import ENDED
from billing_app.billing.subscriptions.sold_lines import FIRST
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus
from billing_app.db.tables import Account, Invoice, ProviderCustomer, Subscription

log = structlog.get_logger(__name__)


class InvoiceNotFoundError(NotFoundError):
    code = "invoice_not_found"
    title = "This account has no such invoice"


@dataclass(frozen=True)
class Trust(RepairForm):
    """`invoice`: its id at the payment provider."""

    invoice: Annotated[
        str,
        Field(min_length=1, max_length=255),
        Input("Invoice", Control.CHOICE, source="invoices"),
    ]


@dataclass(frozen=True, slots=True)
class TrustPreview:
    invoice_number: str
    amount: Money
    offer: OfferView
    executions: int
    period_end: datetime
    due_at: datetime


async def preview(services: RepairServices, request: RepairRequest[Trust]) -> TrustPreview:
    """Raises AccountNotFoundError, InvoiceNotFoundError, OverLimitError, AlreadyInStateError,
    and ConflictError for an invoice that is not the open first one of a live subscription."""
    async with services.database.reading() as session:
        invoice, row = await _trustable(session, request)
        offer = await offer_version(session, row.offer_version_id)
    assert invoice.due_at is not None
    return TrustPreview(
        invoice.number,
        Money(invoice.amount_due_minor, invoice.currency),
        offer,
        offer.executions * row.quantity,
        row.period_end,
        invoice.due_at,
    )


async def trust(session: AsyncSession, request: RepairRequest[Trust]) -> RepairResult:
    """Raises as the preview."""
    invoice, row = await _trustable(session, request)
    offer = await offer_version(session, row.offer_version_id)
    invoice.trusted_at = request.now
    session.add(invoice)
    after = {
        "trusted_at": stored(request.now),
        "number": invoice.number,
        "offer": offer.name,
        "executions": offer.executions * row.quantity,
    }
    return RepairResult(invoice.provider_id, {"trusted_at": None}, after)


@dataclass(frozen=True, slots=True)
class _TrustAndGive:
    """The plan follows from the provider's invoice: it is read first, and nothing is trusted when
    that fails. Should it fail afterwards, the plan follows with reconciliation."""

    async def run(self, services: RepairServices, request: RepairRequest[Trust]) -> EntryView:
        run, sync = InSession(trust).run, services.provider_requests.sync
        async with services.database.reading() as session:
            customer = await session.get(ProviderCustomer, request.account_id)
        if customer is None:
            return await run(services, request)
        customer_id = customer.customer_id
        await sync(customer_id, request.now)
        entry = await run(services, request)
        try:
            await sync(customer_id, request.now)
        except BillingError as error:
            log.warning("plan_of_trusted_invoice_waits", customer_id=customer_id, code=error.code)
        return entry

    async def rehearse(
        self, services: RepairServices, request: RepairRequest[Trust]
    ) -> RepairResult:
        return await InSession(trust).rehearse(services, request)


async def list_trustable(database: Database, actor: Actor, account_id: str) -> list[Invoice]:
    """The account's open first invoices on net terms that nobody has trusted yet. Raises
    ForbiddenError, AccountNotFoundError."""
    require(actor, Action.READ)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        query = (
            select(Invoice)
            .where(Invoice.account_id == account.id, Invoice.billing_reason == FIRST)
            .where(Invoice.status == InvoiceStatus.OPEN)
            .where(col(Invoice.due_at).is_not(None), col(Invoice.trusted_at).is_(None))
            .order_by(col(Invoice.issued_at).desc())
        )
        return list((await session.exec(query)).all())


async def _trustable(
    session: AsyncSession, request: RepairRequest[Trust]
) -> tuple[Invoice, Subscription]:
    if await session.get(Account, request.account_id) is None:
        raise AccountNotFoundError
    invoice = await session.get(Invoice, (request.account_id, request.form.invoice))
    if invoice is None:
        raise InvoiceNotFoundError
    if invoice.trusted_at is not None:
        raise AlreadyInStateError("The invoice is trusted.")
    query = (
        select(Subscription)
        .where(Subscription.account_id == request.account_id)
        .where(Subscription.provider_id == invoice.subscription_provider_id)
        .where(col(Subscription.status).not_in(ENDED))
    )
    row = (await session.exec(query)).first()
    is_open = invoice.status == InvoiceStatus.OPEN and invoice.due_at is not None
    if row is None or not is_open or invoice.billing_reason != FIRST:
        raise ConflictError(
            "Only the unpaid first invoice of a live subscription on net terms can be trusted."
        )
    offer = await offer_version(session, row.offer_version_id)
    require_within_limit(request.staff, offer.executions * row.quantity)
    return invoice, row


def wording(_: Figures, after: Figures) -> str:
    return f"{after['offer']} can be used before invoice {after['number']} is paid"


TRUST_INVOICE: Final = Repair(
    name="trust_invoice",
    action=Action.TRUST_INVOICE,
    target=ACCOUNT,
    path="invoices/trust",
    title="Trust an invoice",
    explanation="Gives the first period of a subscription on net terms before it is paid. Not"
    " undoable: pause the plan instead.",
    form=Trust,
    preview=preview,
    apply=_TrustAndGive(),
    undo=None,
    wording=wording,
    worded=frozenset({"number", "offer"}),
    shown=Shown.WITH_SUBSCRIPTION,
    needs_provider=True,
)

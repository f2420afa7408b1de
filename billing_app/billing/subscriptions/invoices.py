"""Invoices and the card on file, as their holder sees them."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select

from billing_app.billing.accounts import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.paging import DEFAULT_LIMIT, Page, check_limit, invalid_cursor
from billing_app.billing.subscriptions.provider import PaymentMethodFacts, PaymentProvider
from billing_app.db.engine import Database
from billing_app.db.tables import Invoice, ProviderCustomer
from billing_app.db.words import InvoiceStatus


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """`page_url` and `pdf_url` are the provider's; empty while the invoice is a draft."""

    id: str
    number: str
    status: InvoiceStatus
    currency: str
    amount_due_minor: int
    amount_paid_minor: int
    issued_at: datetime
    page_url: str
    pdf_url: str


async def list_invoices(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[InvoiceView]:
    """Newest first, drafts left out. Raises AccountNotFoundError, InvalidInputError."""
    check_limit(limit)
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id, reading=True)
        query = (
            select(Invoice)
            .where(Invoice.account_id == account.id)
            .where(Invoice.status != InvoiceStatus.DRAFT)
            .order_by(col(Invoice.issued_at).desc(), col(Invoice.provider_id).desc())
        )
        rows = list((await session.exec(query)).all())
    start = _after(rows, cursor) if cursor else 0
    page = rows[start : start + limit]
    has_more = len(rows) > start + limit
    return Page([_view(row) for row in page], page[-1].provider_id if has_more else None)


async def read_payment_method(
    database: Database, provider: PaymentProvider, actor: Actor, account_id: str
) -> PaymentMethodFacts | None:
    """The card on file, asked of the provider; None without one.

    Raises AccountNotFoundError and what the provider raises.
    """
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id, reading=True)
        customer = await session.get(ProviderCustomer, account.id)
    return await provider.payment_method(customer.customer_id) if customer else None


def _after(rows: list[Invoice], cursor: str) -> int:
    for position, row in enumerate(rows):
        if row.provider_id == cursor:
            return position + 1
    raise invalid_cursor()


def _view(row: Invoice) -> InvoiceView:
    return InvoiceView(
        id=row.provider_id,
        number=row.number,
        status=InvoiceStatus(row.status),
        currency=row.currency,
        amount_due_minor=row.amount_due_minor,
        amount_paid_minor=row.amount_paid_minor,
        issued_at=row.issued_at,
        page_url=row.page_url,
        pdf_url=row.pdf_url,
    )

"""Invoices and the card on file, as the account sees them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select
from sqlalchemy import select as select_rows
from sqlmodel import col

from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import INSTANT, NUMBER, TEXT, By, Key, Sorting
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.customers import card_on_file
from billing_app.billing.subscriptions.provider import PaymentProvider, ProviderPaymentMethod
from billing_app.billing.usage.service import Days
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus
from billing_app.db.tables import Invoice, ProviderCustomer


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """`what_for`: the offers and periods that it bills. `is_processing`: the bank has been asked
    to pay it. `page_url` and `pdf_url` are the provider's; empty while the invoice is a draft."""

    id: str
    number: str
    status: InvoiceStatus
    what_for: str
    currency: str
    amount_due_minor: int
    amount_paid_minor: int
    refunded_minor: int
    issued_at: datetime
    page_url: str
    pdf_url: str
    is_processing: bool = False


class InvoiceSort(StrEnum):
    """`AMOUNT` is the amount due in minor units, whatever the currency."""

    ISSUED = "issued"
    NUMBER = "number"
    AMOUNT = "amount"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class InvoiceQuery:
    """Filters; None: all invoices. `days`: of issue."""

    status: InvoiceStatus | None = None
    days: Days | None = None


_ISSUED: Final = Key(col(Invoice.issued_at), INSTANT)
SORTING: Final = Sorting(
    {
        InvoiceSort.ISSUED: _ISSUED,
        InvoiceSort.NUMBER: Key(col(Invoice.number), TEXT),
        InvoiceSort.AMOUNT: Key(col(Invoice.amount_due_minor), NUMBER),
        InvoiceSort.STATUS: Key(col(Invoice.status), TEXT),
    },
    ties=(_ISSUED, Key(col(Invoice.provider_id), TEXT)),
    usual=By(InvoiceSort.ISSUED, descending=True),
)


async def list_invoices(
    database: Database,
    actor: Actor,
    account_id: str,
    where: InvoiceQuery | None = None,
    *,
    by: By[InvoiceSort] | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[InvoiceView]:
    """Newest first by default, without drafts. Raises AccountNotFoundError, InvalidInputError."""
    where = where or InvoiceQuery()
    span = SORTING.span(by, limit=limit, cursor=cursor)
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id, reading=True)
        query: Select[Any] = (
            select_rows(Invoice)
            .where(col(Invoice.account_id) == account.id)
            .where(col(Invoice.status) != InvoiceStatus.DRAFT)
        )
        if where.status is not None:
            query = query.where(col(Invoice.status) == where.status)
        if where.days is not None:
            issued = col(Invoice.issued_at)
            query = query.where(issued >= where.days.since, issued < where.days.until)
        rows, following = await span.fetch(session, query)
    return Page([_view(row[0]) for row in rows], following)


async def read_payment_method(
    database: Database, provider: PaymentProvider, actor: Actor, account_id: str
) -> ProviderPaymentMethod | None:
    """The card on file, from the provider; None without one.

    Raises AccountNotFoundError and what the provider raises.
    """
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id, reading=True)
        customer = await session.get(ProviderCustomer, account.id)
        live = await live_subscription(session, account.id)
    return await card_on_file(provider, customer, live)


def _view(row: Invoice) -> InvoiceView:
    return InvoiceView(
        id=row.provider_id,
        number=row.number,
        status=InvoiceStatus(row.status),
        what_for=row.what_for,
        currency=row.currency,
        amount_due_minor=row.amount_due_minor,
        amount_paid_minor=row.amount_paid_minor,
        refunded_minor=row.refunded_minor,
        issued_at=row.issued_at,
        page_url=row.page_url,
        pdf_url=row.pdf_url,
        is_processing=row.is_processing,
    )

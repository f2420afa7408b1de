"""Keeps mirrors of customers (mirror.py) in the database, one row for each invoice."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import String, delete, func, literal_column
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.subscriptions.mirror import InvoiceRead, Mirror
from billing_app.billing.subscriptions.provider import ProviderInvoice, ProviderSubscription
from billing_app.db.tables import MirroredInvoice, ProviderCustomer, ProviderMirror

# To be raised when a snapshot gets other members, or the same ones get another meaning.
FORMAT: Final = 1
NUMBERS: Final = "provider_read_numbers"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CustomerState:
    """A customer of ours as a read finds it. `version`: see apply.customer_version. `mirror`:
    None when there is none that holds."""

    account_id: int
    version: str
    mirror: Mirror | None


async def next_number(session: AsyncSession) -> int:
    """The number of a read that begins now."""
    return (await session.exec(select(func.nextval(NUMBERS)))).one()


async def load(session: AsyncSession, customer_id: str) -> CustomerState | None:
    """None: not a customer of ours."""
    version = literal_column("provider_customers.xmin::text", String)
    query = select(ProviderCustomer.account_id, version)
    query = query.where(col(ProviderCustomer.customer_id) == customer_id)
    found = (await session.exec(query)).first()
    if found is None:
        return None
    account_id, version = found
    row = await session.get(ProviderMirror, account_id, populate_existing=True)
    if row is None or row.version != version or row.format != FORMAT:
        return CustomerState(account_id, version, None)
    mirror = Mirror(
        customer_id,
        msgspec.convert(row.subscriptions, list[ProviderSubscription]),
        row.read_number,
        row.whole_number,
        await _invoices(session, row),
    )
    return CustomerState(account_id, version, mirror)


async def _invoices(session: AsyncSession, row: ProviderMirror) -> list[InvoiceRead]:
    query = (
        select(MirroredInvoice)
        .where(MirroredInvoice.account_id == row.account_id)
        .order_by(col(MirroredInvoice.position))
        .execution_options(populate_existing=True)
    )
    return [
        InvoiceRead(
            msgspec.convert(each.invoice, ProviderInvoice),
            max(each.read_number, row.whole_number),
            max(each.returned_number, row.whole_number),
        )
        for each in (await session.exec(query)).all()
    ]


async def keep(session: AsyncSession, before: CustomerState, version: str, mirror: Mirror) -> None:
    """Write what has changed of a customer whose version is `version` now. The caller holds the
    account's lock."""
    account_id, known = before.account_id, _rows(account_id=before.account_id, of=before.mirror)
    rows = _rows(account_id=account_id, of=mirror)
    gone = delete(MirroredInvoice).where(col(MirroredInvoice.account_id) == account_id)
    if before.mirror is None:
        await session.exec(gone)
    elif ids := known.keys() - rows.keys():
        await session.exec(gone.where(col(MirroredInvoice.provider_id).in_(ids)))
    changed = [row for name, row in rows.items() if known.get(name) != row]
    await _upsert(session, MirroredInvoice, changed, keys=("account_id", "provider_id"))
    header: Row = {
        "account_id": account_id,
        "version": version,
        "format": FORMAT,
        "read_number": mirror.read_number,
        "whole_number": mirror.whole_number,
        "subscriptions": msgspec.to_builtins(mirror.subscriptions),
    }
    await _upsert(session, ProviderMirror, [header], keys=("account_id",))


def _rows(*, account_id: int, of: Mirror | None) -> dict[str, Row]:
    """By invoice. Numbers up to that of the last whole read go without saying."""
    return {
        each.invoice.provider_id: {
            "account_id": account_id,
            "provider_id": each.invoice.provider_id,
            "position": position,
            "read_number": each.number if of and each.number > of.whole_number else 0,
            "returned_number": (
                each.returned_number if of and each.returned_number > of.whole_number else 0
            ),
            "payment_ids": list(each.invoice.payment_ids),
            "invoice": msgspec.to_builtins(each.invoice),
        }
        for position, each in enumerate(of.invoices if of else ())
    }


async def _upsert(
    session: AsyncSession,
    table: type[MirroredInvoice | ProviderMirror],
    rows: list[Row],
    *,
    keys: tuple[str, ...],
) -> None:
    if not rows:
        return
    statement = insert(table).values(rows)
    values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    statement = statement.on_conflict_do_update(index_elements=keys, set_=values)
    await (await session.connection()).execute(statement)


async def customer_of_payment(session: AsyncSession, payment_id: str) -> str:
    """The customer of a payment that is in a mirror; "" when none has it."""
    query = (
        select(ProviderCustomer.customer_id)
        .join(MirroredInvoice, col(MirroredInvoice.account_id) == ProviderCustomer.account_id)
        .where(col(MirroredInvoice.payment_ids).contains([payment_id]))
    )
    return (await session.exec(query)).first() or ""

"""What the provider's invoices bill for overage, from a customer's snapshot."""

from collections.abc import Iterable, Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.subscriptions.provider import InvoiceLine, ProviderInvoice
from billing_app.db.enums import InvoiceStatus, PlanSource
from billing_app.db.tables import OfferPrice, OverageBill, Plan


async def keep_bills(
    session: AsyncSession,
    account_id: int,
    invoices: Sequence[ProviderInvoice],
    plans: Iterable[Plan],
) -> None:
    """Record what is billed of each overage plan. A voided invoice counts: voiding it waives its
    overage. The caller holds the account's lock."""
    overage = [plan for plan in plans if plan.source == PlanSource.OVERAGE]
    if not overage:
        return
    versions = {plan.offer_version_id for plan in overage}
    query = select(OfferPrice).where(col(OfferPrice.offer_version_id).in_(versions))
    prices = {row.offer_version_id: row.overage_price_id for row in await session.exec(query)}
    for plan in overage:
        price_id = prices.get(plan.offer_version_id or 0)
        billed = [
            (invoice.status is InvoiceStatus.DRAFT, line.amount_minor)
            for invoice in invoices
            for line in invoice.lines
            if _is_of(line, plan, price_id)
        ]
        if billed:
            final = sum(amount for is_draft, amount in billed if not is_draft)
            is_open = any(is_draft for is_draft, _ in billed)
            await _keep(session, (account_id, plan.sequence), final, is_open=is_open)


def _is_of(line: InvoiceLine, plan: Plan, price_id: str | None) -> bool:
    """Whether we billed it for the plan, or it is metered in the plan's period."""
    if line.overage_of is not None:
        return line.overage_of == plan.sequence
    return line.price_id == price_id is not None and line.period_start == plan.starts_at


async def _keep(
    session: AsyncSession, key: tuple[int, int], billed_minor: int, *, is_open: bool
) -> None:
    values = {"billed_minor": billed_minor, "is_open": is_open}
    statement = (
        insert(OverageBill)
        .values(account_id=key[0], plan_sequence=key[1], **values)
        .on_conflict_do_update(index_elements=["account_id", "plan_sequence"], set_=values)
    )
    await (await session.connection()).execute(statement)

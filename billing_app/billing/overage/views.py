"""The overage of the current period, as the account sees it."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.offers.catalogue import offer_version
from billing_app.billing.overage.limits import spending_limit
from billing_app.billing.overage.rules import allowed_executions
from billing_app.db.enums import PlanSource
from billing_app.db.tables import Plan


@dataclass(frozen=True, slots=True)
class OverageView:
    """`cost_minor` is what the overage so far costs at the end of the period: `unit_price_minor`
    for each `unit_executions` begun. `limit_minor` is the account's own limit; None: it has none.
    `can_raise_limit`: a higher limit of its own would allow more at once.
    """

    executions_used: int
    executions_held: int
    executions_limit: int
    executions_remaining: int
    unit_price_minor: int
    unit_executions: int
    currency: str
    cost_minor: int
    limit_minor: int | None
    period_end: datetime | None
    can_raise_limit: bool = False


async def read_overage(session: AsyncSession, account_id: int, now: datetime) -> OverageView | None:
    """Of the current overage plan; None: the account stops at the end of its plan."""
    query = (
        select(Plan)
        .where(Plan.account_id == account_id)
        .where(Plan.source == PlanSource.OVERAGE)
        .where(col(Plan.ended_at).is_(None))
        .where(col(Plan.starts_at) <= now)
        .where(col(Plan.ends_at) > now)
        .order_by(col(Plan.sequence).desc())
    )
    plan = (await session.exec(query)).first()
    if plan is None or plan.offer_version_id is None:
        return None
    offer = await offer_version(session, plan.offer_version_id)
    assert offer.overage is not None
    limit = await spending_limit(session, account_id)
    return OverageView(
        executions_used=plan.used,
        executions_held=plan.held,
        executions_limit=plan.executions,
        executions_remaining=plan.executions - plan.used - plan.held,
        unit_price_minor=offer.overage.unit_price_minor,
        unit_executions=offer.overage.unit_executions,
        currency=offer.currency,
        cost_minor=offer.overage.cost_minor(plan.used),
        limit_minor=limit.minor if limit else None,
        period_end=plan.ends_at,
        can_raise_limit=allowed_executions(offer.overage, offer.currency, None) > plan.executions,
    )

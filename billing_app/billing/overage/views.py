"""The overage of the current period, as the account sees it."""

from dataclasses import dataclass
from datetime import datetime

from billing_app.billing.executions.state import PlanBalance
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.overage.rules import allowed_executions


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


def overage_view(plan: PlanBalance, offer: OfferView, limit: Money | None) -> OverageView:
    """Of an overage plan, the offer that allows it, and the account's own limit."""
    assert offer.overage is not None
    return OverageView(
        executions_used=plan.used,
        executions_held=plan.held,
        executions_limit=plan.executions,
        executions_remaining=plan.remaining,
        unit_price_minor=offer.overage.unit_price_minor,
        unit_executions=offer.overage.unit_executions,
        currency=offer.currency,
        cost_minor=offer.overage.cost_minor(plan.used),
        limit_minor=limit.minor if limit else None,
        period_end=plan.ends_at,
        can_raise_limit=allowed_executions(offer.overage, offer.currency, None) > plan.executions,
    )

"""From the spending limit and the automatic top-up to what the overview says about them."""

from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.overage.rules import UNLIMITED_EXECUTIONS
from billing_app.billing.overage.views import OverageView
from billing_app.billing.subscriptions.top_ups import TopUpView
from billing_app.states import formatting
from billing_app.states.views import LimitView, TopUpItem


def limit_view(overage: OverageView | None) -> LimitView:
    """What happens after the plan's last execution, and what that has cost so far."""
    if overage is None:
        return LimitView(
            words="Runs stop at the last execution of your plan. Nothing is charged beyond it."
        )
    price = formatting.unit_price(
        overage.unit_price_minor, overage.unit_executions, overage.currency
    )
    explained = f"Runs go on beyond the plan at {price}, {_up_to(overage)}."
    if not overage.executions_limit:
        explained = "Your limit is zero: runs stop at the last execution of the plan."
    most = overage.executions_limit
    return LimitView(
        words=explained,
        used=_used(overage),
        used_percent=round(100 * overage.executions_used / most, 2) if most else 0.0,
        has_meter=0 < most < UNLIMITED_EXECUTIONS,
        may_change=True,
        currency=overage.currency,
        value=_plain(overage.limit_minor, overage.currency),
    )


def top_up_item(order: TopUpView | None, packs: list[OfferView]) -> TopUpItem:
    """Whether packs are bought by themselves, when, and for how much at most."""
    if order is None:
        pack = packs[0] if packs else None
        return TopUpItem(
            words="Off. Nothing is bought by itself.",
            action="Switch on",
            offer_code=pack.code if pack else "",
            threshold="500",
            cap=_plain(pack.price_minor * 2, pack.currency) if pack else "",
            currency=pack.currency if pack else "",
            is_sold=pack is not None,
        )
    offer, currency = order.offer, order.currency
    cap, spent = (
        formatting.money(each, currency) for each in (order.monthly_cap_minor, order.spent_minor)
    )
    left = formatting.counted(order.threshold_executions, "execution")
    return TopUpItem(
        words=(
            f"When fewer than {left} are left, {offer.name} ({formatting.price(offer)}) is bought"
            f" with the card on file, for at most {cap} a month."
        ),
        action="Switch on again" if order.stopped_because else "Change",
        spent=f"{spent} of {cap} spent this month",
        stopped=order.stopped_because or "",
        is_on=True,
        offer_code=offer.code,
        threshold=str(order.threshold_executions),
        cap=_plain(order.monthly_cap_minor, currency),
        currency=currency,
        is_sold=True,
    )


def _up_to(overage: OverageView) -> str:
    if overage.limit_minor is not None:
        return f"up to {formatting.money(overage.limit_minor, overage.currency)} a period"
    if overage.executions_limit >= UNLIMITED_EXECUTIONS:
        return "without a limit"
    return f"up to {formatting.counted(overage.executions_limit, 'execution')} a period"


def _used(overage: OverageView) -> str:
    if not overage.executions_used:
        return "None used this period"
    count = formatting.counted(overage.executions_used, "execution")
    cost = formatting.money(overage.cost_minor, overage.currency)
    return f"{count} used this period: {cost} on the next invoice"


def _plain(amount_minor: int | None, currency: str) -> str:
    """As it is typed: 1234.50"""
    return "" if amount_minor is None else formatting.typed_money(amount_minor, currency)

"""Turns the spending limit and the automatic top-up into what the overview shows."""

from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.overage.rules import UNLIMITED_EXECUTIONS
from billing_app.billing.overage.views import OverageView
from billing_app.billing.subscriptions.top_ups import TopUpView
from billing_app.states import formatting
from billing_app.states.views import LimitView, TopUpItem


def limit_view(overage: OverageView | None) -> LimitView:
    """What happens when the plan is used up, and what that has cost so far."""
    if overage is None:
        return LimitView(
            text="Executions stop when your plan is used up. Nothing is charged beyond it."
        )
    price = formatting.unit_price(
        overage.unit_price_minor, overage.unit_executions, overage.currency
    )
    limit = overage.executions_limit
    text = f"Executions continue beyond your plan at {price}, {_up_to(overage)}."
    if not limit:
        text = "Your limit is zero: executions stop when your plan is used up."
    return LimitView(
        text=text,
        used=_used(overage),
        used_percent=round(100 * overage.executions_used / limit, 2) if limit else 0.0,
        has_meter=0 < limit < UNLIMITED_EXECUTIONS,
        may_change=True,
        currency=overage.currency,
        value=_plain(overage.limit_minor, overage.currency),
    )


def top_up_item(top_up: TopUpView | None, packs: list[OfferView]) -> TopUpItem:
    """Whether packs are bought automatically, when, and up to which amount."""
    if top_up is None:
        pack = packs[0] if packs else None
        return TopUpItem(
            text="Off. Nothing is bought automatically.",
            action="Turn on",
            offer_code=pack.code if pack else "",
            threshold="500",
            cap=_plain(pack.price_minor * 2, pack.currency) if pack else "",
            currency=pack.currency if pack else "",
            is_sold=pack is not None,
        )
    offer, currency = top_up.offer, top_up.currency
    cap, spent = (
        formatting.money(each, currency) for each in (top_up.monthly_cap_minor, top_up.spent_minor)
    )
    left = formatting.counted(top_up.threshold_executions, "execution")
    return TopUpItem(
        text=(
            f"When fewer than {left} are left, {offer.name} ({formatting.price(offer)}) is bought"
            f" with the card on file, up to {cap} a month."
        ),
        action="Turn on again" if top_up.stopped_because else "Change",
        spent=f"{spent} of {cap} spent this month",
        stopped=top_up.stopped_because or "",
        payment_url=top_up.payment_url or "",
        is_on=True,
        offer_code=offer.code,
        threshold=str(top_up.threshold_executions),
        cap=_plain(top_up.monthly_cap_minor, currency),
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
    """As people type it: 1234.50"""
    return "" if amount_minor is None else formatting.typed_money(amount_minor, currency)

"""Turns the spending limit and the automatic top-up into what the overview shows."""

from typing import Final

from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.overage.rules import UNLIMITED_EXECUTIONS
from billing_app.billing.overage.views import OverageView
from billing_app.billing.subscriptions.top_ups import NOT_SOLD, REFUSED, TopUpView
from billing_app.states import formatting
from billing_app.states.views import LimitView, Message, TopUpItem

NEAR_LIMIT_PERCENT: Final = 80
RAISE: Final = "limit"


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


def beyond_plan(overage: OverageView, until: str, *, has_held: bool) -> Message:
    """While nothing is left in an account's plans: what going on costs, a warning before the limit
    is reached, and what helps then. `until`: what makes executions available again."""
    refused = f"new executions are refused until {until}."
    helps, action = "", ""
    if overage.can_raise_limit:
        helps, action = " Raising the spending limit helps at once.", RAISE
    if overage.executions_limit <= 0:
        text = f"{_sentence(refused)}{helps}"
        return Message("bad", "All executions are used", text, action=action)
    if overage.executions_remaining <= 0:
        title = f"{_sentence(_limit_name(overage))} is reached"
        return Message("bad", title, f"{_sentence(refused)}{helps}", action=action)
    cost = formatting.money(overage.cost_minor, overage.currency)
    if _percent_taken(overage) >= NEAR_LIMIT_PERCENT:
        title = f"{_taken(overage)} of {_limit_name(overage)} is used"
        return Message("warning", title, f"When it is reached, {refused}{helps}", action=action)
    title = f"All executions in your plans are used{' or reserved' if has_held else ''}"
    text = f"Executions continue within your spending limit: {cost} beyond your plan so far."
    return Message("warning", title, text)


def _limit_name(overage: OverageView) -> str:
    if overage.limit_minor is not None and overage.can_raise_limit:
        return f"your {formatting.money(overage.limit_minor, overage.currency)} spending limit"
    count = formatting.counted(overage.executions_limit, "extra execution")
    return f"your plan's limit of {count}"


def _taken(overage: OverageView) -> str:
    if overage.limit_minor is not None and overage.can_raise_limit:
        return formatting.money(overage.cost_minor, overage.currency)
    return f"{_percent_taken(overage)}%"


def _percent_taken(overage: OverageView) -> int:
    taken = overage.executions_used + overage.executions_held
    return taken * 100 // overage.executions_limit


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


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
    text = (
        f"When fewer than {left} are left, {offer.name} ({formatting.price(offer)}) is bought"
        f" with the card on file, up to {cap} a month."
    )
    if top_up.stopped_because:
        text = f"Nothing is bought automatically any more. {what_helps(top_up.stopped_because)}"
    return TopUpItem(
        text=text,
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


def what_helps(stopped_because: str) -> str:
    """What to do about a top-up that has stopped."""
    if stopped_because == NOT_SOLD:
        return "Turn it on again with another pack."
    if stopped_because == REFUSED:
        return "Turn it on again, or contact support."
    return "Update the card in Stripe, then turn it on again."


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

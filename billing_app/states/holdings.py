"""Turns what an account can use now into the rows and segments of one bar, in the order of use."""

from typing import Final

from billing_app.billing.overage.rules import UNLIMITED_EXECUTIONS
from billing_app.billing.overage.views import OverageView
from billing_app.billing.plans.service import PlanView
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.states import formatting
from billing_app.states.balance import ending_of, is_bridge
from billing_app.states.views import HoldingView

# More plans than shades share them in turn: their names and order tell them apart.
SHADES: Final = 3


def holdings(summary: AccountSummary, *, may_raise: bool) -> list[HoldingView]:
    """The plans that can be used now, and what may be used beyond them. Empty when there is one
    plan alone and no subscription. `may_raise`: no warning offers to raise the limit already."""
    rows = [_plan(summary, plan, place) for place, plan in enumerate(summary.current.usable)]
    overage = summary.current.overage
    if overage is not None and overage.executions_limit > 0:
        rows.append(_beyond(overage, may_raise=may_raise))
    return rows if len(rows) > 1 or summary.subscription is not None else []


def _plan(summary: AccountSummary, plan: PlanView, place: int) -> HoldingView:
    held = f", {formatting.number(plan.held)} reserved" if plan.held else ""
    left = f"{formatting.number(plan.remaining)} of {formatting.number(plan.executions)} left"
    return HoldingView(
        name=plan.name,
        left=f"{left}{held}",
        ends=_ends(summary, plan),
        shade=f"shade-{place % SHADES + 1}",
        weight=plan.remaining,
    )


def _ends(summary: AccountSummary, plan: PlanView) -> str:
    if is_bridge(plan):
        return "Renewal being confirmed"
    return ending_of(summary, plan.ends_at) if plan.ends_at else "No end date"


def _beyond(overage: OverageView, *, may_raise: bool) -> HoldingView:
    end, used = overage.period_end, formatting.number(overage.executions_used)
    held = f", {formatting.number(overage.executions_held)} reserved"
    return HoldingView(
        name=f"{used} beyond the plan" if overage.executions_used else "Beyond the plan",
        left=f"{_cost(overage)}{held if overage.executions_held else ''}",
        ends=f"Period ends {formatting.day(end)}" if end else "",
        shade="beyond",
        may_raise=may_raise and overage.can_raise_limit and overage.executions_used > 0,
    )


def _cost(overage: OverageView) -> str:
    """What it has cost, of the amount or number that ends it: the account's limit or the plan's."""
    cost = formatting.money(overage.cost_minor, overage.currency)
    if overage.limit_minor is not None and overage.can_raise_limit:
        limit = formatting.money(overage.limit_minor, overage.currency)
        return f"{cost} of {limit}" if overage.executions_used else f"Up to {limit}"
    if overage.executions_limit >= UNLIMITED_EXECUTIONS:
        return f"{cost} so far"
    limit = formatting.counted(overage.executions_limit, "execution")
    return f"{cost} so far, up to {limit}" if overage.executions_used else f"Up to {limit}"

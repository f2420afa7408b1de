"""How executions are split over an account's plans."""

from billing_app.billing.executions.changes import Share
from billing_app.billing.executions.state import AccountState, Part, PlanBalance, queue_order


def take(usable: list[PlanBalance], executions: int) -> list[Share]:
    """Split executions over plans in the order of the queue. They suffice."""
    shares: list[Share] = []
    for plan in usable:
        taken = min(plan.remaining, executions)
        if taken:
            shares.append((plan, taken))
            executions -= taken
        if not executions:
            break
    assert executions == 0
    return shares


def shares_of(account: AccountState, parts: list[Part]) -> list[Share]:
    shares: list[Share] = []
    for part in parts:
        plan = account.plan(part.plan_sequence)
        assert plan is not None
        shares.append((plan, part.executions))
    return shares


def free(account: AccountState, holds: list[Part]) -> None:
    for plan, executions in shares_of(account, holds):
        plan.release(executions)


def as_paid(account: AccountState, parts: list[Part]) -> list[Part]:
    """In the order in which the plans were used; parts are kept in that of their sequence."""
    plans = {plan.sequence: plan for plan in account.plans}
    return sorted(parts, key=lambda part: queue_order(plans[part.plan_sequence]))


def first_of(parts: list[Part], executions: int) -> list[Part]:
    taken: list[Part] = []
    for part in parts:
        share = min(part.executions, executions)
        if share:
            taken.append(Part(part.plan_sequence, share))
            executions -= share
    assert executions == 0
    return taken

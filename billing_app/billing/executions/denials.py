"""Why a request is denied: the reason that a customer can do something about."""

from datetime import datetime

from billing_app.billing.errors import (
    AccountBlockedError,
    BudgetExceededError,
    DeniedError,
    InsufficientExecutionsError,
    PaymentPastDueError,
    PlanNotFoundError,
    PlanPausedError,
    TrialEndedError,
)
from billing_app.billing.executions.requests import CheckRequest
from billing_app.billing.executions.state import AccountState, PlanBalance, remaining_of
from billing_app.db.enums import EndReason, PlanType


def denial(ask: CheckRequest, account: AccountState, now: datetime) -> DeniedError:
    usable = account.usable(now)
    last = account.last()
    remaining = remaining_of(usable)
    current = usable[0] if usable else last
    period_end = current.ends_at if current else None
    if last is None:
        kind, detail = PlanNotFoundError, "This account holds no plan."
    elif (stop := _stop(account, now)) is not None:
        kind, detail = stop
    elif not usable and _is_ended_trial(last, now):
        kind, detail = TrialEndedError, f"The trial ended at {period_end}."
    else:
        kind = InsufficientExecutionsError
        detail = f"{remaining:,} executions are left, {ask.executions:,} were requested."
    return kind(detail, remaining=remaining, requested=ask.executions, period_end=period_end)


def _stop(account: AccountState, now: datetime) -> tuple[type[DeniedError], str] | None:
    """Why a plan that has executions left gives none; or that even overage is used up."""
    in_period = [plan for plan in account.plans if plan.is_in_period(now)]
    stopped = [plan for plan in in_period if plan.remaining]
    if any(plan.blocked_at is not None for plan in in_period):
        return AccountBlockedError, "This account is blocked. Contact support."
    if any(plan.is_suspended(now) for plan in stopped):
        return PaymentPastDueError, "A payment is overdue. Pay it, and runs go on at once."
    if any(plan.paused_at is not None for plan in stopped):
        return PlanPausedError, "The plan is paused. Contact support to resume it."
    if any(plan.is_overage for plan in in_period):
        return BudgetExceededError, "The limit for executions beyond the plan is reached."
    return None


def _is_ended_trial(plan: PlanBalance, now: datetime) -> bool:
    return (
        plan.type == PlanType.TRIAL
        and plan.ends_at is not None
        and plan.ends_at <= now
        and plan.ended_because != EndReason.DEPLETED
    )

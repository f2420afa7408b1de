"""The rule of staff's corrections: what a plan has used becomes more or less, within its bounds."""

from billing_app.billing import ids
from billing_app.billing.errors import (
    AccountNotFoundError,
    AdjustmentExceedsError,
    BillingError,
    PlanUnknownError,
)
from billing_app.billing.executions.answers import AdjustAnswer, Balance, balance_of, encode
from billing_app.billing.executions.changes import Changes, EventFields, Share
from billing_app.billing.executions.requests import Adjust
from billing_app.billing.executions.state import AccountState, LedgerState, PlanBalance
from billing_app.db.enums import EventKind


def adjust(request: Adjust, ledger: LedgerState, changes: Changes) -> bytes | BillingError:
    """The answer, or what is in the way: all parts or none. Accounts are loaded with all plans."""
    account = ledger.accounts.get(request.account_id)
    if account is None:
        return AccountNotFoundError()
    shares: list[Share] = []
    for sequence, executions in request.parts:
        plan = account.plan(sequence)
        if plan is None:
            return PlanUnknownError()
        if executions > plan.remaining or -executions > plan.used:
            return _exceeds(account, plan, executions)
        shares.append((plan, executions))
    now = changes.now
    for plan, executions in shares:
        if executions > 0:
            plan.use(executions, now)
        else:
            plan.give_back(-executions, now)
    fields = EventFields(
        kind=EventKind.ADJUSTMENT,
        workflow=request.workflow,
        user_id=request.user_id,
        refers_to=request.refers_to,
        reason=request.reason,
    )
    balance = balance_of(account, now)
    number = changes.add_event(account, shares, fields, balance.left)
    return _answer(account, number, shares, balance)


def _exceeds(account: AccountState, plan: PlanBalance, executions: int) -> AdjustmentExceedsError:
    movable = max(0, plan.remaining) if executions > 0 else plan.used
    words = "left" if executions > 0 else "used"
    return AdjustmentExceedsError(
        f"{plan.name} has {movable:,} executions {words}, {abs(executions):,} cannot be moved.",
        plan_id=ids.encode(ids.PLAN, account.id, plan.sequence),
        executions_requested=executions,
        executions_total=plan.executions,
        executions_used=plan.used,
        executions_held=plan.held,
        executions_remaining=plan.remaining,
    )


def _answer(account: AccountState, number: int, shares: list[Share], balance: Balance) -> bytes:
    return encode(
        AdjustAnswer(
            ids.encode(ids.EVENT, account.id, number),
            sum(executions for _, executions in shares),
            ids.encode_account(account.id),
            balance.total,
            balance.used,
            balance.held,
            balance.remaining,
            balance.period_end,
        )
    )

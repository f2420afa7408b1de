"""Pausing plans and blocking accounts, and taking it back: what each would change, and doing it."""

from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.stops import (
    block_account,
    pause_plan,
    resume_plan,
    unblock_account,
)
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.staff.customer_views import left_of, plans_in_force
from billing_app.states.staff.repair_form import RepairForm, all_plans, balance_now, chosen_plan


async def foresee_pause(asked: RepairForm) -> list[str]:
    plan, current = await chosen_plan(asked), await balance_now(asked)
    left = current.executions_remaining
    after = left - plan.remaining if plan.remaining <= left else left
    return [
        (
            f"{plan.name} with {formatting.counted(plan.remaining, 'execution')} left is not used"
            " until somebody resumes it. Its period goes on."
        ),
        (
            f"What the account can use falls from {formatting.number(left)} to"
            f" {formatting.number(after)}."
        ),
        *_on_hold(plan.held),
    ]


def _on_hold(executions: int) -> list[str]:
    if not executions:
        return []
    return [f"{formatting.number(executions)} on hold may still be used by runs that have begun."]


async def pause(asked: RepairForm, key: str) -> EntryView:
    return await pause_plan(
        get_services().database,
        asked.staff,
        asked.form.get("plan", ""),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def foresee_resume(asked: RepairForm) -> list[str]:
    plan = await chosen_plan(asked)
    left = plan.executions - plan.used - plan.held
    return [f"{plan.name} with {formatting.counted(left, 'execution')} left may be used again."]


async def resume(asked: RepairForm, key: str) -> EntryView:
    return await resume_plan(
        get_services().database,
        asked.staff,
        asked.form.get("plan", ""),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def foresee_block(asked: RepairForm) -> list[str]:
    current = await balance_now(asked)
    return [
        (
            f"Every new run is refused; {formatting.number(current.executions_remaining)}"
            " executions"
            " stay, unused, until somebody unblocks the account."
        ),
        *_on_hold(current.executions_held),
        "Subscriptions are charged as before.",
    ]


async def block(asked: RepairForm, key: str) -> EntryView:
    return await block_account(
        get_services().database,
        asked.staff,
        asked.account_id,
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def foresee_unblock(asked: RepairForm) -> list[str]:
    left = left_of(plans_in_force(await all_plans(asked), asked.now))
    return [
        f"New runs are allowed again, on plans with {formatting.counted(left, 'execution')} left."
    ]


async def unblock(asked: RepairForm, key: str) -> EntryView:
    return await unblock_account(
        get_services().database,
        asked.staff,
        asked.account_id,
        reason=asked.reason,
        now=asked.now,
        key=key,
    )

"""What a repair would change, in numbers, and doing it: one pair of functions for each kind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.executions import receipts
from billing_app.billing.staff.access.permissions import Action, require_within_limit
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.adjustments import adjust_executions
from billing_app.billing.staff.repairs.grants import grant_executions
from billing_app.billing.staff.repairs.moves import MovePreview, NextInvoice
from billing_app.billing.staff.repairs.refunds import (
    NothingToRefundError,
    preview_range,
    refund_event,
    refund_range,
    require_few_events,
)
from billing_app.billing.subscriptions.provider import PaymentProviderUnavailableError
from billing_app.composition import get_services
from billing_app.db.enums import When
from billing_app.states import formatting
from billing_app.states.staff import stop_actions, trial_actions
from billing_app.states.staff.repair_form import (
    RepairForm,
    adjustment,
    balance_now,
    chosen_plan,
    coming_end,
    event_range,
    last_day,
    last_moment,
    whole_number,
)

NO_ANSWER: Final = (
    "Stripe does not answer, so nobody can say what this would charge. Nothing was changed;"
    " review it again in a while."
)
Foresee = Callable[["RepairForm"], Awaitable[list[str]]]
CarryOut = Callable[["RepairForm", str], Awaitable[EntryView]]


@dataclass(frozen=True, slots=True)
class Repair:
    """A kind of repair: who may, what it would change, doing it under a key, and what is told
    of it besides what was done."""

    action: Action
    foresee: Foresee
    carry_out: CarryOut
    outcome: Callable[[EntryView], str] | None = None


async def _foresee_grant(asked: RepairForm) -> list[str]:
    executions, ends_at = whole_number(asked, "executions"), coming_end(asked)
    left = (await balance_now(asked)).executions_remaining
    end = f"valid through {last_day(ends_at)}" if ends_at else "without an end"
    return [
        f"A plan of {formatting.counted(executions, 'execution')} joins the queue, {end}.",
        (
            f"What is left rises from {formatting.number(left)} to"
            f" {formatting.number(left + executions)}."
        ),
    ]


async def _grant(asked: RepairForm, key: str) -> EntryView:
    return await grant_executions(
        get_services().database,
        asked.staff,
        asked.account_id,
        executions=whole_number(asked, "executions"),
        ends_at=last_moment(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_adjust(asked: RepairForm) -> list[str]:
    plan, change = await chosen_plan(asked), adjustment(asked)
    used, left = plan.used + change, plan.executions - plan.held - plan.used - change
    if used < 0 or left < 0:
        raise ConflictError(
            f"{plan.name} has {plan.used:,} of {plan.executions:,} used and {plan.held:,} on hold."
        )
    return [
        f"{plan.name}: used goes from {formatting.number(plan.used)} to {formatting.number(used)}.",
        (
            f"Of this plan {formatting.number(left)} are left instead of"
            f" {formatting.number(left + change)}."
        ),
        "An adjustment joins the ledger; no earlier row changes.",
    ]


async def _adjust(asked: RepairForm, key: str) -> EntryView:
    return await adjust_executions(
        get_services().executions,
        asked.staff,
        asked.form.get("plan", ""),
        used=adjustment(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_refund(asked: RepairForm) -> list[str]:
    event_id = asked.form.get("event", "").strip()
    receipt = await receipts.read_receipt(get_services().database, asked.staff, event_id)
    if receipt.account_id != asked.account_id:
        raise InvalidInputError("This run is of another account.", field="event")
    open_executions = receipt.executions - receipt.executions_refunded
    count = whole_number(asked, "executions") if asked.form.get("executions") else open_executions
    if not 0 < count <= open_executions:
        left = formatting.counted(open_executions, "execution")
        raise ConflictError(
            f"Of this run only {left} can be given back."
            if open_executions
            else "All of this run is given back already."
        )
    workflow, verb = receipt.workflow or "no named workflow", "goes" if count == 1 else "go"
    refunded = receipt.executions_refunded
    before = f", {formatting.number(refunded)} given back before" if refunded else ""
    return [
        (
            f"Run of {workflow} on {formatting.moment(receipt.occurred_at)}:"
            f" {formatting.counted(receipt.executions, 'execution')}{before}."
        ),
        f"{formatting.counted(count, 'execution')} {verb} back to the plan that paid.",
    ]


async def _refund(asked: RepairForm, key: str) -> EntryView:
    count = whole_number(asked, "executions") if asked.form.get("executions") else None
    return await refund_event(
        get_services().executions,
        asked.staff,
        asked.form.get("event", "").strip(),
        count=count,
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_range(asked: RepairForm) -> list[str]:
    found = await preview_range(
        get_services().database, asked.staff, asked.account_id, event_range(asked)
    )
    before = _refunded_before(found.events_refunded)
    if not found.events:
        raise NothingToRefundError(before or "There are no runs of this workflow in this range.")
    require_few_events(found)
    require_within_limit(asked.staff, found.executions)
    left = (await balance_now(asked)).executions_remaining
    told = [
        (
            f"{formatting.counted(found.events, 'run')} with"
            f" {formatting.counted(found.executions, 'execution')} are given back."
        ),
        before or "None of the runs in this range was given back before.",
        (
            f"What is left is {formatting.number(left)} now; of plans that have ended nothing"
            " comes back."
        ),
    ]
    partly = found.executions_refunded_partly
    if partly:
        verb = "was" if partly == 1 else "were"
        told.insert(
            1, f"{formatting.counted(partly, 'execution')} of these runs {verb} given back before."
        )
    return told


def range_outcome(entry: EntryView) -> str:
    """What a refund of a range left, and why."""
    after = entry.after
    told = [_refunded_before(after["events_refunded"])]
    if after["events_left"]:
        told.append(
            f"{formatting.counted(after['events_left'], 'run')} with"
            f" {formatting.counted(after['executions_left'], 'execution')} stay as they are: a"
            " correction left nothing of them to give back."
        )
    return " ".join(each for each in told if each) or "Nothing of the range is left."


def _refunded_before(runs: int) -> str:
    if not runs:
        return ""
    verb = "was" if runs == 1 else "were"
    return (
        f"{formatting.counted(runs, 'run')} in this range {verb} given back before and left alone."
    )


async def _refund_range(asked: RepairForm, key: str) -> EntryView:
    return await refund_range(
        get_services().executions,
        asked.staff,
        asked.account_id,
        event_range(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_move(asked: RepairForm) -> list[str]:
    is_now = asked.form.get("when") == When.NOW
    try:
        found = await get_services().moves.preview_move(
            asked.staff,
            asked.account_id,
            offer_code=asked.form.get("offer", ""),
            when=When.NOW if is_now else When.PERIOD_END,
            now=asked.now,
        )
    except PaymentProviderUnavailableError:
        raise PaymentProviderUnavailableError(NO_ANSWER) from None
    asked.agreed = found.change
    old, new, invoice = found.old, found.change.offer, found.next_invoice
    begins = "now" if is_now else formatting.day(found.change.due_at)
    overage = ""
    if invoice.overage_minor:
        overage = f", and what is used beyond the plan by then: {_money(invoice, 'overage')} so far"
    return [
        f"From {old.name} version {old.version} to {new.name} version {new.version}, {begins}.",
        (
            f"{formatting.number(old.executions)} executions a {old.interval} become"
            f" {formatting.number(new.executions)} a {new.interval}."
        ),
        *(_charge_words(found) if is_now else ["Nothing is charged now."]),
        f"The next invoice, on {formatting.day(invoice.at)}: {_money(invoice, 'amount')}{overage}.",
    ]


def _charge_words(found: MovePreview) -> list[str]:
    """What the card is charged at once, line by line as the provider has it."""
    change = found.change
    lines = [
        f"{line.description}: {formatting.money(line.amount_minor, change.currency)}"
        for line in change.lines
    ]
    charged = formatting.money(found.charged_minor, change.currency)
    told = f"The card is charged {charged} at once" if found.charged_minor else "Nothing is charged"
    return [
        f"{told}: {'; '.join(lines)}.",
        (
            f"{formatting.counted(change.executions_unused, 'execution')} left of this period end"
            " with it."
        ),
    ]


def _money(invoice: NextInvoice, what: str) -> str:
    amounts = {"amount": invoice.amount_minor, "overage": invoice.overage_minor}
    return formatting.money(amounts[what], invoice.currency)


async def _move(asked: RepairForm, key: str) -> EntryView:
    """To the very version that the review showed, for the charge that it showed."""
    agreed = asked.agreed
    if agreed is None:
        raise ConflictError("Review it first.")
    return await get_services().moves.move_offer(
        asked.staff,
        asked.account_id,
        offer_code=agreed.offer.code,
        version=agreed.offer.version,
        when=When.NOW if asked.form.get("when") == When.NOW else When.PERIOD_END,
        reason=asked.reason,
        now=asked.now,
        key=key,
        agreed=agreed,
    )


REPAIRS: Final[dict[str, Repair]] = {
    "grant": Repair(Action.GRANT, _foresee_grant, _grant),
    "adjust": Repair(Action.ADJUST, _foresee_adjust, _adjust),
    "refund": Repair(Action.REFUND, _foresee_refund, _refund),
    "refund_range": Repair(Action.REFUND, _foresee_range, _refund_range, range_outcome),
    "extend_trial": Repair(
        Action.EXTEND_TRIAL, trial_actions.foresee_extension, trial_actions.extend
    ),
    "move": Repair(Action.MOVE_OFFER, _foresee_move, _move),
    "pause": Repair(Action.PAUSE, stop_actions.foresee_pause, stop_actions.pause),
    "resume": Repair(Action.RESUME, stop_actions.foresee_resume, stop_actions.resume),
    "block": Repair(Action.BLOCK, stop_actions.foresee_block, stop_actions.block),
    "unblock": Repair(Action.UNBLOCK, stop_actions.foresee_unblock, stop_actions.unblock),
}

"""What a repair would change, in numbers, and doing it: one pair of functions for each kind."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from billing_app.billing import catalogue, plans, receipts
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.plans import CurrentPlan, PlanView
from billing_app.billing.staff import account as accounts
from billing_app.billing.staff.adjustments import adjust_executions
from billing_app.billing.staff.audit_log import EntryView
from billing_app.billing.staff.grants import grant_executions
from billing_app.billing.staff.permissions import Action
from billing_app.billing.staff.refunds import EventRange, preview_range, refund_event, refund_range
from billing_app.billing.staff.stopping import (
    block_account,
    pause_plan,
    resume_plan,
    unblock_account,
)
from billing_app.billing.staff.trials import extend_trial
from billing_app.composition import get_services
from billing_app.db.words import PlanType, When
from billing_app.states import words

MAX_PLANS: Final = 100
MAX_DIGITS: Final = 12

Form = dict[str, str]
Foresee = Callable[["Asked"], Awaitable[list[str]]]
CarryOut = Callable[["Asked", str], Awaitable[EntryView]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A repair as the form tells it, by whom and when."""

    staff: StaffActor
    account_id: str
    form: Form
    now: datetime

    @property
    def reason(self) -> str:
        return self.form.get("reason", "")


@dataclass(frozen=True, slots=True)
class Repair:
    """A kind of repair: who may, what it would change, and doing it under a key."""

    action: Action
    foresee: Foresee
    carry_out: CarryOut


async def _foresee_grant(asked: Asked) -> list[str]:
    executions, ends_at = _count(asked, "executions"), _end(asked)
    left = (await _current(asked)).executions_remaining
    end = f"valid until {words.day(ends_at)}" if ends_at else "without an end"
    return [
        f"A plan of {words.counted(executions, 'execution')} joins the queue, {end}.",
        f"What is left rises from {words.number(left)} to {words.number(left + executions)}.",
    ]


async def _grant(asked: Asked, key: str) -> EntryView:
    return await grant_executions(
        get_services().database,
        asked.staff,
        asked.account_id,
        executions=_count(asked, "executions"),
        ends_at=_end(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_adjust(asked: Asked) -> list[str]:
    plan, change = await _plan(asked), _adjustment(asked)
    used, left = plan.used + change, plan.executions - plan.held - plan.used - change
    if used < 0 or left < 0:
        raise ConflictError(
            f"{plan.name} has {plan.used:,} of {plan.executions:,} used and {plan.held:,} on hold."
        )
    return [
        f"{plan.name}: used goes from {words.number(plan.used)} to {words.number(used)}.",
        f"Of this plan {words.number(left)} are left instead of {words.number(left + change)}.",
        "An adjustment joins the ledger; no earlier row changes.",
    ]


async def _adjust(asked: Asked, key: str) -> EntryView:
    return await adjust_executions(
        get_services().executions,
        asked.staff,
        asked.form.get("plan", ""),
        used=_adjustment(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_refund(asked: Asked) -> list[str]:
    event_id = asked.form.get("event", "").strip()
    receipt = await receipts.read_receipt(get_services().database, asked.staff, event_id)
    if receipt.account_id != asked.account_id:
        raise InvalidInputError("This run is of another account.", field="event")
    open_executions = receipt.executions - receipt.executions_refunded
    count = _count(asked, "executions") if asked.form.get("executions") else open_executions
    workflow = receipt.workflow or "no named workflow"
    return [
        (
            f"Run of {workflow} on {words.moment(receipt.occurred_at)}:"
            f" {words.counted(receipt.executions, 'execution')},"
            f" {words.number(receipt.executions_refunded)} given back before."
        ),
        f"{words.counted(count, 'execution')} go back to the plan that paid.",
    ]


async def _refund(asked: Asked, key: str) -> EntryView:
    count = _count(asked, "executions") if asked.form.get("executions") else None
    return await refund_event(
        get_services().executions,
        asked.staff,
        asked.form.get("event", "").strip(),
        count=count,
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_range(asked: Asked) -> list[str]:
    found = await preview_range(
        get_services().database, asked.staff, asked.account_id, _range(asked)
    )
    left = (await _current(asked)).executions_remaining
    skipped = words.counted(found.events_refunded, "run")
    return [
        (
            f"{words.counted(found.events, 'run')} with"
            f" {words.counted(found.executions, 'execution')} are given back."
        ),
        f"{skipped} in this range were given back before and are left alone.",
        f"What is left is {words.number(left)} now; of plans that have ended nothing comes back.",
    ]


async def _refund_range(asked: Asked, key: str) -> EntryView:
    return await refund_range(
        get_services().executions,
        asked.staff,
        asked.account_id,
        _range(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_trial(asked: Asked) -> list[str]:
    trial = next((p for p in await _plans(asked) if p.type is PlanType.TRIAL), None)
    if trial is None:
        raise ConflictError("This account has no trial.")
    more, ends_at = _optional_count(asked, "executions"), _end(asked)
    if not more and ends_at is None:
        raise InvalidInputError("Give executions, a new end, or both.", field="executions")
    told: list[str] = []
    if more:
        total = trial.executions
        told.append(
            f"The trial has {words.number(total + more)} executions instead of"
            f" {words.number(total)}; {words.number(trial.used)} are used."
        )
    if ends_at is not None:
        before = words.day(trial.ends_at) if trial.ends_at else "no end"
        told.append(f"It ends {words.day(ends_at)} instead of {before}.")
    return told


async def _extend_trial(asked: Asked, key: str) -> EntryView:
    return await extend_trial(
        get_services().database,
        asked.staff,
        asked.account_id,
        executions=_optional_count(asked, "executions"),
        ends_at=_end(asked),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_move(asked: Asked) -> list[str]:
    services, code = get_services(), asked.form.get("offer", "")
    rows = await accounts.list_subscriptions(
        services.database, services.links, asked.staff, asked.account_id
    )
    live = next((row for row in rows if row.ended_at is None), None)
    offers = await catalogue.list_offers(services.database)
    new = next((offer for offer in offers if offer.code == code), None)
    if live is None or new is None:
        raise ConflictError("There is no live subscription, or no such offer.")
    old, is_now = live.offer, asked.form.get("when") == When.NOW
    begins = "now" if is_now else words.day(live.period_end)
    return [
        f"From {old.name} version {old.version} to {new.name} version {new.version}, {begins}.",
        (
            f"{words.money(old.price_minor, old.currency)} a {old.interval} becomes"
            f" {words.money(new.price_minor, new.currency)} a {new.interval}."
        ),
        (
            f"{words.number(old.executions)} executions a {old.interval} become"
            f" {words.number(new.executions)}."
        ),
        "The card is charged at once for the new period, less what is unused of this one."
        if is_now
        else "Nothing is charged before the period ends.",
    ]


async def _move(asked: Asked, key: str) -> EntryView:
    is_now = asked.form.get("when") == When.NOW
    return await get_services().moves.move_offer(
        asked.staff,
        asked.account_id,
        offer_code=asked.form.get("offer", ""),
        when=When.NOW if is_now else When.PERIOD_END,
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_pause(asked: Asked) -> list[str]:
    plan, current = await _plan(asked), await _current(asked)
    left = current.executions_remaining
    after = left - plan.remaining if plan.remaining <= left else left
    return [
        (
            f"{plan.name} with {words.counted(plan.remaining, 'execution')} left is not used"
            " until somebody resumes it. Its period goes on."
        ),
        f"What the account can use falls from {words.number(left)} to {words.number(after)}.",
        f"{words.number(plan.held)} on hold may still be used by runs that have begun.",
    ]


async def _pause(asked: Asked, key: str) -> EntryView:
    return await pause_plan(
        get_services().database,
        asked.staff,
        asked.form.get("plan", ""),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_resume(asked: Asked) -> list[str]:
    plan = await _plan(asked)
    left = plan.executions - plan.used - plan.held
    return [f"{plan.name} with {words.counted(left, 'execution')} left may be used again."]


async def _resume(asked: Asked, key: str) -> EntryView:
    return await resume_plan(
        get_services().database,
        asked.staff,
        asked.form.get("plan", ""),
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_block(asked: Asked) -> list[str]:
    current = await _current(asked)
    return [
        (
            f"Every new run is refused; {words.number(current.executions_remaining)} executions"
            " stay, unused, until somebody unblocks the account."
        ),
        (
            f"{words.number(current.executions_held)} on hold may still be used by runs that have"
            " begun. Subscriptions are charged as before."
        ),
    ]


async def _block(asked: Asked, key: str) -> EntryView:
    return await block_account(
        get_services().database,
        asked.staff,
        asked.account_id,
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


async def _foresee_unblock(asked: Asked) -> list[str]:
    left = sum(
        plan.executions - plan.used - plan.held
        for plan in await _plans(asked)
        if plan.ended_at is None and plan.paused_at is None
    )
    return [f"New runs are allowed again, on plans with {words.counted(left, 'execution')} left."]


async def _unblock(asked: Asked, key: str) -> EntryView:
    return await unblock_account(
        get_services().database,
        asked.staff,
        asked.account_id,
        reason=asked.reason,
        now=asked.now,
        key=key,
    )


REPAIRS: Final[dict[str, Repair]] = {
    "grant": Repair(Action.GRANT, _foresee_grant, _grant),
    "adjust": Repair(Action.ADJUST, _foresee_adjust, _adjust),
    "refund": Repair(Action.REFUND, _foresee_refund, _refund),
    "refund_range": Repair(Action.REFUND, _foresee_range, _refund_range),
    "extend_trial": Repair(Action.EXTEND_TRIAL, _foresee_trial, _extend_trial),
    "move": Repair(Action.MOVE_OFFER, _foresee_move, _move),
    "pause": Repair(Action.PAUSE, _foresee_pause, _pause),
    "resume": Repair(Action.RESUME, _foresee_resume, _resume),
    "block": Repair(Action.BLOCK, _foresee_block, _block),
    "unblock": Repair(Action.UNBLOCK, _foresee_unblock, _unblock),
}


async def _current(asked: Asked) -> CurrentPlan:
    return await plans.read_current(
        get_services().database, asked.staff, asked.account_id, asked.now
    )


async def _plans(asked: Asked) -> list[PlanView]:
    page = await plans.read_history(
        get_services().database, asked.staff, asked.account_id, now=asked.now, limit=MAX_PLANS
    )
    return page.items


async def _plan(asked: Asked) -> PlanView:
    wanted = asked.form.get("plan", "")
    found = next((plan for plan in await _plans(asked) if plan.id == wanted), None)
    if found is None:
        raise InvalidInputError("Choose a plan of this account.", field="plan")
    return found


def _count(asked: Asked, name: str) -> int:
    """A whole number above 0."""
    text = asked.form.get(name, "").strip().replace(",", "").replace(" ", "")
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS or int(text) < 1:
        raise InvalidInputError("Give a whole number above 0.", field=name)
    return int(text)


def _optional_count(asked: Asked, name: str) -> int:
    return _count(asked, name) if asked.form.get(name, "").strip(" 0") else 0


def _adjustment(asked: Asked) -> int:
    """More used executions, or fewer."""
    count = _count(asked, "executions")
    return -count if asked.form.get("direction") == "fewer" else count


def _end(asked: Asked) -> datetime | None:
    """The end of a day, which is the last one that counts."""
    text = asked.form.get("ends_on", "").strip()
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
        return datetime.combine(day, time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise InvalidInputError("Give a day as YYYY-MM-DD.", field="ends_on") from None


def _range(asked: Asked) -> EventRange:
    return EventRange(
        workflow=asked.form.get("workflow", ""),
        since=_moment(asked, "since"),
        until=_moment(asked, "until"),
    )


def _moment(asked: Asked, name: str) -> datetime:
    try:
        return datetime.fromisoformat(asked.form.get(name, "")).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInputError("Give a first and a last moment.", field=name) from None

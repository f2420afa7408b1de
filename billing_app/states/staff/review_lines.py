"""The sentences of a review: what a repair would change, and what is left after it."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.adjustments import AdjustmentPreview
from billing_app.billing.staff.repairs.cancellations import CancellationPreview
from billing_app.billing.staff.repairs.grants import GrantPreview
from billing_app.billing.staff.repairs.memberships import ROLES, MemberPreview
from billing_app.billing.staff.repairs.moves import MovePreview, NextInvoice
from billing_app.billing.staff.repairs.refunds import RangePreview, RefundPreview
from billing_app.billing.staff.repairs.stops import (
    BlockPreview,
    PausePreview,
    ResumePreview,
)
from billing_app.billing.staff.repairs.trial_extensions import ExtensionPreview
from billing_app.billing.staff.repairs.trusted_invoices import TrustPreview
from billing_app.db.enums import When
from billing_app.states.formatting import counted, day, last_day, moment, money, number


def review_lines(preview: Any) -> list[str]:
    """A preview without sentences of its own is listed field by field."""
    write = LINES.get(type(preview))
    if write is not None:
        return write(preview)
    return [
        f"{each.name.replace('_', ' ').capitalize()}: {getattr(preview, each.name)}"
        for each in fields(preview)
    ]


def reviewed(lines: list[str], customer: str, reason: str) -> list[str]:
    """With whom it is done to first, and the reason last."""
    return [f"Customer: {customer}.", *lines, f"Reason: {reason.strip()}"]


def _grant(preview: GrantPreview) -> list[str]:
    end = f"valid through {last_day(preview.ends_at)}" if preview.ends_at else "with no end date"
    left, more = preview.executions_remaining, preview.executions
    if preview.is_blocked:
        return [f"A plan of {counted(more, 'execution')} is added to the queue, {end}."]
    return [
        f"A plan of {counted(more, 'execution')} is added to the queue, {end}.",
        f"Remaining executions go from {number(left)} to {number(left + more)}.",
    ]


def _adjust(preview: AdjustmentPreview) -> list[str]:
    name = preview.plan_name
    return [
        (
            f"{name}: used executions go from {number(preview.used_before)} to"
            f" {number(preview.used_after)}."
        ),
        (
            f"Remaining in this plan: {number(preview.remaining_before)} →"
            f" {number(preview.remaining_after)}."
        ),
        "An adjustment is added to the ledger. Earlier rows stay unchanged.",
    ]


def _refund(preview: RefundPreview) -> list[str]:
    workflow, verb = (
        preview.workflow or "an unnamed workflow",
        "goes" if preview.count == 1 else "go",
    )
    before = f", {number(preview.refunded)} already refunded" if preview.refunded else ""
    return [
        (
            f"Event of {workflow} on {moment(preview.occurred_at)}:"
            f" {counted(preview.executions, 'execution')}{before}."
        ),
        f"{counted(preview.count, 'execution')} {verb} back to the plan that was charged.",
        *_of_ended_plans(preview.count, preview.executions_usable),
    ]


def _of_ended_plans(executions: int, usable: int) -> list[str]:
    """Refunded in the ledger, but lost to the customer."""
    if usable == executions:
        return []
    lost = counted(executions - usable, "execution")
    return [
        f"The customer can use {number(usable)} of them again: {lost} are of plans that have ended."
    ]


def _range(preview: RangePreview) -> list[str]:
    view, partly = preview.range, preview.range.executions_refunded_partly
    events, executions = counted(view.events, "event"), counted(view.executions, "execution")
    are = "is" if view.events == 1 else "are"
    were = "was" if partly == 1 else "were"
    return [
        f"{events} with {executions} {are} refunded.",
        *_of_ended_plans(view.executions, view.executions_usable),
        *(
            [f"{counted(partly, 'execution')} of these events {were} already refunded."]
            if partly
            else []
        ),
        refunded_before(view.events_refunded) or "No events in this range were refunded before.",
        f"Remaining now: {number(preview.executions_remaining)}.",
    ]


def refunded_before(events: int) -> str:
    """Events of a range that were already refunded; "" if none."""
    were = "was" if events == 1 else "were"
    return f"{counted(events, 'event')} in this range {were} already refunded." if events else ""


def _extend(preview: ExtensionPreview) -> list[str]:
    lines: list[str] = []
    total, before = preview.executions_after, preview.executions_before
    if total > before:
        lines.append(
            f"Trial executions go from {number(before)} to {number(total)};"
            f" {number(preview.executions_used)} used so far."
        )
    if preview.ends_after and preview.ends_before:
        lines.append(
            f"Valid through {last_day(preview.ends_after)}, extended from"
            f" {last_day(preview.ends_before)}."
        )
    return lines


def _move(preview: MovePreview) -> list[str]:
    old, new, invoice = preview.old, preview.change.offer, preview.next_invoice
    is_now, overage = preview.when is When.NOW, ""
    if invoice.overage_minor:
        overage = f" plus overage, {_overage(invoice)} so far"
    starts = "now" if is_now else f"on {day(preview.change.due_at)}"
    amount = money(invoice.amount_minor, invoice.currency)
    renewal = f"Next invoice on {day(invoice.at)}: {amount}{overage}."
    return [
        f"From {old.name} version {old.version} to {new.name} version {new.version}, {starts}.",
        (
            f"{counted(old.executions, 'execution')} a {old.interval} become"
            f" {number(new.executions)} a {new.interval}."
        ),
        *_replaced(preview),
        *(_charge(preview) if is_now else ["Nothing is charged now."]),
        *_cancellation(preview),
        *([] if preview.ends_at else [renewal]),
    ]


def _replaced(preview: MovePreview) -> list[str]:
    """The trial and the change that the move puts an end to."""
    lines = ["The trial ends now."] if preview.ends_trial else []
    waiting = preview.replaces
    if waiting is not None:
        name = f"{waiting.name} version {waiting.version}"
        lines.append(f"The scheduled change to {name} is dropped: this move replaces it.")
    return lines


def _cancellation(preview: MovePreview) -> list[str]:
    if preview.cancelled_at is None:
        return []
    cancelled = f"The subscription was cancelled and would end on {day(preview.cancelled_at)}."
    if preview.ends_at is None:
        return [f"{cancelled} The cancellation is withdrawn: it renews again."]
    ends = f"The cancellation is kept: it ends on {day(preview.ends_at)} and does not renew."
    return [f"{cancelled} {ends}"]


def _charge(preview: MovePreview) -> list[str]:
    """The immediate charge, with the lines of the provider's invoice."""
    change, charged = preview.change, preview.charged_minor
    lines = [
        f"{line.description}: {money(line.amount_minor, change.currency)}" for line in change.lines
    ]
    total = f"The payment method on file is charged {money(charged, change.currency)} now"
    return [
        f"{total if charged else 'Nothing is charged'}: {'; '.join(lines)}.",
        f"{counted(change.executions_unused, 'execution')} left in this period are forfeited.",
    ]


def _overage(invoice: NextInvoice) -> str:
    return money(invoice.overage_minor, invoice.currency)


def _cancel(preview: CancellationPreview) -> list[str]:
    offer, stays = preview.offer, preview.stays
    plans = [
        f"The plan {name}, with {counted(left, 'execution')} left, ends with it."
        for name, left in preview.plans_remaining
    ]
    then = "The account has no subscription afterwards."
    if stays is not None:
        then = f"{stays.name} version {stays.version} stays: it is the account's subscription then."
    return [
        (
            f"{offer.name} version {offer.version} ends now instead of renewing on"
            f" {day(preview.period_end)}."
        ),
        "Nothing is refunded. Its open invoices are voided.",
        *(plans or ["No plan in use ends with it."]),
        then,
        "This cannot be undone.",
    ]


def _trust(preview: TrustPreview) -> list[str]:
    amount = money(preview.amount.minor, preview.amount.currency)
    return [
        (
            f"{counted(preview.executions, 'execution')} of {preview.offer.name} can be used now,"
            f" until {day(preview.period_end)}."
        ),
        f"Invoice {preview.invoice_number} for {amount} stays due on {day(preview.due_at)}.",
        "Paying it later adds nothing. Unpaid, the plan stops after the grace period.",
        "This cannot be undone: pause the plan instead.",
    ]


def _pause(preview: PausePreview) -> list[str]:
    before, after = number(preview.executions_before), number(preview.executions_after)
    return [
        (
            f"{preview.plan_name}, with {counted(preview.plan_remaining, 'execution')} left, is not"
            " used until someone resumes it. Its period continues."
        ),
        f"Usable executions go from {before} to {after}.",
        *_on_hold(preview.plan_held),
    ]


def _resume(preview: ResumePreview) -> list[str]:
    left = counted(preview.executions_remaining, "execution")
    if not preview.plan_name:
        return [f"New executions are allowed again. {left} left."]
    return [f"{preview.plan_name}, with {left} left, can be used again."]


def _block(preview: BlockPreview) -> list[str]:
    left = counted(preview.executions_remaining, "execution")
    return [
        f"New executions are refused until someone unblocks the account. {left} left, kept.",
        *_on_hold(preview.executions_held),
        "Subscriptions are still charged.",
    ]


def _on_hold(executions: int) -> list[str]:
    if not executions:
        return []
    return [f"{counted(executions, 'reserved execution')} can still be committed."]


def skipped_events_of(entry: EntryView) -> str:
    """The events that a range refund skipped, and why; "" for other repairs."""
    after = entry.after
    if "events_refunded" not in after:
        return ""
    parts = [refunded_before(after["events_refunded"])]
    if after["events_left"]:
        parts.append(
            f"{counted(after['events_left'], 'event')} with"
            f" {counted(after['executions_left'], 'execution')} not refunded: a correction left"
            " nothing to refund."
        )
    return " ".join(filter(None, parts)) or "Everything in the range was refunded."


def _member(preview: MemberPreview) -> list[str]:
    before, after = preview.role_before, ROLES[preview.role_after]
    who = f"{preview.name} ({preview.email})"
    if before is None:
        return [f"{who} joins {preview.organization} as {after}."]
    return [f"{who} of {preview.organization} becomes {after}, was {ROLES[before]}."]


LINES: Final[dict[type, Callable[[Any], list[str]]]] = {
    GrantPreview: _grant,
    AdjustmentPreview: _adjust,
    RefundPreview: _refund,
    RangePreview: _range,
    ExtensionPreview: _extend,
    MovePreview: _move,
    CancellationPreview: _cancel,
    TrustPreview: _trust,
    PausePreview: _pause,
    ResumePreview: _resume,
    BlockPreview: _block,
    MemberPreview: _member,
}

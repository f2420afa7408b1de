"""Entries of the audit log in words."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from billing_app.billing.actors import StaffActor
from billing_app.billing.staff.access.permissions import Action, actions_of
from billing_app.billing.staff.audit.account_history import redone
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.audit.audit_writing import (
    CustomerAction,
    ServiceAction,
    SystemAction,
)
from billing_app.billing.staff.operations.jobs import JobState
from billing_app.billing.staff.repairs.registry import BY_ACTION
from billing_app.billing.staff.repairs.repair import RepairResult
from billing_app.components.charts.executions import label_of
from billing_app.db.enums import AuditRole, Interval, WebhookState, When
from billing_app.states import formatting
from billing_app.states.staff.views import EntryLine

WORDING: Final[dict[str, str]] = {
    Action.VIEW_AS_CUSTOMER: "Started viewing as customer",
    Action.END_VIEW: "Stopped viewing as customer",
    Action.UNDO: "Undid an earlier action",
    Action.SIGN_OUT: "Signed a member out everywhere",
    Action.END_PORTAL_SESSIONS: "Ended a person's portal sessions",
    Action.REPLAY_EVENT: "Replayed a webhook",
    Action.RECONCILE: "Ran a reconciliation",
    Action.RETRY_JOB: "Retried a job",
    Action.EDIT_OFFER: "Edited an offer draft",
    Action.PUBLISH_OFFER: "Published an offer",
    Action.ARCHIVE_OFFER: "Archived an offer",
    Action.UNARCHIVE_OFFER: "Unarchived an offer",
    Action.EDIT_ALERT_RULES: "Changed the default alert rules",
    Action.MANAGE_WEBHOOKS: "Changed a webhook endpoint",
    Action.ADD_STAFF: "Added a staff member",
    Action.CHANGE_ROLE: "Changed a staff role",
    Action.REMOVE_STAFF: "Removed a staff member",
    CustomerAction.CHANGE_NAME: "Changed their name",
    CustomerAction.CHANGE_EMAIL: "Changed their email address",
    CustomerAction.CHANGE_BILLING_NAME: "Changed the billing name",
    CustomerAction.CHANGE_BILLING_EMAIL: "Changed the billing email",
    CustomerAction.CHANGE_PURCHASE_ORDER: "Changed the purchase-order number",
    CustomerAction.CREATE_KEY: "Created an API key",
    CustomerAction.ROTATE_KEY: "Rotated an API key",
    CustomerAction.REVOKE_KEY: "Revoked an API key",
    CustomerAction.INVITE: "Invited a member",
    CustomerAction.WITHDRAW_INVITATION: "Withdrew an invitation",
    CustomerAction.JOIN: "Accepted an invitation",
    CustomerAction.CHANGE_MEMBER_ROLE: "Changed a member's role",
    CustomerAction.REMOVE_MEMBER: "Removed a member",
    CustomerAction.LEAVE: "Left the organization",
    SystemAction.DEBIT_PAID: "The bank paid a debit",
    SystemAction.DEBIT_FAILED: "The bank did not pay a debit",
    ServiceAction.UPDATE_ACCOUNT: "Updated the account's details",
    ServiceAction.ADD_PLAN: "Added a plan",
    ServiceAction.CREATE_PORTAL_LINK: "Made a portal link",
    ServiceAction.CLOSE_ACCOUNT: "Closed the account",
    ServiceAction.OPEN_PORTAL: "Opened the pages with a portal link",
    ServiceAction.IMPORT_ACCOUNT: "Imported a subscription",
}
MAX_FIGURES: Final = 4
HIDDEN_FIGURES: Final = frozenset(
    {
        "begun",
        "charged_minor",
        "event",
        "from",
        "offer_code",
        "to",
        "version",
        "job_id",
        "next_version_id",
        "plan_id",
        "problem",
        "refunds",
        "user_id",
        "version_id",
    }
)
WEBHOOK_STATES: Final = {
    WebhookState.RECEIVED: ("Waiting", "accent"),
    WebhookState.PROCESSED: ("Processed", "good"),
    WebhookState.FAILED: ("Failing", "warning"),
    WebhookState.DEAD: ("Dead letter", "bad"),
}
JOB_STATES: Final = {
    JobState.WAITING: ("Waiting", ""),
    JobState.RUNNING: ("Running", "accent"),
    JobState.FINISHED: ("Finished", "good"),
    JobState.FAILED: ("Failed", "bad"),
    JobState.CANCELLED: ("Cancelled", "warning"),
}
# Both are shown by the subject, or by what was done.
HIDDEN_OF: Final[dict[str, frozenset[str]]] = {
    Action.RETRY_JOB: frozenset({"name"}),
    Action.PAUSE: frozenset({"name"}),
    Action.RESUME: frozenset({"name"}),
}
# What the subject is; people are named by themselves.
SUBJECTS: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            Action.EDIT_OFFER,
            Action.PUBLISH_OFFER,
            Action.ARCHIVE_OFFER,
            Action.UNARCHIVE_OFFER,
            Action.EDIT_ALERT_RULES,
        ),
        "Offer",
    ),
    **dict.fromkeys(
        (Action.ADD_STAFF, Action.CHANGE_ROLE, Action.REMOVE_STAFF, Action.SIGN_OUT), ""
    ),
    Action.REPLAY_EVENT: "Event",
    Action.REFUND: "Event",
    Action.RETRY_JOB: "Job",
    Action.RECONCILE: "Run",
    Action.MANAGE_WEBHOOKS: "Endpoint",
    Action.ADJUST: "Plan",
    ServiceAction.ADD_PLAN: "Plan",
    ServiceAction.CREATE_PORTAL_LINK: "Person",
    Action.END_PORTAL_SESSIONS: "Person",
    ServiceAction.OPEN_PORTAL: "",
    ServiceAction.IMPORT_ACCOUNT: "Subscription",
    **dict.fromkeys(SystemAction, "Invoice"),
}
LABELS: Final = {
    "ended_because": "reason of its end",
    "ends_at": "valid through",
    "dry_run": "report only",
    "overage_limit_executions": "limit beyond the plan",
    "overage_unit_executions": "executions a unit beyond the plan",
    "overage_unit_price_minor": "price of a unit beyond the plan",
}
VALUES: Final[dict[str, dict[str, str]]] = {
    "ended_because": {str(reason): text for reason, text in formatting.END_REASONS.items()},
    "interval": {Interval.ONCE: "once", Interval.MONTH: "monthly", Interval.YEAR: "yearly"},
    "role": {str(role): text for role, text in formatting.ROLES.items()},
    "state": {
        str(state): text.lower()
        for states in (WEBHOOK_STATES, JOB_STATES)
        for state, (text, _) in states.items()
    },
    "when": {When.NOW: "now", When.PERIOD_END: "at the end of the period"},
}
CODE: Final = re.compile(r"[a-z]+(_[a-z]+)+")
ACTION_NAMES: Final = {
    action.value: action.replace("_", " ").capitalize()
    for action in (*Action, *CustomerAction, *SystemAction, *ServiceAction)
    if action is not Action.READ
}


def entry_line(
    entry: EntryView,
    staff: StaffActor,
    undone: Mapping[str, str],
    names: Mapping[str, str],
) -> EntryLine:
    """`can_undo` also requires that the reader may; `undone` words what each undo undid, by
    the undone entry's id; `names` are of accounts, and of people and plans that entries are about,
    by id."""
    account_id, allowed = entry.account_id or "", set(actions_of(staff))
    return EntryLine(
        entry_id=entry.id,
        at=formatting.exact_moment(entry.at),
        who=entry.actor_name,
        role=formatting.AUDIT_ROLES[entry.role],
        what=entry_text(entry, undone),
        subject=subject_of(entry, names),
        figures=" · ".join(figures_of(entry)[:MAX_FIGURES]),
        reason=entry.reason,
        account_id=account_id,
        account=names.get(account_id, account_id),
        is_own_account=entry.own_account and entry.role is not AuditRole.CUSTOMER,
        is_undone=entry.undone_by is not None,
        can_undo=entry.can_undo and {Action.UNDO, Action(entry.action)} <= allowed,
        can_redo=entry.can_redo and Action.UNDO in allowed,
    )


def subject_of(entry: EntryView, names: Mapping[str, str]) -> str:
    """What it was about, beside the account; "" when that was all, or is said by `entry_text`."""
    subject = names.get(entry.subject, entry.subject)
    if entry.action == Action.RETRY_JOB:
        subject = f"{str(entry.after.get('name', '')).replace('_', ' ')} {subject}".lstrip()
    elif entry.action == Action.RECONCILE:
        subject = str(entry.after.get("job_id", ""))
    elif entry.action == Action.REFUND and "from" in entry.after:
        return f"Workflow {label_of(subject)}"
    kind = SUBJECTS.get(entry.action)
    return f"{kind} {subject}".strip() if kind is not None else ""


def title_of_undo(entry: EntryView, undone: Mapping[str, str]) -> str:
    if entry.action != Action.UNDO:
        return f"Undo: {entry_text(entry, {})}"
    return f"Redo: {undone.get(entry.undoes or '', '').removeprefix('Undone: ')}"


def lines_of_undo(entry: EntryView, result: RepairResult) -> list[str]:
    """What it would change, in figures."""
    before, after = result.before, result.after
    executions = abs(after.get("executions") or before.get("executions") or 0)
    count = formatting.counted(executions, "execution")
    if entry.action == Action.ADJUST:
        return [f"Used executions are corrected by {after['executions']:+,}."]
    if entry.action == Action.REFUND:
        return [f"{count} that were refunded count as used again."]
    if entry.action == Action.GRANT:
        return [f"The granted plan of {count} ends unused."]
    changed = replace(entry, before=before, after=after, action=Action.EDIT_OFFER)
    return [f"{line}." for line in figures_of(changed)]


def entry_text(entry: EntryView, undone: Mapping[str, str]) -> str:
    """What was done."""
    wording = undone.get(entry.undoes or "") if entry.action == Action.UNDO else None
    if wording is not None:
        return wording
    repair = BY_ACTION.get(entry.action)
    if repair is not None:
        text = repair.wording(entry.before, entry.after)
        return redone(text) if entry.undoes else text
    return WORDING.get(entry.action, entry.action.replace("_", " ").capitalize())


def figures_of(entry: EntryView) -> list[str]:
    """The figures that changed, before and after."""
    if entry.action == Action.UNDO:
        return []
    repair = BY_ACTION.get(entry.action)
    hidden = HIDDEN_FIGURES | HIDDEN_OF.get(entry.action, frozenset())
    hidden |= repair.worded if repair else frozenset()
    before, after = entry.before, entry.after
    names = [name for name in {**before, **after} if name not in hidden]
    if "currency" not in before or "currency" not in after:
        names = [name for name in names if name != "currency"]
    parts = _charged(entry) + [
        f"{_name(name)}: {_change(name, before, after)}"
        for name in names
        if (before.get(name) or None) != (after.get(name) or None)
    ]
    return [part[:1].upper() + part[1:] for part in parts]


def _name(figure: str) -> str:
    if figure in LABELS:
        return LABELS[figure]
    return figure.removesuffix("_at").removesuffix("_minor").replace("_", " ")


def _charged(entry: EntryView) -> list[str]:
    """The charge that an immediate move ordered; a bank debit is decided days later."""
    amount = entry.after.get("charged_minor")
    if amount is None:
        return []
    return [f"charge ordered: {formatting.money(amount, entry.after['currency'])}"]


def _change(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if name not in after:
        return _value(name, before[name], before)
    ours = [_value(name, each.get(name), each) for each in (before, after)]
    return ours[1] if before.get(name) is None else " → ".join(ours)


def _value(name: str, value: Any, beside: Mapping[str, Any]) -> str:
    """`beside`: the figures that it stands with, of which one may be the currency."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        currency = beside.get("currency") if name.endswith("_minor") else None
        return formatting.money(value, currency) if currency else formatting.number(value)
    text = str(value)
    known = VALUES.get(name, {}).get(text)
    if known is not None:
        return known
    try:
        at = datetime.fromisoformat(text) if "T" in text else None
    except ValueError:
        at = None
    if at is not None:
        return formatting.last_day(at) if name == "ends_at" else formatting.moment(at)
    return text.replace("_", " ") if CODE.fullmatch(text) else text[:60]

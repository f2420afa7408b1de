"""Entries of the audit log in words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from billing_app.billing.actors import StaffActor
from billing_app.billing.staff.access.permissions import Action, actions_of
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.audit.audit_writing import CustomerAction
from billing_app.billing.staff.repairs.registry import BY_ACTION
from billing_app.db.enums import AuditRole, StaffRole
from billing_app.states import formatting
from billing_app.states.staff.views import EntryLine

WORDING: Final[dict[str, str]] = {
    Action.VIEW_AS_CUSTOMER: "Started viewing as customer",
    Action.END_VIEW: "Stopped viewing as customer",
    Action.UNDO: "Undid an earlier action",
    Action.SIGN_OUT: "Signed a member out everywhere",
    Action.REPLAY_EVENT: "Replayed a webhook",
    Action.RECONCILE: "Ran a reconciliation",
    Action.RETRY_JOB: "Retried a job",
    Action.EDIT_OFFER: "Edited an offer draft",
    Action.PUBLISH_OFFER: "Published an offer",
    Action.ARCHIVE_OFFER: "Archived an offer",
    Action.UNARCHIVE_OFFER: "Unarchived an offer",
    Action.ADD_STAFF: "Added a staff member",
    Action.CHANGE_ROLE: "Changed a staff role",
    Action.REMOVE_STAFF: "Removed a staff member",
    CustomerAction.CHANGE_NAME: "Changed their name",
    CustomerAction.CHANGE_EMAIL: "Changed their email address",
    CustomerAction.CHANGE_BILLING_NAME: "Changed the billing name",
    CustomerAction.CHANGE_BILLING_EMAIL: "Changed the billing email",
}
MAX_FIGURES: Final = 4
HIDDEN_FIGURES: Final = frozenset(
    {
        "begun",
        "charged_minor",
        "currency",
        "event",
        "job_id",
        "next_version_id",
        "plan_id",
        "problem",
        "refunds",
        "user_id",
        "version_id",
    }
)
ACTION_NAMES: Final = {
    action.value: action.replace("_", " ").capitalize()
    for action in (*Action, *CustomerAction)
    if action is not Action.READ
}


def entry_line(
    entry: EntryView,
    staff: StaffActor,
    undone: Mapping[str, str],
    names: Mapping[str, str],
) -> EntryLine:
    """`can_undo` also requires that the reader may; `undone` words what each undo undid, by
    the undone entry's id; `names` are of accounts, by id."""
    account_id, allowed = entry.account_id or "", set(actions_of(staff))
    return EntryLine(
        entry_id=entry.id,
        at=formatting.exact_moment(entry.at),
        who=entry.actor_name,
        role=formatting.AUDIT_ROLES[entry.role],
        what=entry_text(entry, undone),
        figures=_figures(entry),
        reason=entry.reason,
        account_id=account_id,
        account=names.get(account_id, account_id),
        is_own_account=entry.own_account and entry.role is not AuditRole.CUSTOMER,
        is_undone=entry.undone_by is not None,
        can_undo=entry.can_undo and {Action.UNDO, Action(entry.action)} <= allowed,
    )


def entry_text(entry: EntryView, undone: Mapping[str, str]) -> str:
    """What was done."""
    wording = undone.get(entry.undoes or "")
    if wording is not None:
        return wording
    repair = BY_ACTION.get(entry.action)
    if repair is not None:
        return repair.wording(entry.before, entry.after)
    return WORDING.get(entry.action, entry.action.replace("_", " ").capitalize())


def _figures(entry: EntryView) -> str:
    """The figures that changed, before and after."""
    if entry.action == Action.UNDO:
        return ""
    repair = BY_ACTION.get(entry.action)
    hidden = HIDDEN_FIGURES | repair.worded if repair else HIDDEN_FIGURES
    names = [name for name in {**entry.before, **entry.after} if name not in hidden]
    parts = _charged(entry) + [
        f"{_name(name)}: {_change(entry.before.get(name), entry.after.get(name))}"
        for name in names
        if (entry.before.get(name) or None) != (entry.after.get(name) or None)
    ]
    return " · ".join(part[:1].upper() + part[1:] for part in parts[:MAX_FIGURES])


def _name(figure: str) -> str:
    return figure.removesuffix("_at").replace("_", " ")


def _charged(entry: EntryView) -> list[str]:
    """The charge of an immediate move."""
    amount = entry.after.get("charged_minor")
    if amount is None:
        return []
    return [f"charged: {formatting.money(amount, entry.after['currency'])}"]


def _change(before: Any, after: Any) -> str:
    if before is None:
        return _value(after)
    return f"{_value(before)} → {_value(after)}"


def _value(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return formatting.number(value)
    text = str(value)
    if text in set(StaffRole):
        return formatting.ROLES[StaffRole(text)]
    try:
        return formatting.moment(datetime.fromisoformat(text)) if "T" in text else text[:60]
    except ValueError:
        return text[:60]

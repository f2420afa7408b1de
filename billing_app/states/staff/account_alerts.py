"""Why an account's executions are refused, or soon will be, for staff."""

from datetime import datetime

from billing_app.billing.staff.customers.customers import CustomerRow
from billing_app.billing.staff.customers.disputes import Dispute
from billing_app.billing.subscriptions.account_alerts import Stop, StopKind
from billing_app.states import formatting
from billing_app.states.staff.views import DisputeLine


def alert_of(row: CustomerRow, stop: Stop | None, why_blocked: str) -> tuple[str, str]:
    """A title and an explanation; ("", "") without an alert. `why_blocked` is the reason given for
    the block."""
    if row.blocked_at is not None:
        return (
            f"Blocked since {formatting.day(row.blocked_at)}: all executions are refused.",
            why_blocked,
        )
    overdue = stop if stop is not None and stop.kind is StopKind.PAST_DUE else None
    if row.past_due_since is None:
        return "", ""
    return _overdue(row.past_due_since, overdue), _elsewhere(overdue)


def stuck_text(dead: int) -> str:
    """What staff read of an account whose events are stuck; "" when none are."""
    if not dead:
        return ""
    are = "event from Stripe is" if dead == 1 else "events from Stripe are"
    return (
        f"{formatting.number(dead)} {are} stuck as dead letters: what this page shows may be out of"
        " date. Replay them in Webhooks."
    )


def _overdue(since: datetime, stop: Stop | None) -> str:
    start = f"A payment has been overdue since {formatting.day(since)}"
    if stop is None:
        return f"{start}."
    if stop.is_in_force:
        return f"{start}. New executions have been refused since {formatting.day(stop.at)}."
    return f"{start}. Executions continue until {formatting.day(stop.at)}."


def _elsewhere(stop: Stop | None) -> str:
    """Executions on other plans continue."""
    if stop is None:
        return ""
    owed = formatting.money(stop.amount_due_minor, stop.currency) if stop.currency else ""
    parts = [f"{owed} of {stop.plan_name} is due." if owed else "", _others(stop)]
    return " ".join(each for each in parts if each)


def _others(stop: Stop) -> str:
    if not stop.executions_elsewhere:
        return ""
    return f"Other plans still have {formatting.counted(stop.executions_elsewhere, 'execution')}."


def dispute_lines(disputes: list[Dispute], stop: Stop | None, now: datetime) -> list[DisputeLine]:
    """What each dispute stops, and what can still be done about it."""
    others = _others(stop) if stop is not None and stop.kind is StopKind.DISPUTED else ""
    return [
        DisputeLine(
            row=str(place),
            title=_dispute_title(dispute),
            text=f"{_evidence(dispute, now)} {others if dispute.stops_plan else ''}".rstrip(),
            provider_url=dispute.provider_url,
        )
        for place, dispute in enumerate(disputes)
    ]


def _dispute_title(dispute: Dispute) -> str:
    amount = formatting.money(dispute.amount_minor, dispute.currency)
    since = f"has been disputed since {formatting.day(dispute.since)}"
    if not dispute.plan_name:
        return f"{amount} {since}. No plan depends on it."
    start = f"{amount} for {dispute.plan_name} {since}"
    if dispute.stops_plan:
        return f"{start}. The plan is suspended until the bank decides."
    return f"{start}. The plan had already ended."


def _evidence(dispute: Dispute, now: datetime) -> str:
    if dispute.is_answered:
        return "Evidence submitted. The bank will decide."
    due_at = dispute.evidence_due_at
    if due_at is None:
        return "See Stripe for the evidence deadline."
    if due_at <= now:
        return f"Evidence was due by {formatting.moment(due_at)} UTC. The bank will decide."
    return (
        f"Submit evidence at Stripe by {formatting.moment(due_at)} UTC; without it the"
        " dispute is lost."
    )

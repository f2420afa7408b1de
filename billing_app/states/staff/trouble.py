"""Why an account's runs are refused, or soon will be, for the staff."""

from datetime import datetime

from billing_app.billing.staff.customers import CustomerRow
from billing_app.billing.subscriptions.stops import Stop, StopKind
from billing_app.states import words


def trouble_of(row: CustomerRow, stop: Stop | None, why_blocked: str) -> tuple[str, str]:
    """A title and an explanation; ("", "") when there is no trouble. `why_blocked` is the reason
    of whoever blocked the account."""
    if row.blocked_at is not None:
        return f"Blocked since {words.day(row.blocked_at)}: every run is refused.", why_blocked
    overdue = stop if stop is not None and stop.kind is StopKind.PAST_DUE else None
    if row.past_due_since is None:
        return "", ""
    return _overdue(row.past_due_since, overdue), _elsewhere(overdue)


def _overdue(since: datetime, stop: Stop | None) -> str:
    said = f"A payment is overdue since {words.day(since)}"
    if stop is None:
        return f"{said}."
    if stop.is_over:
        return f"{said}: runs are refused since {words.day(stop.at)}."
    return f"{said}: runs go on until {words.day(stop.at)}."


def _elsewhere(stop: Stop | None) -> str:
    """What is paid for by other plans goes on all the same."""
    if stop is None:
        return ""
    owed = words.money(stop.amount_due_minor, stop.currency) if stop.currency else ""
    told = [f"{owed} of {stop.plan_name} is owed." if owed else ""]
    if stop.executions_elsewhere:
        left = words.counted(stop.executions_elsewhere, "execution")
        told.append(f"Other plans still give {left}.")
    return " ".join(each for each in told if each)

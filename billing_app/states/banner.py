"""The banner on every page while executions are refused, or soon will be."""

from billing_app.billing.subscriptions.account_alerts import Stop, StopKind
from billing_app.billing.subscriptions.top_ups import TopUpView
from billing_app.states import formatting
from billing_app.states.spending_limit_views import what_helps
from billing_app.states.views import Banner

ASK_SUPPORT = "Contact support. Your usage and payments are not affected."


def banner_of(
    stop: Stop | None, *, may_manage: bool, managers: str, top_up: TopUpView | None = None
) -> Banner:
    """Says until when executions continue, what happens then, and how to resolve it; else that the
    automatic top-up has stopped."""
    if stop is None:
        because = top_up.stopped_because if top_up else None
        return _stopped_top_up(because, may_manage=may_manage) if because else Banner()
    if stop.kind is StopKind.PAST_DUE:
        return _overdue(stop, may_manage=may_manage, managers=managers)
    title = {
        StopKind.BLOCKED: "This account is blocked",
        StopKind.DISPUTED: f"The payment for {stop.plan_name} is disputed",
        StopKind.PAUSED: f"{stop.plan_name} is paused",
    }[stop.kind]
    text = {
        StopKind.BLOCKED: f"{_refused_since(stop)} {ASK_SUPPORT}",
        StopKind.DISPUTED: f"{_unusable_since(stop)} The bank decides. If the payment stands,"
        " the plan resumes automatically.",
        StopKind.PAUSED: f"{_unusable_since(stop)} {ASK_SUPPORT}",
    }[stop.kind]
    return Banner(tone="bad", title=title, text=text)


def _stopped_top_up(because: str, *, may_manage: bool) -> Banner:
    text = f"{because} Nothing is bought automatically any more."
    if may_manage:
        text = f"{text} {what_helps(because)}"
    return Banner("warning", "Automatic top-up has stopped", text, has_top_up=may_manage)


def _overdue(stop: Stop, *, may_manage: bool, managers: str) -> Banner:
    amount = formatting.money(stop.amount_due_minor, stop.currency)
    if not stop.is_in_force:
        due = formatting.day(stop.due_at) if stop.due_at else ""
        failed = f"was due on {due}" if due else "could not be charged"
        title = f"{amount} for {stop.plan_name} {failed}"
        text = f"Executions continue until {formatting.moment(stop.at)} UTC. {_after_grace(stop)}"
    elif stop.executions_elsewhere:
        title = f"{amount} for {stop.plan_name} is overdue"
        text = _unusable_since(stop)
    else:
        title = f"Executions have been refused since {formatting.day(stop.at)}"
        text = f"{amount} for {stop.plan_name} is overdue. Executions resume as soon as it is paid."
    tone = "bad" if stop.is_in_force else "warning"
    if not may_manage:
        return Banner(tone, title, f"{text} {managers or 'An owner'} can pay.")
    return Banner(
        tone=tone,
        title=title,
        text=text,
        pay_label=f"Pay {amount}",
        page_url=stop.page_url,
        has_portal=True,
    )


def _refused_since(stop: Stop) -> str:
    return f"New executions have been refused since {formatting.day(stop.at)}."


def _unusable_since(stop: Stop) -> str:
    if not stop.executions_elsewhere:
        return _refused_since(stop)
    left = formatting.counted(stop.executions_elsewhere, "execution")
    day = formatting.day(stop.at)
    return f"{stop.plan_name} has not been usable since {day}. You have {left} in other plans."


def _after_grace(stop: Stop) -> str:
    if not stop.executions_elsewhere:
        return "After that, new executions are refused until it is paid."
    left = formatting.counted(stop.executions_elsewhere, "execution")
    return f"After that, you can only use the {left} in other plans until it is paid."

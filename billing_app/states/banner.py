"""What stands above every page while runs are refused, or soon will be."""

from billing_app.billing.subscriptions.account_alerts import Stop, StopKind
from billing_app.states import formatting
from billing_app.states.views import Banner

ASK_SUPPORT = "Contact support; what you have used and paid stays as it is."


def banner_of(stop: Stop | None, *, may_manage: bool, managers: str) -> Banner:
    """Says until when runs go on, what happens then, and leads to what ends it."""
    if stop is None:
        return Banner()
    if stop.kind is StopKind.PAST_DUE:
        return _overdue(stop, may_manage=may_manage, managers=managers)
    title = {
        StopKind.BLOCKED: "This account is blocked",
        StopKind.DISPUTED: f"The payment for {stop.plan_name} is disputed",
        StopKind.PAUSED: f"{stop.plan_name} is paused",
    }[stop.kind]
    since = f"since {formatting.day(stop.at)}"
    explained = {
        StopKind.BLOCKED: f"New runs are refused {since}. {ASK_SUPPORT}",
        StopKind.DISPUTED: f"{_refused(stop, since)} The bank decides; if the payment stands,"
        " the plan goes on by itself.",
        StopKind.PAUSED: f"{_refused(stop, since)} {ASK_SUPPORT}",
    }[stop.kind]
    return Banner(tone="bad", title=title, words=explained)


def _overdue(stop: Stop, *, may_manage: bool, managers: str) -> Banner:
    amount = formatting.money(stop.amount_due_minor, stop.currency)
    since = f"since {formatting.day(stop.at)}"
    if not stop.is_in_force:
        title = f"{amount} for {stop.plan_name} could not be charged"
        explained = f"Runs go on until {formatting.moment(stop.at)} UTC. {_then(stop)}"
    elif stop.executions_elsewhere:
        title = f"{amount} for {stop.plan_name} is overdue"
        explained = _refused(stop, since)
    else:
        title = f"Runs are refused {since}"
        explained = (
            f"{amount} for {stop.plan_name} is overdue. Once it is paid, runs go on at once."
        )
    tone = "bad" if stop.is_in_force else "warning"
    if not may_manage:
        return Banner(tone, title, f"{explained} {_who(managers)}")
    return Banner(
        tone=tone,
        title=title,
        words=explained,
        pay_words=f"Pay {amount}",
        page_url=stop.page_url,
        has_portal=True,
    )


def _refused(stop: Stop, since: str) -> str:
    if stop.executions_elsewhere:
        left = formatting.counted(stop.executions_elsewhere, "execution")
        return f"{stop.plan_name} gives no runs {since}. {left} of other plans are left."
    return f"New runs are refused {since}."


def _then(stop: Stop) -> str:
    if stop.executions_elsewhere:
        left = formatting.counted(stop.executions_elsewhere, "execution")
        return f"Then only the {left} of other plans are left, until it is paid."
    return "Then new runs are refused until it is paid."


def _who(managers: str) -> str:
    return f"{managers} can pay." if managers else "An owner can pay."

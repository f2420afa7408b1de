"""What an alert says, in the app and by mail: the figure first, then what it means."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from billing_app.billing.money import Money
from billing_app.billing.quantities import counted
from billing_app.db.enums import AlertKind, DenialReason
from billing_app.routes import OVERVIEW, USAGE

Figures = Mapping[str, Any]
"""As alerts are stored."""

PLANS: Final = (OVERVIEW, "See plans")
PAYMENT: Final = (OVERVIEW, "See payment details")
LIMITS: Final = (f"{OVERVIEW}#spending", "See spending limits")
ACTIVITY: Final = (USAGE, "See usage")

KIND_NAMES: Final[Mapping[AlertKind, str]] = {
    AlertKind.REMAINING_SHARE: "Share of executions left",
    AlertKind.REMAINING_NUMBER: "Executions left",
    AlertKind.OVERAGE_SPENT: "Spending beyond the plan",
    AlertKind.FORECAST_END: "Days until executions run out",
    AlertKind.RENEWAL_COMING: "Upcoming renewal",
    AlertKind.PAYMENT_FAILED: "Failed payment",
    AlertKind.CARD_EXPIRING: "Card expiring",
    AlertKind.EXECUTION_REFUSED: "Refused executions",
    AlertKind.UNUSUAL_PACE: "Unusual pace",
    AlertKind.ERROR_LOOP: "Error loop",
}
REFUSALS: Final[Mapping[str, tuple[str, tuple[str, str]]]] = {
    DenialReason.INSUFFICIENT_EXECUTIONS: ("not enough executions left", PLANS),
    DenialReason.PLAN_NOT_FOUND: ("there is no plan", PLANS),
    DenialReason.TRIAL_ENDED: ("the trial has ended", PLANS),
    DenialReason.PAYMENT_PAST_DUE: ("a payment is overdue", PAYMENT),
    DenialReason.BUDGET_EXCEEDED: ("the spending limit is reached", LIMITS),
    DenialReason.PLAN_PAUSED: ("the plan is paused", PLANS),
    DenialReason.ACCOUNT_BLOCKED: ("the account is blocked", PLANS),
}
DECIMAL: Final = 10


@dataclass(frozen=True, slots=True)
class AlertText:
    """`page`: where somebody can do something about it, on this site."""

    title: str
    text: str
    page: str
    page_label: str


def alert_text(kind: AlertKind, figures: Figures) -> AlertText:
    """Figures that are missing, as of an alert of an older release, are left out."""
    title, text, (page, label) = _WORDS[kind](figures)
    return AlertText(title, text, page, label)


def rule_text(kind: AlertKind, value: int, currency: str = "") -> str:
    """When a rule alerts."""
    amount = _money(value, currency)
    return _RULES[kind].format(
        value=value,
        number=f"{value:,}",
        amount=amount,
        days=counted(value, "day"),
        executions=counted(value, "execution"),
    )


_RULES: Final[Mapping[AlertKind, str]] = {
    AlertKind.REMAINING_SHARE: "When {value}% of the executions or fewer are left",
    AlertKind.REMAINING_NUMBER: "When {executions} or fewer are left",
    AlertKind.OVERAGE_SPENT: "When executions beyond the plan cost {amount} or more",
    AlertKind.FORECAST_END: "When executions run out within {days} at the usual pace",
    AlertKind.RENEWAL_COMING: "{days} before the plan renews",
    AlertKind.PAYMENT_FAILED: "When a payment fails",
    AlertKind.CARD_EXPIRING: "{days} before the card on file expires",
    AlertKind.EXECUTION_REFUSED: "When executions are refused, once a day for each reason",
    AlertKind.UNUSUAL_PACE: "When a day has {value} times the usage that its weekday usually has",
    AlertKind.ERROR_LOOP: "When a minute has {number} releases and refunds or more",
}


Words = tuple[str, str, tuple[str, str]]


def _remaining(figures: Figures) -> Words:
    left, total = figures.get("executions_left", 0), figures.get("executions_total", 0)
    text = f"{left:,} of {counted(total, 'execution')} are left."
    if left <= 0:
        return "No executions left", "New executions are refused until there are more.", PLANS
    return f"{counted(left, 'execution')} left", text, PLANS


def _remaining_share(figures: Figures) -> Words:
    left, total = figures.get("executions_left", 0), figures.get("executions_total", 0)
    if left <= 0 or total <= 0:
        return _remaining(figures)
    percent = left * 100 / total
    share = f"{percent:.1f}".removesuffix(".0") if percent < DECIMAL else f"{percent:.0f}"
    return f"{share}% of executions left", _remaining(figures)[1], PLANS


def _overage_spent(figures: Figures) -> Words:
    amount = _money(figures.get("amount_minor", 0), figures.get("currency", ""))
    count = counted(figures.get("overage_executions", 0), "execution")
    limit = _money(figures.get("threshold", 0), figures.get("currency", ""))
    text = f"{count} beyond the plan so far in this period. You set this alert at {limit}."
    return f"{amount} spent beyond the plan", text, LIMITS


def _forecast_end(figures: Figures) -> Words:
    left, at = figures.get("executions_left"), _day(figures.get("ends_at"))
    days = figures.get("days")
    when = f"in about {counted(days, 'day')}" if days else "within a day"
    has_left = f"{counted(left, 'execution')} are left. " if left is not None else ""
    text = f"{has_left}At the usual pace they last until {at}." if at else f"{has_left}".strip()
    return f"Executions run out {when}", text, PLANS


def _renewal_coming(figures: Figures) -> Words:
    amount, at = _amount(figures), _day(figures.get("renews_at"))
    name = figures.get("plan") or "The plan"
    title = f"{name} renews on {at}" if at else f"{name} renews soon"
    text = f"The card on file is charged {amount}." if amount else ""
    return f"{title} for {amount}" if amount else title, text, PAYMENT


def _payment_failed(figures: Figures) -> Words:
    amount, until = _amount(figures), _day(figures.get("executions_until"))
    title = f"A payment of {amount} failed" if amount else "A payment failed"
    text = f"Executions continue until {until}, unless it is paid before." if until else ""
    return title, text or "Pay the open invoice to keep the plan.", PAYMENT


def _card_expiring(figures: Figures) -> Words:
    last4, at = figures.get("last4"), _day(figures.get("expires_at"))
    card = f"The card ending in {last4}" if last4 else "The card on file"
    title = f"{card} expires on {at}" if at else f"{card} expires soon"
    return title, "Add another card, so that the next renewal can be paid.", PAYMENT


def _execution_refused(figures: Figures) -> Words:
    because, page = REFUSALS.get(
        str(figures.get("reason", "")), ("the plan does not allow them", PLANS)
    )
    return (
        f"Executions were refused: {because}",
        "It may happen again until this is resolved.",
        page,
    )


def _unusual_pace(figures: Figures) -> Words:
    used, usual = figures.get("executions"), figures.get("usual")
    if used is None or usual is None:
        return "Usage is unusually high today", "", ACTIVITY
    text = f"Such a weekday usually has {counted(round(usual), 'execution')}."
    return f"{counted(used, 'execution')} in a day, more than usual", text, ACTIVITY


def _error_loop(figures: Figures) -> Words:
    times = figures.get("times", 0)
    text = "Runs may be failing and starting over. They were not counted as used."
    return f"{times:,} releases and refunds in a minute", text, ACTIVITY


_WORDS: Final[Mapping[AlertKind, Callable[[Figures], Words]]] = {
    AlertKind.REMAINING_SHARE: _remaining_share,
    AlertKind.REMAINING_NUMBER: _remaining,
    AlertKind.OVERAGE_SPENT: _overage_spent,
    AlertKind.FORECAST_END: _forecast_end,
    AlertKind.RENEWAL_COMING: _renewal_coming,
    AlertKind.PAYMENT_FAILED: _payment_failed,
    AlertKind.CARD_EXPIRING: _card_expiring,
    AlertKind.EXECUTION_REFUSED: _execution_refused,
    AlertKind.UNUSUAL_PACE: _unusual_pace,
    AlertKind.ERROR_LOOP: _error_loop,
}


def _amount(figures: Figures) -> str:
    minor = figures.get("amount_minor")
    return "" if minor is None else _money(minor, figures.get("currency", ""))


def _money(minor: int, currency: str) -> str:
    return str(Money(minor, currency)) if currency else f"{minor:,}"


def _day(value: object) -> str:
    """4 December 2026; empty when it is no day."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return ""
    day: date = at.astimezone(UTC).date() if at.tzinfo else at.date()
    return f"{day.day} {day:%B %Y}"

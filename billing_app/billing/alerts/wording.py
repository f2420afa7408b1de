"""Alerts in words: a headline and a sentence, the same in mails, in the app and in webhooks."""

from typing import Any, Final

from billing_app.billing.money import Money
from billing_app.db.enums import AlertKind

REASONS: Final = {
    "insufficient_executions": "not enough executions are left",
    "plan_not_found": "the account has no plan",
    "trial_ended": "the trial has ended",
    "payment_past_due": "a payment is overdue",
    "budget_exceeded": "the overage limit has been reached",
    "plan_paused": "the plan is paused",
    "account_blocked": "the account is blocked",
}
"""By code of the refusal."""


def headline(kind: AlertKind, figures: dict[str, Any]) -> str:
    """As short as a subject."""
    left = figures.get("executions_left", 0)
    if kind in (AlertKind.REMAINING_SHARE, AlertKind.REMAINING_NUMBER):
        return f"{_executions(left)} left" if left else "No executions left"
    if kind == AlertKind.OVERAGE_SPENT:
        return f"{_amount(figures)} spent beyond the plan"
    if kind == AlertKind.FORECAST_END:
        return f"Executions run out in {_days(figures)}"
    if kind == AlertKind.RENEWAL_COMING:
        return f"Renews in {_days(figures)}"
    if kind == AlertKind.PAYMENT_FAILED:
        return "A payment failed"
    if kind == AlertKind.CARD_EXPIRING:
        return "Your card expires soon"
    if kind == AlertKind.EXECUTION_REFUSED:
        return f"Executions refused: {_reason(figures)}"
    if kind == AlertKind.UNUSUAL_PACE:
        return "Unusually many executions today"
    return "Many runs fail"


def sentence(kind: AlertKind, figures: dict[str, Any]) -> str:
    """What happened, with the figures."""
    if kind in (AlertKind.REMAINING_SHARE, AlertKind.REMAINING_NUMBER):
        left, total = figures["executions_left"], figures["executions_total"]
        is_share = kind == AlertKind.REMAINING_SHARE
        threshold = f"{figures['threshold']:,}{'%' if is_share else ' executions'}"
        return f"{left:,} of {_executions(total)} are left. The alert is set to {threshold}."
    if kind == AlertKind.OVERAGE_SPENT:
        used = _executions(figures["overage_executions"])
        return f"{used} beyond the plan cost {_amount(figures)} so far in this period."
    if kind == AlertKind.FORECAST_END:
        pace = round(figures["executions_per_day"])
        return f"At {pace:,} executions a day, they last until {figures['runs_out_on']}."
    if kind == AlertKind.RENEWAL_COMING:
        return f"{figures['plan']} renews on {figures['renews_on']}."
    if kind == AlertKind.PAYMENT_FAILED:
        return f"The payment of {_amount(figures)} failed. Pay it to keep the plan."
    if kind == AlertKind.CARD_EXPIRING:
        return f"The card ending in {figures['last4']} expires at the end of {figures['expires']}."
    if kind == AlertKind.EXECUTION_REFUSED:
        return f"An execution was refused because {_reason(figures)}."
    if kind == AlertKind.UNUSUAL_PACE:
        used, usual = figures["executions"], figures["usual_executions"]
        return f"{_executions(used)} so far today; {usual:,} are usual on such a weekday."
    return f"{figures['times']:,} reservations were released or executions refunded in one minute."


def _executions(count: int) -> str:
    return f"{count:,} execution" if count == 1 else f"{count:,} executions"


def _days(figures: dict[str, Any]) -> str:
    days = figures["days"]
    return "less than a day" if days < 1 else "1 day" if days == 1 else f"{days} days"


def _amount(figures: dict[str, Any]) -> str:
    return str(Money(figures["amount_minor"], figures["currency"]))


def _reason(figures: dict[str, Any]) -> str:
    return REASONS.get(figures["reason"], figures["reason"])

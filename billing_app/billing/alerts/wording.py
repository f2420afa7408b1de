"""Alerts in words: a headline and a sentence, the same in mails, in the app and in webhooks."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from billing_app.billing.money import Money
from billing_app.billing.quantities import counted
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


Figures = Mapping[str, Any]


def headline(kind: AlertKind, figures: Figures) -> str:
    """As short as a subject."""
    return _WORDS[kind][0](figures)


def sentence(kind: AlertKind, figures: Figures) -> str:
    """What happened, with the figures."""
    return _WORDS[kind][1](figures)


def _left(figures: Figures) -> str:
    left = figures["executions_left"]
    return f"{counted(left, 'execution')} left" if left else "No executions left"


def _left_of(figures: Figures) -> str:
    left, total = figures["executions_left"], figures["executions_total"]
    return f"{left:,} of {counted(total, 'execution')} are left."


def _used_beyond(figures: Figures) -> str:
    used = counted(figures["overage_executions"], "execution")
    return f"{used} beyond the plan cost {_amount(figures)} so far in this period."


def _lasts_until(figures: Figures) -> str:
    pace = round(figures["executions_per_day"])
    return f"At {pace:,} executions a day, they last until {figures['runs_out_on']}."


def _used_today(figures: Figures) -> str:
    used, usual = figures["executions"], figures["usual_executions"]
    return f"{counted(used, 'execution')} so far today; {usual:,} are usual on such a weekday."


def _given_back(figures: Figures) -> str:
    return f"{figures['times']:,} reservations were released or executions refunded in one minute."


def _days(figures: Figures) -> str:
    days = figures["days"]
    return counted(days, "day") if days else "less than a day"


def _amount(figures: Figures) -> str:
    return str(Money(figures["amount_minor"], figures["currency"]))


def _reason(figures: Figures) -> str:
    return REASONS.get(figures["reason"]) or str(figures["reason"])


Words = Callable[[Figures], str]
_WORDS: Final[Mapping[AlertKind, tuple[Words, Words]]] = {
    AlertKind.REMAINING_SHARE: (_left, _left_of),
    AlertKind.REMAINING_NUMBER: (_left, _left_of),
    AlertKind.OVERAGE_SPENT: (lambda each: f"{_amount(each)} spent beyond the plan", _used_beyond),
    AlertKind.FORECAST_END: (lambda each: f"Executions run out in {_days(each)}", _lasts_until),
    AlertKind.RENEWAL_COMING: (
        lambda each: f"Renews in {_days(each)}",
        lambda each: f"{each['plan']} renews on {each['renews_on']}.",
    ),
    AlertKind.PAYMENT_FAILED: (
        lambda _: "A payment failed",
        lambda each: f"A payment of {_amount(each)} failed. Pay it to keep the plan.",
    ),
    AlertKind.CARD_EXPIRING: (
        lambda _: "Your card expires soon",
        lambda each: f"The card ending in {each['last4']} expires at the end of {each['expires']}.",
    ),
    AlertKind.EXECUTION_REFUSED: (
        lambda each: f"Executions refused: {_reason(each)}",
        lambda each: f"An execution was refused because {_reason(each)}.",
    ),
    AlertKind.UNUSUAL_PACE: (lambda _: "Unusually many executions today", _used_today),
    AlertKind.ERROR_LOOP: (lambda _: "Many runs fail", _given_back),
}

"""Alerts and their rules as the pages draw them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from billing_app.billing.alerts.links import LINKS
from billing_app.billing.alerts.rules import BOUNDS, Rule
from billing_app.billing.alerts.service import AlertView
from billing_app.billing.currencies import CURRENCIES
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.typed_numbers import typed_amount, typed_count
from billing_app.db.enums import AlertKind, MailTopic
from billing_app.states import formatting

KIND_NAMES: Final[Mapping[AlertKind, str]] = {
    AlertKind.REMAINING_SHARE: "Share of executions left",
    AlertKind.REMAINING_NUMBER: "Executions left",
    AlertKind.OVERAGE_SPENT: "Spending beyond the plan",
    AlertKind.FORECAST_END: "Executions running out",
    AlertKind.RENEWAL_COMING: "Upcoming renewal",
    AlertKind.PAYMENT_FAILED: "Failed payment",
    AlertKind.CARD_EXPIRING: "Card expiring",
    AlertKind.EXECUTION_REFUSED: "Refused executions",
    AlertKind.UNUSUAL_PACE: "Unusual pace",
    AlertKind.ERROR_LOOP: "Error loop",
}
# Those that alerts do not share.
TOPIC_NAMES: Final[Mapping[MailTopic, str]] = {
    MailTopic.RECEIPTS: "Receipts",
    MailTopic.PLAN_CHANGES: "Plan changed or cancelled",
    MailTopic.TOP_UPS: "Top-ups stopped",
    MailTopic.KEYS: "API keys about to expire",
    MailTopic.SUPPORT: "What support did",
}
WHEN: Final[Mapping[AlertKind, str]] = {
    AlertKind.REMAINING_SHARE: "When {value}% of the executions or fewer are left",
    AlertKind.REMAINING_NUMBER: "When {executions} or fewer are left",
    AlertKind.OVERAGE_SPENT: "When executions beyond the plan cost {amount} or more in a period",
    AlertKind.FORECAST_END: "When they run out within {days} at the current pace",
    AlertKind.RENEWAL_COMING: "{days} before the plan renews",
    AlertKind.PAYMENT_FAILED: "When a payment fails",
    AlertKind.CARD_EXPIRING: "{days} before the card on file expires",
    AlertKind.EXECUTION_REFUSED: "When executions are refused, once a day for each reason",
    AlertKind.UNUSUAL_PACE: "When a day has {value} times the usage that is usual for its weekday",
    AlertKind.ERROR_LOOP: "When {number} runs are released or refunded within a minute",
}
# What the value of a rule is called in its form, and what the form suggests.
FIELDS: Final[Mapping[AlertKind, tuple[str, str]]] = {
    AlertKind.REMAINING_SHARE: ("Percent left", "20"),
    AlertKind.REMAINING_NUMBER: ("Executions left", "1000"),
    AlertKind.OVERAGE_SPENT: ("Amount", "50"),
    AlertKind.FORECAST_END: ("Days", "7"),
    AlertKind.RENEWAL_COMING: ("Days before", "7"),
    AlertKind.CARD_EXPIRING: ("Days before", "30"),
    AlertKind.UNUSUAL_PACE: ("Times the usual", "3"),
    AlertKind.ERROR_LOOP: ("Releases and refunds in a minute", "20"),
}


@dataclass(frozen=True, slots=True)
class AlertItem:
    """`account`: its name, where the person has several. `page`: where something can be done about
    it, in the words of `link`."""

    id: str = ""
    account_id: str = ""
    account: str = ""
    title: str = ""
    text: str = ""
    at: str = ""
    page: str = ""
    link: str = ""
    is_unread: bool = False


@dataclass(frozen=True, slots=True)
class RuleItem:
    key: str = ""
    kind: str = ""
    name: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class RuleForm:
    """The dialog of a rule: `key` of the one that is changed, "" for a new one. `label`: of its
    value, "" for a kind without one."""

    key: str = ""
    kind: str = ""
    label: str = ""
    value: str = ""
    currency: str = ""
    has_currency: bool = False


@dataclass(frozen=True, slots=True)
class MailChoice:
    """What a person may get by mail: a kind of alert, or a topic besides."""

    kind: str = ""
    name: str = ""
    is_on: bool = False


def alert_item(
    view: AlertView, *, is_unread: bool, names: Mapping[str, str] | None = None
) -> AlertItem:
    """`names`: of accounts, by ID."""
    page, link = LINKS[view.kind]
    return AlertItem(
        id=view.id,
        account_id=view.account_id,
        account=(names or {}).get(view.account_id, ""),
        title=view.headline,
        text=view.detail,
        at=formatting.moment(view.raised_at),
        page=page,
        link=link,
        is_unread=is_unread,
    )


def rule_items(rules: Iterable[Rule]) -> list[RuleItem]:
    """In the order of their kinds."""
    order = list(AlertKind)
    ordered = sorted(rules, key=lambda rule: (order.index(rule.kind), rule.value))
    return [RuleItem(rule.key, rule.kind, KIND_NAMES[rule.kind], _when(rule)) for rule in ordered]


def rule_form(kind: AlertKind, currency: str, rule: Rule | None = None) -> RuleForm:
    label, suggested = FIELDS.get(kind, ("", ""))
    is_money = kind is AlertKind.OVERAGE_SPENT
    value = suggested
    if rule is not None and label:
        value = str(rule.value)
        if is_money:
            value, currency = formatting.typed_money(rule.value, rule.currency), rule.currency
    return RuleForm(
        key=rule.key if rule else "",
        kind=kind,
        label=label,
        value=value,
        currency=currency if is_money else "",
        has_currency=is_money,
    )


def typed_rule(kind: AlertKind, value: str, currency: str) -> Rule:
    """Raises InvalidInputError, in words for people."""
    if kind not in FIELDS:
        return Rule(kind)
    if kind is AlertKind.OVERAGE_SPENT:
        return _typed_spending(value, currency.strip().upper())
    label, bounds = FIELDS[kind][0], BOUNDS[kind]
    number = typed_count(value.strip().removesuffix("%"))
    if number is None or not bounds.least <= number <= bounds.most:
        span = f"{formatting.number(bounds.least)} to {formatting.number(bounds.most)}"
        raise InvalidInputError(f"{label}: enter a whole number from {span}.", field="value")
    return Rule(kind, number)


def _typed_spending(value: str, currency: str) -> Rule:
    if currency not in CURRENCIES:
        raise InvalidInputError("Enter a currency, for example USD.", field="currency")
    amount_minor = typed_amount(value, currency, field="value")
    bounds = BOUNDS[AlertKind.OVERAGE_SPENT]
    if not bounds.least <= amount_minor <= bounds.most:
        problem = "greater than 0" if amount_minor < bounds.least else "that is smaller"
        raise InvalidInputError(f"Enter an amount {problem}.", field="value")
    return Rule(AlertKind.OVERAGE_SPENT, amount_minor, currency)


def _when(rule: Rule) -> str:
    amount = formatting.money(rule.value, rule.currency) if rule.currency else ""
    return WHEN[rule.kind].format(
        value=rule.value,
        number=formatting.number(rule.value),
        amount=amount,
        days=formatting.counted(rule.value, "day"),
        executions=formatting.counted(rule.value, "execution"),
    )

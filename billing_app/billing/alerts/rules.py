"""Rules of alerts and when the ones about the balance are met. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from billing_app.billing.currencies import CURRENCIES
from billing_app.billing.errors import InvalidInputError
from billing_app.db.enums import AlertKind

MAX_RULES: Final = 20
BALANCE_KINDS: Final = frozenset({AlertKind.REMAINING_SHARE, AlertKind.REMAINING_NUMBER})


class Bounds(NamedTuple):
    """Of a rule's value, and what the value is."""

    least: int
    most: int
    meaning: str


BOUNDS: Final[Mapping[AlertKind, Bounds]] = {
    AlertKind.REMAINING_SHARE: Bounds(1, 99, "percent of the executions"),
    AlertKind.REMAINING_NUMBER: Bounds(0, 10**12, "executions left"),
    AlertKind.OVERAGE_SPENT: Bounds(1, 10**12, "minor units of the currency"),
    AlertKind.FORECAST_END: Bounds(1, 90, "days until the executions run out"),
    AlertKind.RENEWAL_COMING: Bounds(1, 60, "days until the renewal"),
    AlertKind.CARD_EXPIRING: Bounds(1, 90, "days until the card expires"),
    AlertKind.UNUSUAL_PACE: Bounds(2, 100, "times the usual use of such a weekday"),
    AlertKind.ERROR_LOOP: Bounds(2, 100_000, "releases and refunds in a minute"),
}
"""Kinds that are not here have no value."""


class Rule(msgspec.Struct, frozen=True):
    """When to alert. `value` is in the unit of BOUNDS; `currency` is overage_spent's alone."""

    kind: AlertKind
    value: int = 0
    currency: str = ""

    @property
    def key(self) -> str:
        """What identifies the rule within its account."""
        parts = [str(self.kind)]
        if self.kind in BOUNDS:
            parts.append(str(self.value))
        return ":".join([*parts, self.currency] if self.currency else parts)


class Level(NamedTuple):
    """Of an account's usable plans: purchased executions that are not used (held ones count as
    left, because a run that fails gives them back), purchased executions in all, and overage."""

    left: int
    total: int
    overage: int


class OveragePrice(NamedTuple):
    """Each `unit_executions` begun cost `unit_minor`."""

    unit_minor: int
    unit_executions: int
    currency: str

    def amount_minor(self, executions: int) -> int:
        return -(-executions // self.unit_executions) * self.unit_minor


def is_met(rule: Rule, level: Level, price: OveragePrice | None = None) -> bool:
    """Whether the balance is at or below the rule's threshold; False for rules that are not about
    the balance. Overage counts in its own currency only."""
    if rule.kind == AlertKind.REMAINING_SHARE:
        return level.left * 100 <= rule.value * level.total
    if rule.kind == AlertKind.REMAINING_NUMBER:
        return level.left <= rule.value
    if rule.kind != AlertKind.OVERAGE_SPENT or price is None or rule.currency != price.currency:
        return False
    return level.overage > 0 and price.amount_minor(level.overage) >= rule.value


class Crossing(NamedTuple):
    """A decision that took the balance to a rule's threshold, or (`is_met` False) above it again.

    `rule` None: nothing is left.
    """

    account_id: int
    number: int
    rule: Rule | None
    is_met: bool
    level: Level
    price: OveragePrice | None

    @property
    def key(self) -> str:
        assert self.rule is not None
        return self.rule.key


def figures_of(rule: Rule, level: Level, price: OveragePrice | None) -> dict[str, Any]:
    """What an alert about the balance tells: executions, and for overage its amount."""
    figures: dict[str, Any] = {
        "threshold": rule.value,
        "executions_left": level.left,
        "executions_total": level.total,
    }
    if rule.kind == AlertKind.OVERAGE_SPENT and price is not None:
        figures["overage_executions"] = level.overage
        figures["amount_minor"] = price.amount_minor(level.overage)
        figures["currency"] = price.currency
    return figures


class RuleSet:
    """The rules of an account, with what tells fast that none of the balance is met."""

    __slots__ = ("_most_number", "_most_percent", "balance", "rules")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        about_balance = BALANCE_KINDS | {AlertKind.OVERAGE_SPENT}
        self.balance = tuple(rule for rule in self.rules if rule.kind in about_balance)
        self._most_percent = self._most(AlertKind.REMAINING_SHARE)
        self._most_number = self._most(AlertKind.REMAINING_NUMBER)

    def of_kind(self, kind: AlertKind) -> list[Rule]:
        return [rule for rule in self.rules if rule.kind == kind]

    def is_clear(self, level: Level) -> bool:
        """Executions are left, more than any rule names, and there is no overage."""
        return level.left > self.floor(level.total) and level.overage == 0

    def floor(self, total: int) -> int:
        """The most that is left when a rule is met, of so many in all."""
        return max(self._most_number, self._most_percent * total // 100)

    def _most(self, kind: AlertKind) -> int:
        return max((rule.value for rule in self.rules if rule.kind == kind), default=0)


class Watched(msgspec.Struct):
    """An account in a batch of decisions: `level` is what one of them left, the last unless all
    were clear. `floor`: what must be left of the total so that no rule is met."""

    rules: RuleSet
    price: OveragePrice | None = None
    level: Level = Level(0, 0, 0)
    is_clear: bool = True
    floor: int = 0


NO_RULES: Final = RuleSet()


def parse_rules(rows: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Rules as they are stored."""
    return tuple(msgspec.convert(list(rows), list[Rule]))


def as_rows(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    return [
        {
            "kind": str(rule.kind),
            **({"value": rule.value} if rule.kind in BOUNDS else {}),
            **({"currency": rule.currency} if rule.currency else {}),
        }
        for rule in rules
    ]


def check_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules, each once. Raises InvalidInputError that names the rule and what is allowed."""
    if len(rules) > MAX_RULES:
        raise InvalidInputError(f"At most {MAX_RULES} rules.", field="rules")
    for number, rule in enumerate(rules):
        _check(rule, f"rules.{number}")
    return tuple(dict.fromkeys(rules))


def _check(rule: Rule, field: str) -> None:
    bounds = BOUNDS.get(rule.kind)
    if bounds is None and rule.value:
        raise InvalidInputError(f"{rule.kind} has no value.", field=f"{field}.value")
    if bounds is not None and not bounds.least <= rule.value <= bounds.most:
        raise InvalidInputError(
            f"{rule.kind}: value must be from {bounds.least:,} to {bounds.most:,}"
            f" ({bounds.meaning}), not {rule.value:,}.",
            field=f"{field}.value",
        )
    needs_currency = rule.kind == AlertKind.OVERAGE_SPENT
    if needs_currency and rule.currency not in CURRENCIES:
        raise InvalidInputError(
            "overage_spent needs a currency, such as USD.", field=f"{field}.currency"
        )
    if rule.currency and not needs_currency:
        raise InvalidInputError(f"{rule.kind} has no currency.", field=f"{field}.currency")

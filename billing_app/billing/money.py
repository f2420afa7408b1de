"""Money in integer minor units of an ISO currency. The one place that rounds an amount."""

from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import SQLColumnExpression

from billing_app.billing.currencies import CURRENCIES, exponent_of, step_of
from billing_app.billing.errors import InvalidInputError

Number = TypeVar("Number", int, SQLColumnExpression[int])


@dataclass(frozen=True, slots=True)
class Money:
    """Two amounts are added or compared only in the same currency: else ValueError."""

    minor: int
    currency: str

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._minor_of(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._minor_of(other)

    def __le__(self, other: "Money") -> bool:
        return self.minor <= self._minor_of(other)

    def __str__(self) -> str:
        """`1,234.50 USD`; a negative amount starts with its sign."""
        exponent = exponent_of(self.currency)
        sign = "-" if self.minor < 0 else ""
        whole, rest = divmod(abs(self.minor), 10**exponent)
        decimals = f".{rest:0{exponent}d}" if exponent else ""
        return f"{sign}{whole:,}{decimals} {self.currency.upper()}"

    def share_rounded_down(self, part: int, whole: int) -> "Money":
        """`part / whole` of it, rounded down to what the currency can charge: a credit is never
        more than what was paid. 0 <= part <= whole, whole > 0."""
        minor = share_rounded_down(self.minor, part, whole)
        return Money(minor - minor % step_of(self.currency), self.currency)

    def _minor_of(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self} and {other} have different currencies.")
        return other.minor


def share_rounded_down(amount_minor: int, part: int, whole: int) -> int:
    """`amount * part / whole`, rounded down. 0 <= part <= whole, whole > 0."""
    assert 0 <= part <= whole
    assert whole > 0
    return amount_minor * part // whole


def cost_of_units_begun(quantity: Number, unit: Number, unit_price_minor: Number) -> Number:
    """Units rounded up, times the price of each: for numbers, or for columns of a query.
    quantity >= 0, unit > 0."""
    return (quantity + unit - 1) // unit * unit_price_minor


def check_currency(currency: str) -> None:
    """Raises InvalidInputError."""
    if currency not in CURRENCIES:
        raise InvalidInputError(f"{currency} is not a supported currency.", field="currency")


def check_chargeable(price: Money, *, field: str) -> None:
    """Raises InvalidInputError unless the currency can charge the amount."""
    step = step_of(price.currency)
    if price.minor % step:
        detail = f"{price.currency} amounts must be multiples of {step} minor units."
        raise InvalidInputError(detail, field=field)

"""Money in integer minor units: what a price costs, and the only place that rounds.

Amounts are rounded half away from zero, once per invoice line. Everything before that is exact
(Fraction), so prorations are exact to the second.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from billing_app.stripe_sandbox.errors import Json, invalid

ZERO_DECIMAL = frozenset(
    [
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "ugx",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    ]
)
# Minor units are thousandths, whose last digit must be 0 (docs.stripe.com/currencies).
THREE_DECIMAL = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
MINIMUM_CHARGE = {"gbp": 30, "jpy": 50}
_DEFAULT_MINIMUM = 50
_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def minimum_charge(currency: str) -> int:
    """The smallest amount that is charged; smaller ones are carried over in the balance."""
    return MINIMUM_CHARGE.get(currency, _DEFAULT_MINIMUM)


def check_last_digit(amount: int, currency: str) -> None:
    """Raises ApiError for an amount that card networks can't charge or refund."""
    if currency in THREE_DECIMAL and amount % 10:
        raise invalid(
            f"Amounts in {currency.upper()} must be rounded to the nearest ten: the last digit"
            " must be 0.",
            param="amount",
        )


def round_minor(amount: Fraction) -> int:
    """Half away from zero."""
    whole = int(abs(amount) + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def share(amount: int, part_seconds: int, whole_seconds: int) -> int:
    """The share of an amount for a part of its period, rounded once."""
    if whole_seconds <= 0:
        return 0
    return round_minor(Fraction(amount * max(part_seconds, 0), whole_seconds))


def text(amount: int, currency: str) -> str:
    """`$12.34`, `¥500`, `12.34 SEK`, `1.500 KWD`."""
    exponent = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    sign = "-" if amount < 0 else ""
    figure = f"{abs(amount) / 10**exponent:,.{exponent}f}"
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{figure}" if symbol else f"{sign}{figure} {currency.upper()}"


def price_amount(price: Json, quantity: int | Decimal) -> int:
    """What `quantity` units of a price cost."""
    units = _transformed(price, Fraction(quantity))
    return round_minor(Fraction(price["unit_amount_decimal"] or "0") * units)


def _transformed(price: Json, units: Fraction) -> Fraction:
    rule = price.get("transform_quantity")
    if not rule:
        return units
    packages = units / rule["divide_by"]
    floor = packages.numerator // packages.denominator
    return Fraction(floor + (1 if rule["round"] == "up" and packages > floor else 0))


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Splits an amount in proportion to the weights; the parts add up to it exactly."""
    whole = sum(weights)
    if whole <= 0:
        return [0 for _ in weights]
    parts = [amount * weight // whole for weight in weights]
    remainders = sorted(range(len(weights)), key=lambda i: (-(amount * weights[i] % whole), i))
    for index in remainders[: amount - sum(parts)]:
        parts[index] += 1
    return parts

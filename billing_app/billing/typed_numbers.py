"""Amounts and counts as people type them: read exactly, or refused. Nothing is guessed.

A comma separates thousands (`4,990.00`) or is the decimal mark (`49,90`, `4.990,00`).
"""

import re
from typing import Final

from billing_app.billing.currencies import exponent_of
from billing_app.billing.errors import InvalidInputError

MAX_WHOLE_DIGITS: Final = 12
MAX_COUNT_DIGITS: Final = 14
NOTATIONS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<whole>[0-9]+)(\.(?P<decimals>[0-9]*))?",
        r"(?P<whole>[1-9][0-9]{0,2}(,[0-9]{3})+)(\.(?P<decimals>[0-9]*))?",
        r"(?P<whole>[0-9]+),(?P<decimals>[0-9]+)",
        r"(?P<whole>[1-9][0-9]{0,2}(\.[0-9]{3})+),(?P<decimals>[0-9]+)",
    )
)
# Thousands to one reader, three decimals to another.
UNCLEAR: Final = re.compile(r"(?P<whole>[1-9][0-9]{0,2})(?P<mark>[,.])(?P<rest>[0-9]{3})")
COUNT: Final = re.compile(r"[0-9]+|[1-9][0-9]{0,2}(,[0-9]{3})+|[1-9][0-9]{0,2}( [0-9]{3})+")


def minor_units(typed: str, currency: str) -> int | None:
    """`1,234.50` and `1234,50` in minor units, exactly; None when it is not an amount of that
    currency, or could be two."""
    text, exponent = typed.strip(), exponent_of(currency)
    if _is_unclear(text, exponent):
        return None
    for notation in NOTATIONS:
        match = notation.fullmatch(text)
        if match is None:
            continue
        whole = match["whole"].replace(",", "").replace(".", "")
        decimals = match["decimals"] or ""
        if len(whole) <= MAX_WHOLE_DIGITS and len(decimals) <= exponent:
            return int(whole + decimals.ljust(exponent, "0"))
    return None


def typed_amount(typed: str, currency: str, *, field: str) -> int:
    """In minor units. Raises InvalidInputError, with both readings of an amount that has two."""
    amount_minor = minor_units(typed, currency)
    if amount_minor is not None:
        return amount_minor
    text, exponent = typed.strip(), exponent_of(currency)
    match = UNCLEAR.fullmatch(text)
    if match is not None and _is_unclear(text, exponent):
        whole, rest, zeros = match["whole"], match["rest"], "0" * exponent
        detail = (
            f"{text} could mean {whole},{rest}.{zeros} or {whole}.{rest}."
            f" Enter {whole}{rest}.{zeros} for the first."
        )
    else:
        detail = f"Enter an amount in {currency}, for example {_example(exponent)}."
    raise InvalidInputError(detail, field=field)


def typed_count(typed: str, *, max_digits: int = MAX_COUNT_DIGITS) -> int | None:
    """`1,234` and `1 234` as a whole number; None when it is not one, or is too long."""
    text = typed.strip()
    digits = text.replace(",", "").replace(" ", "")
    return int(digits) if COUNT.fullmatch(text) and len(digits) <= max_digits else None


def _is_unclear(text: str, exponent: int) -> bool:
    """Three decimals make a dot the decimal mark; none make a comma one of thousands."""
    match = UNCLEAR.fullmatch(text)
    if match is None or exponent == 0:
        return False
    return match["mark"] == "," or exponent < len(match["rest"])


def _example(exponent: int) -> str:
    return f"29.{'0' * exponent}" if exponent else "29"

"""Money: integer minor units and an ISO currency. The one place that rounds, and says which way."""

import re
from typing import Final

DEFAULT_EXPONENT: Final = 2
WITHOUT_DECIMALS: Final = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF"
WITH_THREE_DECIMALS: Final = "BHD JOD KWD OMR TND"
AMOUNT: Final = re.compile(r"(?P<whole>[0-9]{1,12})(\.(?P<decimals>[0-9]*))?", re.ASCII)
EXPONENTS: Final[dict[str, int]] = {
    **{str(code): 0 for code in WITHOUT_DECIMALS.split()},
    **{str(code): 3 for code in WITH_THREE_DECIMALS.split()},
}


def exponent_of(currency: str) -> int:
    """Decimal places of the minor unit (docs.stripe.com/currencies)."""
    return EXPONENTS.get(currency.upper(), DEFAULT_EXPONENT)


def share_rounded_down(amount_minor: int, part: int, whole: int) -> int:
    """`amount * part / whole`, rounded down: what is given back is never more than was paid.

    0 <= part <= whole, whole > 0.
    """
    assert 0 <= part <= whole
    assert whole > 0
    return amount_minor * part // whole


def minor_units(amount: str, currency: str) -> int | None:
    """`1,234.50` as minor units, exactly; None when it is no amount of that currency."""
    exponent = exponent_of(currency)
    found = AMOUNT.fullmatch(amount.strip().replace(",", ""))
    if found is None or len(found["decimals"] or "") > exponent:
        return None
    return int(found["whole"] + (found["decimals"] or "").ljust(exponent, "0"))


def in_words(amount_minor: int, currency: str) -> str:
    """`1,234.50 USD`; a negative amount has its sign in front."""
    exponent = exponent_of(currency)
    sign = "-" if amount_minor < 0 else ""
    whole, rest = divmod(abs(amount_minor), 10**exponent)
    decimals = f".{rest:0{exponent}d}" if exponent else ""
    return f"{sign}{whole:,}{decimals} {currency.upper()}"

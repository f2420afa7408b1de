"""Which currencies an offer may have, and which amounts of them can be charged.

ISO 4217 codes that Stripe charges (docs.stripe.com/currencies). UGX is left out: its amounts are
said to have no decimals in one place and two in another.
"""

from typing import Final

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.money import EXPONENTS

CODES: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD"
    " CDF CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ"
    " GYD HKD HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR"
    " LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB"
    " PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD STN SZL THB"
    " TJS TND TOP TRY TTD TWD TZS UAH USD UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW"
)
CURRENCIES: Final = frozenset(CODES.split())
# Amounts must be multiples of so many minor units: the króna has no part of it that can be paid,
# and of three decimals the last is not charged.
STEPS: Final[dict[str, int]] = {
    "ISK": 100,
    **{code: 10 for code, exponent in EXPONENTS.items() if exponent == 3},
}


def check_currency(currency: str) -> None:
    """Raises InvalidInputError."""
    if currency not in CURRENCIES:
        raise InvalidInputError(f"{currency} is no currency that can be charged.", field="currency")


def check_chargeable(amount_minor: int, currency: str, *, field: str) -> None:
    """Raises InvalidInputError unless the amount is one that the currency has."""
    step = STEPS.get(currency, 1)
    if amount_minor % step:
        raise InvalidInputError(f"{currency} is charged in steps of {step}.", field=field)


def chargeable(amount_minor: int, currency: str) -> int:
    """The amount, rounded down to one that the currency has."""
    return amount_minor - amount_minor % STEPS.get(currency, 1)

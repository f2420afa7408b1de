"""Currencies that an offer can have: how many decimals each has, and which amounts can be charged.

ISO 4217 codes that Stripe charges (docs.stripe.com/currencies). UGX is left out: Stripe documents
it without decimals in one place and with two in another.
"""

from typing import Final

CODES: Final = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD"
    " CDF CHF CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ"
    " GYD HKD HNL HTG HUF IDR ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR"
    " LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB"
    " PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE SOS SRD STN SZL THB"
    " TJS TND TOP TRY TTD TWD TZS UAH USD UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW"
)
CURRENCIES: Final = frozenset(CODES.split())
DEFAULT_EXPONENT: Final = 2
WITHOUT_DECIMALS: Final = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF"
WITH_THREE_DECIMALS: Final = "BHD JOD KWD OMR TND"
EXPONENTS: Final[dict[str, int]] = {
    **dict.fromkeys(WITHOUT_DECIMALS.split(), 0),
    **dict.fromkeys(WITH_THREE_DECIMALS.split(), 3),
}
# Minor units that can be charged come in steps: the króna has no smaller part in use, and the last
# of three decimals is always zero.
STEPS: Final[dict[str, int]] = {"ISK": 100, **dict.fromkeys(WITH_THREE_DECIMALS.split(), 10)}


def exponent_of(currency: str) -> int:
    """Decimal places of the minor unit."""
    return EXPONENTS.get(currency.upper(), DEFAULT_EXPONENT)


def step_of(currency: str) -> int:
    return STEPS.get(currency, 1)

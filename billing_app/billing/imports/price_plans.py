"""What the prices of a payment provider's account become: which offers, with how many executions.

The executions of a price come from the mapping file, or from the metadata of the price or of its
product. Pure.
"""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from billing_app.billing.currencies import CURRENCIES
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.imports.foreign import ForeignPrice, ForeignProduct
from billing_app.billing.offers.catalogue import MAX_NAME_LENGTH, OfferTerms, OfferView, check_terms
from billing_app.billing.quantities import counted
from billing_app.billing.staff.catalogue.publishing import CODE
from billing_app.db.enums import Interval

INTERVALS: Final = {Interval.MONTH.value: Interval.MONTH, Interval.YEAR.value: Interval.YEAR}
MAX_SLUG_LENGTH: Final = 48
MAX_DESCRIPTION_LENGTH: Final = 1_000
MAX_DIGITS: Final = 13


class PriceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`offer`: the code of an offer of the catalogue that the price belongs to, or of a new one."""

    executions: int | None = None
    offer: str | None = None


class PriceMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file. `used`: executions used in the current period, by customer."""

    prices: dict[str, PriceEntry] = {}
    used: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class SoldOffer:
    """An offer of the catalogue. `has_price`: the provider has a price of its newest version."""

    newest: OfferView
    has_price: bool


@dataclass(frozen=True, slots=True)
class PricePlan:
    """What becomes of a price. `problem` not "": nothing, and why. `version_id`: of an offer that
    is known; None: it is made with `terms`. `is_linked`: the offer has this price already.
    `on_sale`: the provider still sells it."""

    price: ForeignPrice
    problem: str = ""
    code: str = ""
    terms: OfferTerms | None = None
    version_id: int | None = None
    is_linked: bool = False
    on_sale: bool = True


def read_map(text: str) -> PriceMap:
    """Raises InvalidInputError."""
    try:
        given = msgspec.convert(tomllib.loads(text), PriceMap)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidInputError(f"The mapping file is not valid: {error}.") from None
    if any(used < 0 for used in given.used.values()):
        raise InvalidInputError("The mapping file is not valid: used must not be negative.")
    return given


def plan_prices(
    found: Sequence[tuple[ForeignPrice, ForeignProduct]],
    price_map: PriceMap,
    *,
    linked: Mapping[str, OfferView],
    catalogue: Mapping[str, SoldOffer],
    executions_key: str,
) -> dict[str, PricePlan]:
    """By price id. `linked`: the offers that known prices belong to, `catalogue`: all offers by
    code. The same input gives the same plan."""
    plans: dict[str, PricePlan] = {}
    taken = set(catalogue)
    for price, product in sorted(found, key=lambda pair: pair[0].price_id):
        entry = price_map.prices.get(price.price_id, PriceEntry())
        known = linked.get(price.price_id)
        if known is not None:
            plan = _known(price, known)
        else:
            plan = _plan(price, product, entry, executions_key, catalogue, taken)
        if not plan.problem:
            taken.add(plan.code)
        plans[price.price_id] = plan
    return plans


def _known(price: ForeignPrice, offer: OfferView) -> PricePlan:
    return PricePlan(
        price, code=offer.code, terms=_terms_of(offer), version_id=offer.version_id, is_linked=True
    )


def _plan(
    price: ForeignPrice,
    product: ForeignProduct,
    entry: PriceEntry,
    executions_key: str,
    catalogue: Mapping[str, SoldOffer],
    taken: Collection[str],
) -> PricePlan:
    named = catalogue.get(entry.offer or "")
    problem = _unsupported(price)
    if problem or named is not None:
        return (
            _attached(price, entry, named) if named and not problem else PricePlan(price, problem)
        )
    try:
        terms = _terms(price, product, _executions(price, product, entry, executions_key))
        check_terms(terms)
        code = _new_code(entry.offer, taken) if entry.offer else _code(price, terms, taken)
    except InvalidInputError as error:
        return PricePlan(price, str(error))
    return PricePlan(price, code=code, terms=terms, on_sale=price.is_active and product.is_active)


def _unsupported(price: ForeignPrice) -> str:
    reasons = (
        (price.is_metered, "it is metered"),
        (price.is_tiered, "it has tiers"),
        (price.counts_packages, "it is for packages of units"),
        (price.unit_amount_minor is None, "its amount is not a whole number of minor units"),
        (
            price.interval not in INTERVALS or price.interval_count != 1,
            f"it is billed every {price.interval_count} {price.interval}",
        ),
        (price.currency not in CURRENCIES, f"{price.currency} is not a supported currency"),
    )
    return next((reason for is_so, reason in reasons if is_so), "")


def _attached(price: ForeignPrice, entry: PriceEntry, named: SoldOffer) -> PricePlan:
    """The price becomes that of an offer's newest version, which must sell the same."""
    offer = named.newest
    theirs = (price.unit_amount_minor, price.currency, price.interval)
    if theirs != (offer.price_minor, offer.currency, offer.interval.value):
        return PricePlan(price, f"offer {offer.code} has another price, currency or interval")
    if entry.executions not in (None, offer.executions):
        return PricePlan(price, f"offer {offer.code} has {counted(offer.executions, 'execution')}")
    if named.has_price:
        return PricePlan(price, f"offer {offer.code} has another price at Stripe")
    if offer.overage is not None:
        return PricePlan(price, f"offer {offer.code} has overage, which needs a price of its own")
    return PricePlan(price, code=offer.code, terms=_terms_of(offer), version_id=offer.version_id)


def _executions(price: ForeignPrice, product: ForeignProduct, entry: PriceEntry, key: str) -> int:
    """Raises InvalidInputError."""
    found = entry.executions
    if found is None:
        found = whole_number(price.metadata.get(key) or product.metadata.get(key) or "")
    if found is None:
        raise InvalidInputError(
            f"its executions are not known: set the metadata {key} of the price or its product,"
            " or name it in the mapping file"
        )
    return found


def _new_code(code: str, taken: Collection[str]) -> str:
    """Raises InvalidInputError."""
    if code in taken:
        raise InvalidInputError(f"offer {code} is named by another price too")
    if not CODE.fullmatch(code):
        raise InvalidInputError(f"{code} cannot be the code of an offer")
    return code


def _terms(price: ForeignPrice, product: ForeignProduct, executions: int) -> OfferTerms:
    assert price.unit_amount_minor is not None
    return OfferTerms(
        name=product.name.strip()[:MAX_NAME_LENGTH],
        description=product.description[:MAX_DESCRIPTION_LENGTH],
        executions=executions,
        price_minor=price.unit_amount_minor,
        currency=price.currency,
        interval=INTERVALS[price.interval],
    )


def _terms_of(offer: OfferView) -> OfferTerms:
    return OfferTerms(
        name=offer.name,
        description=offer.description,
        executions=offer.executions,
        price_minor=offer.price_minor,
        currency=offer.currency,
        interval=offer.interval,
    )


def _code(price: ForeignPrice, terms: OfferTerms, taken: Collection[str]) -> str:
    yearly = "-yearly" if terms.interval is Interval.YEAR else ""
    candidates = (_slug(price.lookup_key), _slug(f"{terms.name}{yearly}"))
    free = next((each for each in candidates if each and each not in taken), None)
    return free or _slug(f"{terms.name[:20]} {price.price_id}"[-MAX_SLUG_LENGTH:])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:MAX_SLUG_LENGTH].strip("-")


def whole_number(text: str) -> int | None:
    """None: it is none of up to 13 digits."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return int(text) if is_number else None

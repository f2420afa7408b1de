"""The catalogue as a TOML file: a table for each offer, with the draft's terms. Pure.

[offers.starter]
revision = 3
name = "Starter"
executions = 5000
price_minor = 1900
currency = "USD"
interval = "month"
"""

import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec
import tomli_w

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms
from billing_app.billing.staff.catalogue.drafts import DraftFields, check_draft
from billing_app.db.enums import Interval

TABLE: Final = "offers"


@dataclass(frozen=True, slots=True)
class FileOffer:
    """An offer in a file. `revision` is the draft that the terms were read from; None: whatever
    is there is replaced."""

    code: str
    fields: DraftFields
    revision: int | None = None
    is_archived: bool = False


class _Overage(msgspec.Struct, forbid_unknown_fields=True):
    unit_price_minor: int
    unit_executions: int = 1
    limit_executions: int | None = None


class _Offer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    executions: int
    price_minor: int
    currency: str
    interval: Interval
    description: str = ""
    revision: int | None = None
    trial_days: int = 0
    valid_days: int | None = None
    priority: int | None = None
    position: int = 0
    visible: bool = True
    archived: bool = False
    overage: _Overage | None = None


class _Catalogue(msgspec.Struct, forbid_unknown_fields=True):
    offers: dict[str, Any]


def dumps(offers: Iterable[FileOffer]) -> str:
    """In the given order; `loads` returns the same offers."""
    return tomli_w.dumps({TABLE: {offer.code: _table(offer) for offer in offers}})


def loads(text: str) -> list[FileOffer]:
    """In the file's order. Raises InvalidInputError, which names the offer."""
    try:
        parsed: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"The file is not valid TOML: {error}.") from None
    try:
        tables = msgspec.convert(parsed, _Catalogue).offers
    except msgspec.ValidationError:
        raise InvalidInputError(
            f"The file must have a table [{TABLE}.CODE] for each offer, and nothing else."
        ) from None
    return [_offer(code, table) for code, table in tables.items()]


def _table(offer: FileOffer) -> dict[str, Any]:
    terms, overage = offer.fields.terms, offer.fields.terms.overage
    values = {
        "revision": offer.revision,
        "name": terms.name,
        "description": terms.description,
        "executions": terms.executions,
        "price_minor": terms.price_minor,
        "currency": terms.currency,
        "interval": terms.interval.value,
        "trial_days": terms.trial_days,
        "valid_days": terms.valid_days,
        "priority": terms.priority,
        "position": offer.fields.position,
        "visible": offer.fields.visible,
        "archived": offer.is_archived,
        "overage": _present(asdict(overage)) if overage else None,
    }
    return _present(values)


def _present(values: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null."""
    return {name: value for name, value in values.items() if value is not None}


def _offer(code: str, table: Any) -> FileOffer:
    try:
        given = msgspec.convert(table, _Offer)
        fields = check_draft(_fields(given))
    except (msgspec.ValidationError, InvalidInputError) as error:
        raise InvalidInputError(f"{TABLE}.{code}: {error}") from None
    return FileOffer(code, fields, given.revision, given.archived)


def _fields(given: _Offer) -> DraftFields:
    overage = given.overage
    terms = OfferTerms(
        name=given.name,
        description=given.description,
        executions=given.executions,
        price_minor=given.price_minor,
        currency=given.currency,
        interval=given.interval,
        overage=OverageTerms(
            overage.unit_price_minor, overage.unit_executions, overage.limit_executions
        )
        if overage
        else None,
        valid_days=given.valid_days,
        priority=given.priority,
        trial_days=given.trial_days,
    )
    return DraftFields(terms, given.position, given.visible)

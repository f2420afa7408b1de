"""Converts offers between the console's form and the catalogue's terms."""

from typing import Any, Final

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import OfferTerms, OfferView, OverageTerms
from billing_app.billing.staff.catalogue.drafts import Change, DraftFields
from billing_app.billing.staff.catalogue.offers import OfferRow, OfferState, VersionRow
from billing_app.billing.typed_numbers import typed_amount, typed_count
from billing_app.db.enums import Interval
from billing_app.states import formatting
from billing_app.states.payments import PurchaseState, offer_item
from billing_app.states.staff.views import ChangeLine, OfferLine, VersionLine
from billing_app.states.views import OfferItem

Form = dict[str, str]
STATES: Final = {
    OfferState.DRAFT: ("Draft", "warning"),
    OfferState.PUBLISHED: ("On sale", "good"),
    OfferState.ARCHIVED: ("Archived", ""),
}
EMPTY_FORM: Final[Form] = {
    "name": "",
    "description": "",
    "executions": "10000",
    "price": "29.00",
    "currency": "USD",
    "interval": Interval.MONTH.value,
    "trial_days": "0",
    "overage": "hard",
    "unit_price": "",
    "unit_executions": "1",
    "limit_executions": "",
    "valid_days": "",
    "priority": "",
    "position": "0",
    "visible": "yes",
}
EMPTY_PREVIEW: Final = OfferItem(*[""] * 10, is_current=False)
# What the catalogue calls fields of the form.
FORM_NAMES: Final = {
    "price_minor": "price",
    "overage_unit_price_minor": "unit_price",
    "overage_unit_executions": "unit_executions",
    "overage_limit_executions": "limit_executions",
}
FIELD_LABELS: Final = {
    "price_minor": "price",
    "overage_unit_price_minor": "overage price",
    "overage_unit_executions": "overage unit",
    "overage_limit_executions": "overage limit",
    "visible": "visibility",
    "position": "list position",
}


def fields_of(form: Form) -> DraftFields:
    """The fields of the form. Raises InvalidInputError naming the field."""
    interval, currency = form.get("interval", ""), form.get("currency", "").strip().upper()
    if interval not in set(Interval):
        raise InvalidInputError("Choose monthly, yearly or one-time.", field="interval")
    is_soft = form.get("overage") == "soft" and interval != Interval.ONCE
    overage = None
    if is_soft:
        overage = OverageTerms(
            unit_price_minor=_money(form, "unit_price", "Overage price", currency),
            unit_executions=_number(form, "unit_executions", "Overage unit (executions)"),
            limit_executions=_maybe(form, "limit_executions", "Overage limit"),
        )
    is_pack = interval == Interval.ONCE
    terms = OfferTerms(
        name=form.get("name", ""),
        description=form.get("description", ""),
        executions=_number(form, "executions", "Executions"),
        price_minor=_money(form, "price", "Price", currency),
        currency=currency,
        interval=Interval(interval),
        overage=overage,
        valid_days=_maybe(form, "valid_days", "Valid for (days)") if is_pack else None,
        priority=_maybe(form, "priority", "Order of use"),
        trial_days=0 if is_pack else _maybe(form, "trial_days", "Trial days") or 0,
    )
    position = _maybe(form, "position", "List position") or 0
    return DraftFields(terms, position, form.get("visible") == "yes")


def form_of(fields: DraftFields) -> Form:
    """The form with these fields."""
    terms, overage = fields.terms, fields.terms.overage
    return {
        "name": terms.name,
        "description": terms.description,
        "executions": str(terms.executions),
        "price": formatting.typed_money(terms.price_minor, terms.currency),
        "currency": terms.currency,
        "interval": terms.interval.value,
        "trial_days": str(terms.trial_days),
        "overage": "soft" if overage else "hard",
        "unit_price": formatting.typed_money(overage.unit_price_minor, terms.currency)
        if overage
        else "",
        "unit_executions": str(overage.unit_executions) if overage else "1",
        "limit_executions": _text(overage.limit_executions) if overage else "",
        "valid_days": _text(terms.valid_days),
        "priority": _text(terms.priority),
        "position": str(fields.position),
        "visible": "yes" if fields.visible else "no",
    }


def merged(base: Form, *, mine: Form, theirs: Form) -> Form:
    """Theirs, with the fields that differ from `base` in mine."""
    return {name: mine[name] if mine[name] != base[name] else theirs[name] for name in theirs}


def preview(fields: DraftFields) -> OfferItem:
    """The card as a new customer would see it."""
    terms = fields.terms
    offer = OfferView(
        code="preview",
        version=0,
        version_id=0,
        name=terms.name or "No name yet",
        description=terms.description,
        executions=terms.executions,
        price_minor=terms.price_minor,
        currency=terms.currency,
        interval=terms.interval,
        overage=terms.overage,
        valid_days=terms.valid_days,
        priority=terms.priority or 0,
        trial_days=terms.trial_days,
    )
    return offer_item(offer, PurchaseState(subscription=None, checkout=None))


def offer_line(row: OfferRow) -> OfferLine:
    state, tone = STATES[row.state]
    terms = row.draft.fields.terms
    return OfferLine(
        code=row.code,
        name=terms.name,
        state=state,
        tone=tone,
        position=formatting.number(row.position),
        version=str(row.version) if row.version else "—",
        price=formatting.money(terms.price_minor, terms.currency),
        interval=_interval(terms),
        executions=formatting.number(terms.executions),
        accounts=formatting.number(row.accounts),
        has_edits=row.has_edits and row.state is not OfferState.DRAFT,
    )


def version_line(row: VersionRow) -> VersionLine:
    terms = row.terms
    return VersionLine(
        version=str(row.version),
        name=terms.name,
        price=f"{formatting.money(terms.price_minor, terms.currency)} {_interval(terms)}",
        executions=formatting.number(terms.executions),
        published=formatting.moment(row.published_at),
        price_id=row.price_id or "",
        accounts=formatting.number(row.accounts),
    )


def change_lines(changes: Any) -> list[ChangeLine]:
    """The changes of others, beside what was to be saved."""
    found: list[Change] = list(changes) if isinstance(changes, list) else []
    return [
        ChangeLine(
            field=FIELD_LABELS.get(change.field, change.field.replace("_", " ")).capitalize(),
            before=_shown(change.before),
            theirs=_shown(change.theirs),
            yours=_shown(change.yours) if change.yours != change.before else "not changed",
            by=f"{change.by}, {formatting.exact_moment(change.at)}",
        )
        for change in found
    ]


def _interval(terms: OfferTerms) -> str:
    return "once" if terms.interval is Interval.ONCE else f"a {terms.interval}"


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return formatting.number(value) if isinstance(value, int) else str(value)


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _number(form: Form, name: str, what: str) -> int:
    count = typed_count(form.get(name, ""))
    if count is None:
        raise InvalidInputError(f"{what}: enter a whole number.", field=name)
    return count


def _maybe(form: Form, name: str, what: str) -> int | None:
    return _number(form, name, what) if form.get(name, "").strip() else None


def _money(form: Form, name: str, what: str, currency: str) -> int:
    """An amount as people write it, `29.00`, in minor units: exact, never through a float."""
    try:
        return typed_amount(form.get(name, ""), currency or "USD", field=name)
    except InvalidInputError as error:
        detail = error.detail[:1].lower() + error.detail[1:]
        raise InvalidInputError(f"{what}: {detail}", field=name) from None

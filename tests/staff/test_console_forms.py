"""What people type into the console's forms becomes exact terms, or is refused by name."""

import pytest

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms
from billing_app.billing.staff.catalogue.drafts import DraftFields
from billing_app.db.enums import Interval
from billing_app.states.staff.offer_views import EMPTY_FORM, fields_of, form_of, merged, preview

SOFT = OverageTerms(unit_price_minor=15, unit_executions=100, limit_executions=5_000)


@pytest.mark.parametrize(
    "fields",
    [
        DraftFields(OfferTerms("A", "b", 10, 1_999, "USD", Interval.MONTH), 3, visible=False),
        DraftFields(OfferTerms("A", "", 10, 0, "JPY", Interval.YEAR, overage=SOFT, trial_days=14)),
        DraftFields(OfferTerms("A", "", 10, 1_005, "KWD", Interval.ONCE, valid_days=90)),
        DraftFields(OfferTerms("A", "", 10**12, 5, "EUR", Interval.MONTH, priority=7)),
    ],
)
def test_form_round_trips_to_the_same_fields(fields: DraftFields) -> None:
    assert fields_of(form_of(fields)) == fields


@pytest.mark.parametrize(
    ("price", "currency", "minor"),
    [
        ("29", "USD", 2_900),
        ("29.9", "USD", 2_990),
        ("1,234.05", "USD", 123_405),
        ("500", "JPY", 500),
    ],
)
def test_amount_is_exact(price: str, currency: str, minor: int) -> None:
    fields = fields_of(EMPTY_FORM | {"name": "A", "price": price, "currency": currency})
    assert fields.terms.price_minor == minor


@pytest.mark.parametrize("price", ["", "-1", "1.005", "1e3", "ten", "٣", "9" * 15, ".5", "1.2.3"])
def test_invalid_amount_names_the_field(price: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        fields_of(EMPTY_FORM | {"price": price})
    assert refused.value.extensions == {"field": "price"}


@pytest.mark.parametrize("executions", ["", "-5", "1.5", "1" * 15])
def test_invalid_number_names_the_field(executions: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        fields_of(EMPTY_FORM | {"executions": executions})
    assert refused.value.extensions == {"field": "executions"}


def test_merge_takes_what_was_changed_here_and_leaves_the_rest() -> None:
    base = EMPTY_FORM | {"name": "Team"}
    theirs = base | {"name": "Theirs", "price": "45.00", "description": "New"}
    mine = base | {"name": "Mine", "executions": "500"}
    assert merged(base, mine=mine, theirs=theirs) == theirs | {"name": "Mine", "executions": "500"}
    assert merged(base, mine=base, theirs=theirs) == theirs
    assert merged(base, mine=mine, theirs=base) == mine


def test_card_shows_the_terms() -> None:
    terms = OfferTerms("Team", "For a team", 9_000, 3_950, "USD", Interval.MONTH, overage=SOFT)
    card = preview(DraftFields(terms))
    assert (card.price, card.interval, card.executions, card.action) == (
        "$39.50",
        "/ month",
        "9,000 executions a month",
        "Choose Team",
    )
    assert (card.unit_price, card.beyond) == (
        "$4.38 per 1,000",
        "Then $0.15 per 100 executions",
    )

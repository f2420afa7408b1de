"""The catalogue as a TOML file: what is written is what is read, and bad files name the offer."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms
from billing_app.billing.staff.catalogue.drafts import DraftFields
from billing_app.billing.staff.catalogue.offer_files import FileOffer, dumps, loads
from billing_app.db.enums import Interval

STARTER = """
[offers.starter]
revision = 3
name = "Starter"
executions = 5000
price_minor = 1900
currency = "USD"
interval = "month"
"""
# What check_draft leaves as it is.
NAMES = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
    .map(str.strip)
    .filter(bool)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)
CODES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20)
COUNTS = st.integers(1, 10**12)
PRICES = st.integers(0, 99_999_999)


@st.composite
def file_offers(draw: Any) -> FileOffer:
    interval = draw(st.sampled_from(Interval))
    is_pack = interval is Interval.ONCE
    overage = st.builds(OverageTerms, st.integers(1, 10**6), COUNTS, st.none() | COUNTS)
    terms = OfferTerms(
        name=draw(NAMES.filter(lambda name: len(name) <= 250)),
        description=draw(TEXTS),
        executions=draw(COUNTS),
        price_minor=draw(PRICES),
        currency=draw(st.sampled_from(["USD", "EUR", "JPY"])),
        interval=interval,
        overage=None if is_pack else draw(st.none() | overage),
        valid_days=draw(st.none() | st.integers(1, 3_650)) if is_pack else None,
        priority=draw(st.integers(1, 999)),
        trial_days=0 if is_pack else draw(st.integers(0, 730)),
    )
    fields = DraftFields(terms, draw(st.integers(0, 10**6)), draw(st.booleans()))
    revision = draw(st.none() | st.integers(0, 10**6))
    return FileOffer(draw(CODES), fields, revision, draw(st.booleans()))


@given(st.lists(file_offers(), max_size=5, unique_by=lambda offer: offer.code))
def test_what_is_written_is_what_is_read(offers: list[FileOffer]) -> None:
    assert loads(dumps(offers)) == offers


def test_short_file_has_the_defaults_of_the_console() -> None:
    [offer] = loads(STARTER)
    terms = offer.fields.terms
    assert (offer.code, offer.revision, offer.is_archived) == ("starter", 3, False)
    assert (terms.description, terms.trial_days, terms.priority) == ("", 0, 100)
    assert (terms.overage, terms.valid_days, offer.fields.visible) == (None, None, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[offers.starter", "not valid TOML"),
        ("x = 1", "[offers.CODE]"),
        ("", "[offers.CODE]"),
        ("offers = 3", "[offers.CODE]"),
        ("[offers]\nstarter = 3", "offers.starter: Expected `object`, got `int`"),
        (STARTER + "prize = 3", "offers.starter: Object contains unknown field `prize`"),
        (STARTER.replace("1900", "19.0"), "offers.starter: Expected `int`, got `float`"),
        (STARTER.replace("1900", "-1"), "offers.starter: price_minor must be from 0"),
        (STARTER.replace('"month"', '"week"'), "offers.starter: Invalid enum value 'week'"),
        (STARTER.replace("USD", "usd"), "offers.starter: usd is not a supported currency"),
        (STARTER.replace("executions = 5000\n", ""), "missing required field `executions`"),
        (STARTER.replace("5000", "9" * 40), "offers.starter: "),
    ],
)
def test_bad_file_is_refused_with_one_line_that_names_the_offer(text: str, problem: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        loads(text)
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)

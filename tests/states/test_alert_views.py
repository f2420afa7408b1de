"""Rules of alerts as people type them and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.alerts.links import LINKS
from billing_app.billing.alerts.rules import BOUNDS, Rule, check_rules
from billing_app.billing.errors import InvalidInputError
from billing_app.db.enums import AlertKind
from billing_app.states.alert_views import (
    FIELDS,
    KIND_NAMES,
    rule_form,
    rule_items,
    typed_rule,
)

COUNTED = sorted(set(FIELDS) - {AlertKind.OVERAGE_SPENT})


@pytest.mark.parametrize("kind", AlertKind)
def test_every_kind_has_words_and_a_form_that_suggests_a_valid_rule(kind: AlertKind) -> None:
    form = rule_form(kind, "EUR")
    rule = typed_rule(kind, form.value, form.currency)
    assert check_rules([rule]) == (rule,)
    (item,) = rule_items([rule])
    assert item.name == KIND_NAMES[kind]
    assert "{" not in item.when
    assert LINKS[kind].label
    again = rule_form(kind, "USD", rule)
    assert typed_rule(kind, again.value, again.currency) == rule


@given(kind=st.sampled_from(COUNTED), value=st.integers(0, 10**13))
def test_numbers_are_taken_exactly_within_bounds(kind: AlertKind, value: int) -> None:
    bounds = BOUNDS[kind]
    for typed in (str(value), f"{value:,}", f" {value} "):
        if bounds.least <= value <= bounds.most:
            assert typed_rule(kind, typed, "") == Rule(kind, value)
        else:
            with pytest.raises(InvalidInputError, match=f"{bounds.least:,} to {bounds.most:,}"):
                typed_rule(kind, typed, "")


@pytest.mark.parametrize("typed", ["0", "101", "100", "-5", "20.5", "twenty", "", "5%5", "1e1"])
def test_share_that_is_none_is_refused_in_words(typed: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        typed_rule(AlertKind.REMAINING_SHARE, typed, "")
    assert caught.value.detail == "Percent left: enter a whole number from 1 to 99."


@pytest.mark.parametrize(
    ("typed", "currency", "rule"),
    [
        ("1,250.50", "usd", Rule(AlertKind.OVERAGE_SPENT, 125_050, "USD")),
        ("500", "JPY", Rule(AlertKind.OVERAGE_SPENT, 500, "JPY")),
        ("20 EUR", "EUR", None),
        ("20", "Euro", None),
        ("20", "", None),
        ("20", "XYZ", None),
        ("0", "USD", None),
        ("99999999999999", "JPY", None),
        ("99999999999", "USD", None),
    ],
)
def test_amounts_need_a_currency(typed: str, currency: str, rule: Rule | None) -> None:
    if rule is not None:
        assert typed_rule(AlertKind.OVERAGE_SPENT, typed, currency) == rule
        return
    with pytest.raises(InvalidInputError):
        typed_rule(AlertKind.OVERAGE_SPENT, typed, currency)


def test_rules_are_listed_by_kind_and_value() -> None:
    rules = [
        Rule(AlertKind.PAYMENT_FAILED),
        Rule(AlertKind.REMAINING_SHARE, 50),
        Rule(AlertKind.REMAINING_SHARE, 5),
    ]
    assert [item.key for item in rule_items(rules)] == [
        "remaining_share:5",
        "remaining_share:50",
        "payment_failed",
    ]

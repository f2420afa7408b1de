"""Money: no arithmetic across currencies, rounding down for credits and up for units begun."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.money import Money, cost_of_units_begun


def test_currencies_do_not_mix() -> None:
    dollars, euros = Money(100, "USD"), Money(100, "EUR")
    assert dollars + Money(50, "USD") == Money(150, "USD")
    for mix in (lambda: dollars + euros, lambda: dollars < euros, lambda: dollars <= euros):
        with pytest.raises(ValueError, match="different currencies"):
            mix()


@pytest.mark.parametrize(
    ("currency", "expected"), [("USD", 333), ("JPY", 333), ("ISK", 300), ("KWD", 330)]
)
def test_share_is_rounded_down_to_a_chargeable_amount(currency: str, expected: int) -> None:
    assert Money(1_000, currency).share_rounded_down(1, 3) == Money(expected, currency)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Money(123_450, "USD"), "1,234.50 USD"),
        (Money(-5, "USD"), "-0.05 USD"),
        (Money(1_234, "JPY"), "1,234 JPY"),
        (Money(1_234, "KWD"), "1.234 KWD"),
    ],
)
def test_text_has_the_decimals_of_the_currency(amount: Money, text: str) -> None:
    assert str(amount) == text


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 10**4))
def test_begun_units_are_paid_in_full(quantity: int, unit: int, price_minor: int) -> None:
    cost_minor = cost_of_units_begun(quantity, unit, price_minor)
    assert cost_minor % price_minor == 0
    assert 0 <= cost_minor // price_minor * unit - quantity < unit

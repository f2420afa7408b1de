"""Amounts and counts as people type them: one reading, or refused; never a hundred times more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.currencies import exponent_of
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.typed_numbers import minor_units, typed_amount, typed_count
from billing_app.states.formatting import typed_money
from billing_app.states.spending_limits import LIMIT, TOP_UP, confirm_label

CURRENCIES = st.sampled_from(["USD", "EUR", "JPY", "KWD", "ISK"])


@pytest.mark.parametrize(
    ("typed", "currency", "minor"),
    [
        ("49,90", "USD", 4_990),
        ("58,00", "EUR", 5_800),
        ("50,0", "USD", 5_000),
        (" 4,990.00 ", "USD", 499_000),
        ("4,990.5", "USD", 499_050),
        ("4.990,00", "EUR", 499_000),
        ("1,234,567", "USD", 123_456_700),
        ("0,50", "USD", 50),
        ("0,500", "KWD", 500),
        ("1.234", "KWD", 1_234),
        ("1,23", "KWD", 1_230),
        ("1,234.5", "KWD", 1_234_500),
        ("1,234", "JPY", 1_234),
        ("29.", "USD", 2_900),
    ],
)
def test_amount_with_one_reading(typed: str, currency: str, minor: int) -> None:
    assert minor_units(typed, currency) == minor


@pytest.mark.parametrize(
    ("typed", "currency"),
    [
        ("12,34,567", "USD"),
        ("1,2345", "USD"),
        ("1,23.45", "USD"),
        ("01,234.00", "USD"),
        ("0,123", "USD"),
        ("4.990,000", "EUR"),
        ("1.234.567", "USD"),
        (",50", "USD"),
        ("58,", "USD"),
        ("1 234", "USD"),
        ("12,50", "JPY"),
        ("1.234", "JPY"),
        ("1,2345", "KWD"),
        ("$5", "USD"),
        ("-5", "USD"),
        ("1,234,567,890,123", "USD"),
    ],
)
def test_anything_else_is_refused(typed: str, currency: str) -> None:
    with pytest.raises(InvalidInputError, match=f"Enter an amount in {currency}, for example 29"):
        typed_amount(typed, currency, field="price")


@pytest.mark.parametrize(
    ("typed", "currency", "detail"),
    [
        ("1,234", "USD", "1,234 could mean 1,234.00 or 1.234. Enter 1234.00 for the first."),
        ("1.234", "USD", "1.234 could mean 1,234.00 or 1.234. Enter 1234.00 for the first."),
        ("1,234", "KWD", "1,234 could mean 1,234.000 or 1.234. Enter 1234.000 for the first."),
    ],
)
def test_two_readings_are_named(typed: str, currency: str, detail: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        typed_amount(typed, currency, field="price")
    assert (refused.value.detail, refused.value.extensions) == (detail, {"field": "price"})


@given(st.integers(0, 10**12 - 1), CURRENCIES)
def test_formatted_amount_is_read_back(amount_minor: int, currency: str) -> None:
    typed = typed_money(amount_minor, currency)
    assert minor_units(typed, currency) == amount_minor
    whole, dot, decimals = typed.partition(".")
    assert minor_units(f"{int(whole):,}{dot}{decimals}", currency) == amount_minor
    if exponent_of(currency) == 2:
        assert minor_units(f"{whole},{decimals}", currency) == amount_minor
        grouped = f"{int(whole):,}".replace(",", ".")
        assert minor_units(f"{grouped},{decimals}", currency) == amount_minor


@given(st.text("0123456789,.", max_size=12), CURRENCIES)
def test_no_mark_is_read_as_another(typed: str, currency: str) -> None:
    """The digits after the last mark are decimals, or a whole group of thousands."""
    amount_minor = minor_units(typed, currency)
    if amount_minor is None:
        return
    exponent = exponent_of(currency)
    last = max(typed.rfind(","), typed.rfind("."))
    digits, after = typed.replace(",", "").replace(".", ""), len(typed) - last - 1
    as_decimals = int(digits) * 10 ** (exponent - after) if last >= 0 and after <= exponent else -1
    as_whole = int(digits) * 10**exponent if last < 0 or after == 3 else -1
    assert amount_minor in {as_decimals, as_whole}


@pytest.mark.parametrize(
    ("typed", "count"),
    [("1,234", 1_234), ("1 234 567", 1_234_567), (" 50 ", 50), ("0", 0)],
)
def test_count_with_whole_thousands(typed: str, count: int) -> None:
    assert typed_count(typed) == count


@pytest.mark.parametrize("typed", ["2,5", "1,50", "1,2345", "1.000", "1 2", "1,234 567", "٣", ""])
def test_other_counts_are_refused(typed: str) -> None:
    assert typed_count(typed) is None


@pytest.mark.parametrize(
    ("kind", "typed", "label"),
    [
        (TOP_UP, "58,00", "Allow up to $58.00 a month"),
        (LIMIT, "50,00", "Save a limit of $50.00"),
        (LIMIT, "5,000", "Set limit"),
        (LIMIT, " ", "Use the plan's limit"),
        (TOP_UP, "", "Turn on"),
    ],
)
def test_button_repeats_the_amount(kind: str, typed: str, label: str) -> None:
    assert confirm_label(kind, typed, "USD") == label

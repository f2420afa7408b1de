"""Arrays that are sent as text round-trip, whatever text callers send."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.executions.driver import array
from tests.factories import connect

# Surrogates cannot be encoded, and control characters are refused before and in `array`.
texts = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0x20), max_size=12)
odd_texts = st.sampled_from(
    ["NULL", "null", "", " ", "{}", "a,b", '"', "\\", '\\"', "\\n", "\x7f", "é"]
)
control_characters = st.characters(max_codepoint=0x1F)


@given(values=st.lists(st.none() | odd_texts | texts, max_size=6))
def test_text_round_trips(database_url: str, values: list[object]) -> None:
    _assert_arrives(database_url, values, "text")


@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=6))
def test_integers_round_trip(database_url: str, values: list[object]) -> None:
    _assert_arrives(database_url, values, "bigint")


@given(values=st.lists(st.none() | st.datetimes(timezones=st.just(UTC)), max_size=6))
def test_times_round_trip(database_url: str, values: list[object]) -> None:
    _assert_arrives(database_url, values, "timestamptz")


@given(before=texts, control=control_characters, after=texts)
def test_control_characters_are_refused(before: str, control: str, after: str) -> None:
    with pytest.raises(InvalidInputError):
        array(["fine", before + control + after])


def _assert_arrives(url: str, values: list[object], kind: str) -> None:
    with connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        query = f"SELECT %s::text::{kind}[]"
        found = connection.execute(query, [array(values)]).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert found == (values,)

"""Ids round-trip, and nothing else is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing import ids

numbers = st.integers(0, ids.MAX_NUMBER)
prefixes = st.sampled_from([ids.EVENT, ids.PLAN, ids.RESERVATION])


@given(prefix=prefixes, account=numbers, number=numbers)
def test_ids_round_trip(prefix: str, account: int, number: int) -> None:
    text = ids.encode(prefix, account, number)
    assert ids.decode(prefix, text) == (account, number)
    assert text.startswith(f"{prefix}{account:016x}")


@given(account=numbers)
def test_account_ids_round_trip(account: int) -> None:
    assert ids.decode_account(ids.encode_account(account)) == account


@given(account=numbers, number=numbers)
def test_id_of_another_kind_is_none(account: int, number: int) -> None:
    event = ids.encode(ids.EVENT, account, number)
    assert ids.decode(ids.PLAN, event) is None
    assert ids.decode_account(event) is None
    assert ids.decode(ids.EVENT, ids.encode_account(account)) is None


@given(text=st.text(max_size=40))
def test_any_text_can_be_decoded(text: str) -> None:
    for prefix in ("", ids.EVENT, ids.ACCOUNT):
        ids.decode(ids.EVENT, prefix + text)
        ids.decode_account(prefix + text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evt_",
        "evt_" + "0" * 15,
        "evt_" + "0" * 16,
        "evt_" + "g" * 20,
        "evt_" + "F" * 20,
        "evt_" + "f" * 17,
        "evt_" + "0" * 16 + "f" * 16,
        "evt_" + "0" * 16 + "1" * 17,
        "evt_" + "0" * 16 + "1\n",
        "evt_" + "0" * 16 + "\u0661",  # a digit, but no ASCII one
        "EVT_" + "0" * 17,
    ],
)
def test_invalid_event_ids(text: str) -> None:
    assert ids.decode(ids.EVENT, text) is None


def test_new_account_numbers_are_positive_and_fit() -> None:
    drawn = {ids.new_account_number() for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(0 < number <= ids.MAX_NUMBER for number in drawn)
    assert len({ids.new_id("org_") for _ in range(1000)}) == 1000

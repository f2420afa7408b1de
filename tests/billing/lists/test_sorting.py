"""Pages of a list in memory: every row once, in order, whatever is added or removed meanwhile."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.lists.paging import encode_cursor
from billing_app.billing.lists.sorting import (
    INSTANT,
    NUMBER,
    TEXT,
    YES_NO,
    By,
    Key,
    Order,
    Sorting,
)

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class RowSort(StrEnum):
    ID = "id"
    NAME = "name"
    AT = "at"
    IS_OPEN = "is_open"


@dataclass(frozen=True)
class Row:
    id: int
    name: str
    at: datetime
    is_open: bool


_ID = Key(attrgetter("id"), NUMBER)
SORTING = Sorting(
    {
        RowSort.ID: _ID,
        RowSort.NAME: Key(attrgetter("name"), TEXT),
        RowSort.AT: Key(attrgetter("at"), INSTANT),
        RowSort.IS_OPEN: Key(attrgetter("is_open"), YES_NO),
    },
    ties=(_ID,),
    usual=By(RowSort.AT, descending=True),
)
FIELDS = st.tuples(
    st.integers(-(2**63), 2**63 - 1),
    st.text("aAß\U0001f600 \\\"'%_", max_size=3),
    st.integers(0, 3).map(lambda n: BEGAN + timedelta(microseconds=n)),
    st.booleans(),
)
ROWS = st.lists(FIELDS, max_size=25, unique_by=lambda row: row[0]).map(
    lambda rows: [Row(*row) for row in rows]
)
ORDERS = st.builds(By, st.sampled_from(RowSort), st.booleans())


@given(rows=ROWS, by=ORDERS, limit=st.integers(1, 30), data=st.data())
def test_every_row_is_listed_once_in_order(
    rows: list[Row], by: By[RowSort], limit: int, data: st.DataObject
) -> None:
    coming = data.draw(st.lists(st.sampled_from(rows), unique=True)) if rows else []
    there = [row for row in rows if row not in coming]
    stay = list(there)
    listed: list[Row] = []
    cursor = None
    while True:
        page = SORTING.span(by, limit=limit, cursor=cursor).cut(there)
        listed += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.items) == limit
        if coming:
            there.append(coming.pop())
    kept = [row for row in listed if row in stay]
    key = attrgetter(by.sort.value)
    assert kept == sorted(stay, key=lambda row: (key(row), row.id), reverse=by.descending)
    assert len(set(listed)) == len(listed)


def test_usual_order_is_the_default() -> None:
    span = SORTING.span(None, limit=5)
    assert (span.sort, span.descending) == ("at", True)
    assert By.of(RowSort.ID, Order.ASCENDING) == By(RowSort.ID)
    assert By.of(RowSort.ID, Order.DESCENDING) == By(RowSort.ID, descending=True)


@pytest.mark.parametrize(
    "place",
    [
        ["at", True, "2026-01-01T00:00:00", 1],
        ["at", True, "2026-01-01T00:00:00Z", 2**63],
        ["at", True, "2026-01-01T00:00:00Z", "1"],
        ["at", True, "2026-01-01T00:00:00Z"],
        ["at", True, "2026-01-01T00:00:00Z", 1, 1],
        ["at", False, "2026-01-01T00:00:00Z", 1],
        ["id", True, 1],
        ["at", 1, "2026-01-01T00:00:00Z", 1],
        ["\0", True, "2026-01-01T00:00:00Z", 1],
        None,
    ],
)
def test_cursors_of_another_list_are_refused(place: object) -> None:
    with pytest.raises(InvalidInputError):
        SORTING.span(None, limit=5, cursor=encode_cursor(place))


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_page_limits(limit: int) -> None:
    with pytest.raises(InvalidInputError):
        SORTING.span(None, limit=limit)

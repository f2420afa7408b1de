"""How a copied database is told from its original, and the marks of installations."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.subscriptions.installation import Place, is_copy, read_place
from billing_app.db.engine import Database
from billing_app.db.tables import ProviderIdentity
from billing_app.payments.calls import marked
from tests.payments.billing_harness import until
from tests.postgres import own_server

PARTS = st.one_of(st.none(), st.integers(1, 3))
PLACES = st.tuples(PARTS, PARTS, st.integers(1, 3))
MARKS = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=16, max_size=16)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place(7, 1, 16_384), False),
        (Place(None, None, 16_384), False),
        (Place(8, 1, 16_384), True),
        (Place(7, 2, 16_384), True),
        (Place(7, 1, 16_385), True),
        (Place(None, None, 16_385), True),
    ],
)
def test_what_makes_a_copy(place: Place, expected: bool) -> None:
    identity = ProviderIdentity(  # pyright: ignore[reportCallIssue]
        is_live=False, mark="m", system_identifier=7, timeline=1, database_oid=16_384
    )
    assert is_copy(identity, place) is expected


async def test_point_in_time_recovery_is_noticed() -> None:
    """It keeps the server's identifier, and begins a new timeline."""
    with own_server("secret") as server:
        before = await place_of(server.url())
        server.stop()
        server.recover_from_backup()
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            until(
                lambda: connection.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,)
            )
        after = await place_of(server.url())
    assert before.system_identifier == after.system_identifier is not None
    assert (before.timeline, after.timeline) == (1, 2)


async def place_of(url: str) -> Place:
    database = Database(url)
    async with database.asking() as session:
        found = await read_place(session)
    await database.dispose()
    return found


@given(
    then=PLACES,
    now=PLACES,
)
def test_copy_is_told_by_what_both_know(
    then: tuple[int | None, int | None, int], now: tuple[int | None, int | None, int]
) -> None:
    identity = ProviderIdentity(  # pyright: ignore[reportCallIssue]
        is_live=False, mark="m", system_identifier=then[0], timeline=then[1], database_oid=then[2]
    )
    both = [(a, b) for a, b in zip(then, now, strict=True) if a is not None and b is not None]
    assert is_copy(identity, Place(*now)) is (len({a for a, b in both if a != b}) > 0)


@given(
    marks=st.lists(MARKS, min_size=2, max_size=2, unique=True),
    keys=st.lists(st.text(), min_size=2, max_size=2),
)
def test_installations_never_share_a_key(marks: list[str], keys: list[str]) -> None:
    first, second = (
        marked({"Idempotency-Key": key}, mark)["Idempotency-Key"]
        for key, mark in zip(keys, marks, strict=True)
    )
    assert first != second


def test_mark_leads_the_key_once() -> None:
    headers = {"Idempotency-Key": "k", "Accept": "*"}
    assert marked(headers, "m")["Idempotency-Key"] == "m:k"
    assert headers["Idempotency-Key"] == "k"
    assert marked(headers, "") is headers
    assert marked({"Accept": "*"}, "m") == {"Accept": "*"}

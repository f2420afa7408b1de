"""Finding customers: any word's beginning, case and accents folded; pages, filters and orders."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor, UserActor
from billing_app.billing.errors import ForbiddenError, InvalidInputError
from billing_app.billing.staff.customers import customers, search
from billing_app.billing.staff.customers.customers import CustomerRow, search_customers
from billing_app.billing.staff.customers.search import CustomerFilter, PlanFilter, Sort
from billing_app.composition import Services, build_services
from billing_app.db.enums import AccountKind, StaffRole
from billing_app.settings import Settings
from tests.conftest import PUBLIC
from tests.databases import create_database
from tests.factories import Holder, add_plan, connect, organization, public_organization

SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)
PEOPLE = {
    "ada": ("Ada Lovelace", "ada.lovelace@mail.example.com"),
    "soren": ("Søren Ångström", "soren@nordisk.example"),
    "jose": ("JOSÉ María O'Neill-Weiß", "jose+billing@gmail.com"),
    "lukasz": ("Łukasz Żółw", "lz@poczta.example"),
    "adam": ("Adam Smith", "adam.smith@example.org"),
    "nobody": ("", None),
}
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def url(server_url: str, database_template: str) -> str:
    made = create_database(server_url, "search", database_template)
    public_organization(made)
    for user_id, (name, email) in PEOPLE.items():
        trial(made, f"usr-{user_id}", name, email)
    return made


@pytest.fixture(scope="module")
async def desk(settings: Settings, url: str) -> Any:
    built = build_services(settings, url)
    yield built
    await built.close()


def trial(url: str, user_id: str, name: str = "", email: str | None = None) -> int:
    """A user of the public organization with an account; returns the account's number."""
    number = ids.new_account_number()
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO users (id, name, email, password_hash, created_at)"
            " VALUES (%s, %s, %s, %s, now())",
            [user_id, name, email, "x" if email else None],
        )
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, created_at)"
            " VALUES (%s, %s, 'member', now())",
            [PUBLIC, user_id],
        )
        connection.execute(
            "INSERT INTO accounts (id, kind, organization_id, user_id, created_at)"
            " VALUES (%s, 'user', %s, %s, clock_timestamp())",
            [number, PUBLIC, user_id],
        )
    return number


def execute(url: str, statement: str, *values: object) -> None:
    with connect(url) as connection:
        connection.execute(statement, values)  # pyright: ignore[reportArgumentType, reportCallIssue]


async def found(desk: Services, query: str, **more: Any) -> list[CustomerRow]:
    """All pages, of two rows each."""
    where = CustomerFilter(query=query, **more)
    rows: list[CustomerRow] = []
    cursor = None
    for _ in range(1_000):
        page = await search_customers(
            desk.database, SUPPORT, where, now=datetime.now(UTC), limit=2, cursor=cursor
        )
        rows += page.items
        cursor = page.next_cursor
        if cursor is None:
            return rows
    raise AssertionError("the pages do not end")


async def users(desk: Services, query: str) -> set[str]:
    return {str(row.user_id).removeprefix("usr-") for row in await found(desk, query)}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ada", {"ada", "adam"}),
        ("ADA LOVE", {"ada"}),
        ("love", {"ada"}),
        ("Lovelace, Ada", {"ada"}),
        ("lovelace smith", set()),
        ("a s", {"adam", "soren"}),
        ("ada a", {"ada", "adam"}),
        ("ada.lovelace@mail.example.com", {"ada"}),
        ("Ada.Lovelace@MAIL", {"ada"}),
        ("example.com", {"ada"}),
        ("mail.ex", {"ada"}),
        ("søren", {"soren"}),
        ("soren angstrom", {"soren"}),
        ("ÅNG", {"soren"}),
        ("A\u030angstro\u0308m", {"soren"}),
        ("jose maria", {"jose"}),
        ("José", {"jose"}),
        ("o'neill", {"jose"}),
        ("neill", {"jose"}),
        ("weiss", {"jose"}),
        ("WEIẞ", {"jose"}),
        ("billing", {"jose"}),
        ("lukasz zolw", {"lukasz"}),
        ("ŁUK", {"lukasz"}),
        ("usr-nob", {"nobody"}),
        ("usr", set(PEOPLE)),
        ("com", set()),
        ("%", set(PEOPLE)),
        ("a_a", set()),
        ("''; DROP TABLE users", set()),
        ("zzz", set()),
        ("\U0010ffff", set()),
    ],
)
async def test_search_by_words(desk: Services, query: str, expected: set[str]) -> None:
    assert await users(desk, query) & set(PEOPLE) == expected


async def test_ids_find_accounts(desk: Services, url: str) -> None:
    number = trial(url, "usr-by-id")
    execute(
        url,
        "INSERT INTO provider_customers (account_id, customer_id, created_at)"
        " VALUES (%s, 'cus_QxYz123', now())",
        number,
    )
    account_id = ids.encode_account(number)
    for query in (account_id, account_id[:14], "cus_QxYz", "CUS_qxyz123"):
        assert [row.account_id for row in await found(desk, query)] == [account_id]
    execute(
        url, "UPDATE provider_customers SET customer_id = 'cus_other' WHERE account_id = %s", number
    )
    assert await found(desk, "cus_QxYz") == []
    assert [row.customer_id for row in await found(desk, "cus_other")] == ["cus_other"]


async def test_renamed_account_is_found_by_new_name_only(desk: Services, url: str) -> None:
    trial(url, "usr-grace", "Grace Murray")
    execute(url, "UPDATE users SET name = 'Grace Hopper' WHERE id = 'usr-grace'")
    assert await users(desk, "murray") == set()
    assert await users(desk, "grace hop") == {"grace"}


async def test_organization_is_found_by_name_and_members(desk: Services, url: str) -> None:
    holder = organization(url, 10)
    execute(
        url,
        "UPDATE organizations SET name = 'Žižkov & Söhne' WHERE id = %s",
        holder.organization_id,
    )
    execute(url, "INSERT INTO users (id, name, created_at) VALUES ('usr-z', 'Zdeněk', now())")
    execute(
        url,
        "INSERT INTO memberships (organization_id, user_id, role, created_at)"
        " VALUES (%s, 'usr-z', 'owner', now())",
        holder.organization_id,
    )
    for query in ("zizkov", "sohne", "zdenek", holder.organization_id, "zdenek soh"):
        assert [row.account_id for row in await found(desk, query)] == [holder.account_id]
    (row,) = await found(desk, "zizkov")
    assert (row.name, row.kind, row.executions_remaining) == ("Žižkov & Söhne", "organization", 10)
    execute(url, "DELETE FROM memberships WHERE user_id = 'usr-z'")
    assert await found(desk, "zdenek") == []
    assert len(await found(desk, "zizkov")) == 1


async def test_hostile_names_do_not_break_search(desk: Services, url: str) -> None:
    """Letters that fold to eighteen others, a name of nothing but signs, and one word for all."""
    trial(url, "usr-long", "\ufdfa" * 255)
    trial(url, "usr-signs", "!!! @ ... @@ --")
    trial(url, "usr-same", "same same same-same")
    assert len(await found(desk, "same")) == 1
    assert len(await found(desk, "usr-long")) == 1


@pytest.fixture(scope="module")
def crowd(url: str) -> list[str]:
    """Thirty accounts with words that several share, in the order in which they were made."""
    made = [
        ids.encode_account(
            trial(
                url, f"crowd-{n}", f"Kim {'Lee' if n % 3 else 'Kimball'} {'Min' if n % 2 else ''}"
            )
        )
        for n in range(30)
    ]
    for n in range(0, 30, 5):
        number = ids.decode_account(made[n])
        execute(url, "UPDATE accounts SET blocked_at = now() WHERE id = %s", number)
    return made


@pytest.fixture(params=[(5_000, 10_000), (0, 10_000), (0, 3), (4, 3)], ids=str)
def strategy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at all that the rarest word has, walking the index, and walking in short steps."""
    monkeypatch.setattr(search, "MAX_SORTED", request.param[0])
    monkeypatch.setattr(search, "MAX_EXAMINED", request.param[1])


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("query", ["kim", "k", "kim lee", "min kim", "crowd- kimb", "l m"])
async def test_every_order_lists_each_account_once(
    desk: Services, crowd: list[str], query: str
) -> None:
    words = query.split()
    expected = {
        account_id
        for n, account_id in enumerate(crowd)
        if all(any(has.startswith(word) for has in words_of(n)) for word in words)
    }
    oldest = [row.account_id for row in await found(desk, query, sort=Sort.OLDEST)]
    newest = [row.account_id for row in await found(desk, query, sort=Sort.NEWEST)]
    by_word = [row.account_id for row in await found(desk, query)]
    assert [a for a in oldest if a in expected] == [a for a in crowd if a in expected]
    assert newest == oldest[::-1]
    assert sorted(by_word) == sorted(oldest)
    assert len(set(by_word)) == len(by_word)


def words_of(n: int) -> list[str]:
    return [f"crowd-{n}", "crowd", "kim", "lee" if n % 3 else "kimball", "min" if n % 2 else "kim"]


@pytest.mark.usefixtures("strategy")
async def test_filters(desk: Services, crowd: list[str], url: str) -> None:
    everything = {row.account_id for row in await found(desk, "")}
    blocked = {row.account_id for row in await found(desk, "", blocked=True)}
    assert blocked == {account_id for n, account_id in enumerate(crowd) if n % 5 == 0}
    free = {row.account_id for row in await found(desk, "", blocked=False)}
    assert free == everything - blocked
    some = {row.account_id for row in await found(desk, "kimball", blocked=True)}
    assert some == {account_id for n, account_id in enumerate(crowd) if n % 15 == 0}
    for kind in AccountKind:
        rows = await found(desk, "", kind=kind)
        assert {row.kind for row in rows} <= {kind}
    assert await found(desk, "kim", past_due=True) == []
    assert len(await found(desk, "kim", past_due=False)) == 30


async def test_filtered_by_plan(desk: Services, url: str) -> None:
    paid = organization(url, 5)
    none = organization(url)
    ended = organization(url)
    add_plan(url, ended, 1, 5, ends_at=datetime.now(UTC))
    rows = {plan: {r.account_id for r in await found(desk, "", plan=plan)} for plan in PlanFilter}
    assert paid.account_id in rows[PlanFilter.PAID]
    assert {none.account_id, ended.account_id} <= rows[PlanFilter.NONE]
    everything = {row.account_id for row in await found(desk, "")}
    assert set().union(*rows.values()) == everything
    for one, other in itertools.combinations(rows.values(), 2):
        assert not one & other


@pytest.mark.parametrize("query", ["\0", "x" * 201, "a b c d e f g"])
async def test_bad_queries(desk: Services, query: str) -> None:
    with pytest.raises(InvalidInputError):
        await found(desk, query)


@pytest.mark.parametrize("cursor", ["x", "W10", "é", "WyJ3b3JkIiwiYSIsbnVsbCwtMV0", "AAAA", ""])
async def test_bad_cursors(desk: Services, cursor: str) -> None:
    where = CustomerFilter(query="ada")
    if cursor:
        with pytest.raises(InvalidInputError):
            await search_customers(desk.database, SUPPORT, where, now=NOW, cursor=cursor)


async def test_cursor_belongs_to_its_sort_order(desk: Services, crowd: list[str]) -> None:
    where = CustomerFilter(query="kim")
    page = await search_customers(desk.database, SUPPORT, where, now=NOW, limit=2)
    assert len(crowd) > 2
    where = replace(where, sort=Sort.NEWEST)
    with pytest.raises(InvalidInputError):
        await search_customers(desk.database, SUPPORT, where, now=NOW, cursor=page.next_cursor)


async def test_only_staff_search(desk: Services) -> None:
    person = UserActor("usr-ada", "Ada", "ada@example.com")
    with pytest.raises(ForbiddenError):
        await search_customers(desk.database, person, CustomerFilter(), now=NOW)


def test_concurrent_rename_and_new_membership(url: str) -> None:
    """Whichever commits first, the member is found by the new name."""
    holder: Holder = organization(url, 1)
    execute(url, "INSERT INTO users (id, name, created_at) VALUES ('usr-r', 'Before', now())")
    with psycopg.connect(url) as renaming, psycopg.connect(url) as joining:
        renaming.execute("UPDATE users SET name = 'After' WHERE id = 'usr-r'")
        joining.execute("SET statement_timeout = 300")
        with pytest.raises(psycopg.errors.QueryCanceled):
            joining.execute(
                "INSERT INTO memberships (organization_id, user_id, role, created_at)"
                " VALUES (%s, 'usr-r', 'member', now())",
                [holder.organization_id],
            )


async def test_search_continues_until_the_page_is_full(
    desk: Services, crowd: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step looks at two accounts here, and one in five is blocked."""
    monkeypatch.setattr(search, "MAX_SORTED", 0)
    monkeypatch.setattr(search, "MAX_EXAMINED", 2)
    where = CustomerFilter("", blocked=True, sort=Sort.OLDEST)
    page = await search_customers(desk.database, SUPPORT, where, now=NOW, limit=3)
    assert [row.account_id for row in page.items] == [crowd[0], crowd[5], crowd[10]]
    assert page.examined == 0
    whole = await search_customers(desk.database, SUPPORT, where, now=NOW, limit=200)
    assert [row.account_id for row in whole.items] == crowd[::5]
    assert (whole.next_cursor, whole.examined) == (None, 0)


async def test_timed_out_search_says_how_many_accounts_it_examined(
    desk: Services, crowd: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_SORTED", 0)
    monkeypatch.setattr(search, "MAX_EXAMINED", 2)
    monkeypatch.setattr(customers, "SEARCH_SECONDS", 0.0)
    where = CustomerFilter("", blocked=True, sort=Sort.OLDEST)
    rows: list[str] = []
    cursor, empty = None, 0
    for _ in range(1_000):
        page = await search_customers(desk.database, SUPPORT, where, now=NOW, cursor=cursor)
        rows += [row.account_id for row in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        assert page.examined == 2
        empty += not page.items
    assert page.examined == 0
    assert empty > 3
    assert rows == crowd[::5]


async def test_page_filled_by_last_step_has_no_examined(
    desk: Services, crowd: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step that fills a page may end exactly there."""
    monkeypatch.setattr(search, "MAX_SORTED", 0)
    for examined in range(1, 12):
        monkeypatch.setattr(search, "MAX_EXAMINED", examined)
        for limit in (1, 2, 5):
            where = CustomerFilter("", blocked=True, sort=Sort.OLDEST)
            page = await search_customers(desk.database, SUPPORT, where, now=NOW, limit=limit)
            assert [row.account_id for row in page.items] == crowd[::5][:limit]

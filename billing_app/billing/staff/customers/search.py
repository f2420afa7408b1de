"""Search for accounts by words, kind and state, a page at a time.

Every word of a query is the beginning of a word of the account, with case and accents folded. When
few accounts match the rarest condition, all of them are read. Otherwise the order's own index is
walked until the page is full, for at most MAX_EXAMINED rows, so that a page never takes long. At
worst it is short, and its cursor continues where it stopped.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.lists.paging import decode_cursor, encode_cursor, invalid_cursor
from billing_app.billing.lists.sorting import By
from billing_app.billing.plans.usable import is_usable
from billing_app.billing.usage.service import Days
from billing_app.db.enums import AccountKind

MAX_QUERY_LENGTH: Final = 200
MAX_WORDS: Final = 6
MAX_WORD_LENGTH: Final = 64
MAX_SORTED: Final = 5_000
MAX_EXAMINED: Final = 5_000
# Plans are looked up for all accounts of a step, because on a cluster they are on other nodes.
MAX_EXAMINED_WITH_PLANS: Final = 2_000
# How many rows a word has decides how to look: a plan made for any word is made for none.
PLAN_EACH: Final = "SET LOCAL plan_cache_mode = force_custom_plan"
SIGNS: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~"
LAST_LETTER: Final = "\U0010ffff"

WORD_ROWS: Final = "search_words WHERE word >= :low{n} AND word < :high{n}"
HAS_WORD: Final = (
    "EXISTS (SELECT FROM search_words AS other WHERE other.account_id = account.id"
    " AND other.word >= :low{n} AND other.word < :high{n})"
)
FIRST_WORD: Final = (
    " CROSS JOIN LATERAL (SELECT min(other.word) AS word FROM search_words AS other"
    " WHERE other.account_id = account.id AND other.word >= :low0 AND other.word < :high0) AS first"
)
IS_FIRST_WORD: Final = (
    "NOT EXISTS (SELECT FROM search_words AS other WHERE other.account_id = source.id"
    " AND other.word >= :low0 AND other.word < source.word)"
)
MADE_WITHIN: Final = "{row}.created_at >= :since AND {row}.created_at < :until"
BLOCKED_ROWS: Final = "accounts WHERE blocked_at IS NOT NULL"
PAST_DUE_ROWS: Final = "subscriptions WHERE past_due_since IS NOT NULL AND ended_at IS NULL"
IS_PAST_DUE: Final = (
    "EXISTS (SELECT FROM subscriptions AS owed WHERE owed.account_id = account.id"
    " AND owed.past_due_since IS NOT NULL AND owed.ended_at IS NULL)"
)
IS_USABLE: Final = is_usable("plan")
HAS_PLAN: Final = (
    "account.id {wanted} (SELECT plan.account_id FROM plans AS plan"  # noqa: S608
    f" WHERE plan.account_id = ANY(ARRAY({{source}})) AND {IS_USABLE}{{more}})"
)


class PlanFilter(StrEnum):
    """By what is usable now: a trial, a paid plan, or nothing."""

    TRIAL = "trial"
    PAID = "paid"
    NONE = "none"


class CustomerSort(StrEnum):
    """By the word that matched the query's first one, or by the account's age: what an index of all
    accounts gives."""

    WORD = "word"
    MADE = "made"


class Sort(StrEnum):
    """A CustomerSort with its direction."""

    WORD = "word"
    LAST_WORD = "last_word"
    NEWEST = "newest"
    OLDEST = "oldest"

    @property
    def is_by_word(self) -> bool:
        return self in (Sort.WORD, Sort.LAST_WORD)

    @property
    def is_descending(self) -> bool:
        return self in (Sort.LAST_WORD, Sort.NEWEST)


def sort_of(by: By[CustomerSort]) -> Sort:
    if by.sort is CustomerSort.WORD:
        return Sort.LAST_WORD if by.descending else Sort.WORD
    return Sort.NEWEST if by.descending else Sort.OLDEST


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """Filters of accounts; None does not filter. `days` are those on which they were created.
    `sort` None: by word when there is a query, else newest."""

    query: str = ""
    kind: AccountKind | None = None
    plan: PlanFilter | None = None
    past_due: bool | None = None
    blocked: bool | None = None
    days: Days | None = None
    sort: Sort | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Accounts in order; `next_cursor` None: there are no more. `examined`: rows after which the
    search stopped before the page was full; 0 when it did not."""

    account_ids: list[int]
    next_cursor: str | None
    examined: int


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The last row of a page in its order: by word, or by age."""

    sort: Sort
    word: str
    at: datetime | None
    account_id: int


async def find_accounts(
    session: AsyncSession, where: CustomerFilter, *, now: datetime, limit: int, cursor: str | None
) -> Found:
    """Raises InvalidInputError."""
    await (await session.connection()).execute(text(PLAN_EACH))
    words = await _fold(session, where.query)
    sort = where.sort or Sort.WORD
    if sort.is_by_word and not words:
        sort = Sort.NEWEST
    after = _place(cursor, sort) if cursor is not None else None
    values: dict[str, Any] = {"now": now, "limit": limit + 1, "examined": _most(where)}
    for n, word in enumerate(words):
        values |= {f"low{n}": word, f"high{n}": word + LAST_LETTER}
    if where.days is not None:
        values |= {"since": where.days.since, "until": where.days.until}
    if after is not None:
        values |= {"word": after.word, "at": after.at, "after": after.account_id}
    few = await _few_rows(session, where, len(words), values)
    if few is not None:
        rows = await _collect(session, few, where, sort, len(words), values)
    else:
        rows = await _walk(session, where, sort, len(words), values)
    places = [Place(sort, row.word, row.at, row.id) for row in rows[:limit]]
    following, examined = (places[-1] if len(rows) > limit else None), 0
    if following is None and few is None:
        following = await _end_of_walk(session, where, sort, values)
        examined = _most(where) if following else 0
    cursor = encode_cursor(following) if following else None
    return Found([place.account_id for place in places], cursor, examined)


def _most(where: CustomerFilter) -> int:
    """Rows that a step examines."""
    return MAX_EXAMINED if where.plan is None else min(MAX_EXAMINED, MAX_EXAMINED_WITH_PLANS)


async def _fold(session: AsyncSession, query: str) -> list[str]:
    """The words of a query, folded as those of accounts are; none that begins another."""
    if len(query) > MAX_QUERY_LENGTH or "\0" in query:
        raise InvalidInputError(
            f"Search for at most {MAX_QUERY_LENGTH} characters, without NUL.", field="query"
        )
    if not query.strip():
        return []
    (row,) = await _all(session, "SELECT search_fold(:query)", {"query": query})
    chunks = [chunk.strip(SIGNS)[:MAX_WORD_LENGTH] for chunk in row[0].split()]
    unique = list(dict.fromkeys(chunk for chunk in chunks if chunk))
    words = [
        word
        for word in unique
        if not any(other != word and other.startswith(word) for other in unique)
    ]
    if len(words) > MAX_WORDS:
        raise InvalidInputError(f"Search for at most {MAX_WORDS} words.", field="query")
    return words


async def _few_rows(
    session: AsyncSession, where: CustomerFilter, words: int, values: dict[str, Any]
) -> str | None:
    """Selects the accounts that match the rarest condition; None when they are many."""
    sources = [
        f"SELECT account_id AS id FROM {WORD_ROWS.format(n=n)}"  # noqa: S608
        for n in range(words)
    ]
    if where.blocked:
        sources.append(f"SELECT id FROM {BLOCKED_ROWS}")  # noqa: S608
    if where.past_due:
        sources.append(f"SELECT account_id AS id FROM {PAST_DUE_ROWS}")  # noqa: S608
    counts: dict[str, int] = {}
    for source in sources:
        counted = f"SELECT count(*) FROM ({source} LIMIT {MAX_SORTED + 1}) AS rows"  # noqa: S608
        counts[source] = (await _all(session, counted, values))[0][0]
    fewest = min(counts, key=counts.__getitem__, default=None)
    return fewest if fewest is not None and counts[fewest] <= MAX_SORTED else None


async def _collect(
    session: AsyncSession,
    source: str,
    where: CustomerFilter,
    sort: Sort,
    words: int,
    values: dict[str, Any],
) -> list[Any]:
    conditions = _conditions(where, range(words), "SELECT id FROM source")
    by_word = sort.is_by_word
    if "after" in values:
        conditions.append(_after(sort, "first.word" if by_word else "account.created_at"))
    if by_word:
        conditions.append("first.word IS NOT NULL")
    statement = f"""
        WITH source AS MATERIALIZED (SELECT DISTINCT id FROM ({source}) AS rows)
        SELECT account.id, {"first.word" if by_word else "''"} AS word, account.created_at AS at
        FROM source JOIN accounts AS account ON account.id = source.id
        {FIRST_WORD if by_word else ""}
        WHERE {" AND ".join(conditions)}
        ORDER BY {_order(sort, "first.word" if by_word else "account.created_at")} LIMIT :limit"""  # noqa: S608
    return await _all(session, statement, values)


async def _walk(
    session: AsyncSession, where: CustomerFilter, sort: Sort, words: int, values: dict[str, Any]
) -> list[Any]:
    by_word = sort.is_by_word
    source = f"{_walked(where, sort, values)} LIMIT :examined"
    conditions = _conditions(
        where,
        range(1 if by_word else 0, words),
        f"SELECT id FROM ({source}) AS chunk",  # noqa: S608
    )
    if by_word:
        conditions.append(IS_FIRST_WORD)
    key = "source.word" if by_word else "source.at"
    statement = f"""
        SELECT source.id, source.word, source.at
        FROM ({source}) AS source
        JOIN accounts AS account ON account.id = source.id
        WHERE {" AND ".join(conditions)}
        ORDER BY {_order(sort, key, "source.id")} LIMIT :limit"""  # noqa: S608
    return await _all(session, statement, values)


async def _end_of_walk(
    session: AsyncSession, where: CustomerFilter, sort: Sort, values: dict[str, Any]
) -> Place | None:
    """Where a walk that did not fill its page stopped; None at the end."""
    statement = f"{_walked(where, sort, values)} OFFSET :examined LIMIT 1"
    values = values | {"examined": _most(where) - 1}
    rows = await _all(session, statement, values)
    return Place(sort, rows[0].word, rows[0].at, rows[0].id) if rows else None


def _walked(where: CustomerFilter, sort: Sort, values: dict[str, Any]) -> str:
    """Rows in the order's own index, from the cursor on."""
    if sort.is_by_word:
        after = f" AND {_after(sort, 'word', 'account_id')}" if "after" in values else ""
        return (
            "SELECT account_id AS id, word, NULL::timestamptz AS at"  # noqa: S608
            f" FROM {WORD_ROWS.format(n=0)}{after} ORDER BY {_order(sort, 'word', 'account_id')}"
        )
    # Organizations have an index of their own: there are many more users.
    indexed = "kind = 'organization'" if where.kind is AccountKind.ORGANIZATION else "true"
    indexed += f" AND {MADE_WITHIN.format(row='accounts')}" if where.days is not None else ""
    after = f" AND {_after(sort, 'created_at', 'id')}" if "after" in values else ""
    return (
        f"SELECT id, '' AS word, created_at AS at FROM accounts WHERE {indexed}"  # noqa: S608
        f"{after} ORDER BY {_order(sort, 'created_at', 'id')}"
    )


def _conditions(where: CustomerFilter, words: range, source: str) -> list[str]:
    """All conditions on an account that its source, which selects ids, does not imply."""
    conditions = ["true", *(HAS_WORD.format(n=n) for n in words)]
    if where.kind is not None:
        conditions.append(f"account.kind = '{where.kind.value}'")
    if where.blocked is not None:
        conditions.append(f"account.blocked_at IS {'NOT ' if where.blocked else ''}NULL")
    if where.days is not None:
        conditions.append(MADE_WITHIN.format(row="account"))
    if where.past_due is not None:
        conditions.append(IS_PAST_DUE if where.past_due else f"NOT {IS_PAST_DUE}")
    if where.plan is PlanFilter.NONE:
        conditions.append(HAS_PLAN.format(wanted="NOT IN", source=source, more=""))
    elif where.plan is not None:
        more = f" AND plan.type = '{where.plan.value}'"
        conditions.append(HAS_PLAN.format(wanted="IN", source=source, more=more))
    return conditions


def _after(sort: Sort, key: str, tie: str = "account.id") -> str:
    value = ":word" if sort.is_by_word else ":at"
    return f"({key}, {tie}) {'<' if sort.is_descending else '>'} ({value}, :after)"


def _order(sort: Sort, key: str, tie: str = "account.id") -> str:
    direction = " DESC" if sort.is_descending else ""
    return f"{key}{direction}, {tie}{direction}"


def _place(cursor: str, sort: Sort) -> Place:
    place = decode_cursor(cursor, Place)
    is_whole = place.sort is sort and (sort.is_by_word or place.at is not None)
    if not is_whole or not 0 <= place.account_id < 2**63:
        raise invalid_cursor()
    return place


async def _all(session: AsyncSession, statement: str, values: dict[str, Any]) -> list[Any]:
    connection = await session.connection()
    return list((await connection.execute(text(statement), values)).all())

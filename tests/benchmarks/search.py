"""Finding customers among a million accounts, against the ILIKE that one would write first."""

import asyncio
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import psycopg

from billing_app.billing.actors import OperatorActor
from billing_app.billing.staff.customers.customers import SEARCH_SECONDS, search_customers
from billing_app.billing.staff.customers.search import CustomerFilter, PlanFilter, Sort
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind
from tests.benchmarks.people import People, made_people

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

REPEATS: Final = 100
TARGET_MS: Final = 100
PAGE: Final = 50
# Many hold each of them and nobody both: the search looks on until its time is over.
LOOKS_ON: Final = "words that exclude each other"
QUERIES: Final = {
    "one letter": CustomerFilter("a"),
    "a rare letter": CustomerFilter("x"),
    "two letters": CustomerFilter("an"),
    "a name": CustomerFilter("soren"),
    "two words": CustomerFilter("anna fen"),
    "two short words": CustomerFilter("a z"),
    "two rare words": CustomerFilter("zara xu"),
    LOOKS_ON: CustomerFilter("gmail.com web.de"),
    "an e-mail domain": CustomerFilter("gmail"),
    "a Stripe id": CustomerFilter("cus_a1"),
    "nothing found": CustomerFilter("qqqq"),
    "newest first": CustomerFilter("an", sort=Sort.NEWEST),
    "organizations": CustomerFilter("a", kind=AccountKind.ORGANIZATION),
    "paid": CustomerFilter(plan=PlanFilter.PAID),
    "blocked": CustomerFilter("a", blocked=True),
    "everybody": CustomerFilter(),
}
ILIKE: Final = """
SELECT account.id FROM accounts AS account
JOIN organizations AS firm ON firm.id = account.organization_id
LEFT JOIN users AS holder ON holder.id = account.user_id
LEFT JOIN provider_customers AS customer ON customer.account_id = account.id
WHERE holder.name ILIKE %(like)s OR holder.email ILIKE %(like)s OR firm.name ILIKE %(like)s
   OR customer.customer_id ILIKE %(like)s
ORDER BY account.created_at DESC LIMIT 50
"""
LIKES: Final = ("%anna%", "%zarax%", "%qqqq%")


def search(cases: "Cases") -> None:
    """Each kind of query, p50 and p99 of a page of fifty with all that its rows show."""
    with made_people(cases.bed) as people:
        cases.report.note(
            f"{people.accounts:,} accounts with {people.words:,} words ({people.index_megabytes} MB"
            f" with indexes), made in {people.fill_seconds:.0f} s."
        )
        for name, times_ms in asyncio.run(_measure(people)).items():
            p50, p99 = statistics.median(times_ms), statistics.quantiles(times_ms, n=100)[98]
            target_ms = TARGET_MS + (SEARCH_SECONDS * 1000 if name == LOOKS_ON else 0)
            cases.report.at_most(f"search, {name}: p99", p99, target_ms)
            cases.report.note(f"search, {name}: {p50:.1f} ms (p50), {p99:.1f} ms (p99)")
        for like in LIKES:
            cases.report.note(
                f"the same by ILIKE '{like}': {_ilike_ms(people, like):,.0f} ms (p50)"
            )


async def _measure(people: People) -> dict[str, list[float]]:
    database = Database(people.url)
    found: dict[str, list[float]] = {}
    for name, where in QUERIES.items():
        await _page_ms(database, where)
        found[name] = [await _page_ms(database, where) for _ in range(REPEATS)]
    await database.dispose()
    return found


async def _page_ms(database: Database, where: CustomerFilter) -> float:
    started_at = time.perf_counter()
    await search_customers(database, OperatorActor(), where, now=datetime.now(UTC), limit=PAGE)
    return (time.perf_counter() - started_at) * 1000


def _ilike_ms(people: People, like: str) -> float:
    times: list[float] = []
    with psycopg.connect(people.url, autocommit=True) as connection:
        for _ in range(3):
            started_at = time.perf_counter()
            connection.execute(ILIKE, {"like": like}).fetchall()
            times.append((time.perf_counter() - started_at) * 1000)
    return statistics.median(times)

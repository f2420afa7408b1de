"""Walks through the accounts that have plans, with their rules and balances, a page at a time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text

from billing_app.billing.alerts.balance import LEVEL_COLUMNS
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Level, OveragePrice, RuleSet
from billing_app.billing.plans.usable import is_usable, queue_order
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason
from billing_app.db.tables.plans import OVERAGE_PRIORITY

PAGE_ACCOUNTS: Final = 1_000
# An account whose plans were all used up has no usable plan; how long it is looked at.
DEPLETED_WITHIN: Final = "interval '1 day'"

PAGE: Final = text(f"""
SELECT p.account_id, {LEVEL_COLUMNS},
       (array_agg(p.offer_version_id ORDER BY {queue_order("p")}))[1],
       max(p.offer_version_id) FILTER (WHERE p.priority = {OVERAGE_PRIORITY})
FROM plans AS p
WHERE p.account_id > :after AND {is_usable("p")}
GROUP BY p.account_id ORDER BY p.account_id LIMIT {PAGE_ACCOUNTS}
""")  # noqa: S608
DEPLETED: Final = text(f"""
SELECT p.account_id, max(p.offer_version_id) FROM plans AS p
WHERE p.ended_because = '{EndReason.DEPLETED}' AND p.ended_at > :now - {DEPLETED_WITHIN}
GROUP BY p.account_id
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class WalkedAccount:
    account_id: int
    level: Level
    rules: RuleSet
    price: OveragePrice | None


async def walk(
    database: Database, book: RuleBook, now: datetime
) -> AsyncIterator[list[WalkedAccount]]:
    """Accounts with usable plans. A page is one snapshot."""
    after = -1
    while True:
        async with database.reading() as session:
            values = {"after": after, "now": now}
            rows = (await (await session.connection()).execute(PAGE, values)).all()
        yield [
            WalkedAccount(
                row[0],
                Level(*row[1:4]),
                book.rules_of(row[0], row[4]),
                book.overage_price(row[5]),
            )
            for row in rows
        ]
        if len(rows) < PAGE_ACCOUNTS:
            return
        after = rows[-1][0]


async def just_depleted(database: Database, book: RuleBook, now: datetime) -> list[WalkedAccount]:
    """Accounts with a plan that was used up lately; they may have others."""
    async with database.reading() as session:
        rows = (await (await session.connection()).execute(DEPLETED, {"now": now})).all()
    nothing = Level(0, 0, 0)
    return [WalkedAccount(row[0], nothing, book.rules_of(row[0], row[1]), None) for row in rows]

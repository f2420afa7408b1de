"""What comes next, read in one statement: for the plans that services poll, and for denials."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from billing_app.billing.errors import DeniedError
from billing_app.billing.executions.state import PlanBalance
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.subscriptions.next_executions import (
    FreeOffer,
    NextExecutions,
    NextSource,
    Renewing,
    first_of,
    refill_of,
    renewal_of,
)
from billing_app.billing.subscriptions.provider import ENDED
from billing_app.billing.subscriptions.sold_lines import CHANGE, FIRST
from billing_app.db.engine import Database
from billing_app.db.enums import InvoiceStatus, PlanSource, SubscriptionStatus
from billing_app.db.read_pool import ReadPool

# Of the account, its live subscription and its free offer.
COLUMNS: Final = f"""
account.blocked_at IS NOT NULL AS is_blocked, live.status AS live_status,
live.offer_version_id AS renewed_version_id, live.next_offer_version_id, live.period_start,
live.period_end, live.cancel_at, live.quantity,
live.past_due_since IS NOT NULL OR EXISTS (
    SELECT FROM invoices AS start
    WHERE start.account_id = live.account_id
      AND start.subscription_provider_id = live.provider_id
      AND start.billing_reason IN ('{FIRST}', '{CHANGE}')
      AND start.status = '{InvoiceStatus.OPEN}' AND start.bank_asked_at IS NOT NULL
) OR (live.status = '{SubscriptionStatus.TRIALING}' AND live.trial_refused_at IS NOT NULL)
    AS is_unpaid,
profile.refills_at, profile.offer_since, profile.offer_version_id AS free_version_id
"""
JOINS: Final = f"""
LEFT JOIN subscriptions AS live ON live.account_id = account.id AND NOT live.is_duplicate
     AND live.status NOT IN ({", ".join(f"'{status}'" for status in sorted(ENDED))})
LEFT JOIN account_profiles AS profile ON profile.account_id = account.id
     AND profile.closed_at IS NULL
"""
BALANCE: Final = (
    "sequence, type, name, executions, used, held, starts_at, ends_at, began_at, ended_at,"
    " ended_because, priority, suspended_at, paused_at, blocked_at"
)
BALANCE_COLUMNS: Final = slice(0, 15)
WAITING: Final = f"""
SELECT {", ".join(f"plan.{name.strip()}" for name in BALANCE.split(","))},
       account.id AS account_id, {COLUMNS}
FROM accounts AS account
{JOINS}
LEFT JOIN plans AS plan ON plan.account_id = account.id AND plan.starts_at > $2
     AND plan.ended_at IS NULL
     AND plan.source NOT IN ('{PlanSource.BRIDGE}', '{PlanSource.OVERAGE}')
WHERE account.id = ANY($1::bigint[])
"""  # noqa: S608
MAX_ACCOUNTS: Final = 1_000
# A denial does not wait longer for what it adds.
MAX_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


class OfferVersions:
    """Versions of offers never change, so they are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[int, OfferView] = {}

    async def get(self, version_id: int) -> OfferView:
        offer = self._kept.get(version_id)
        if offer is None:
            async with self._database.reading() as session:
                offer = await offer_version(session, version_id)
            self._kept[version_id] = offer
        return offer


async def first_that_comes(
    row: Any, plans: Iterable[NextExecutions], offers: OfferVersions, now: datetime
) -> NextExecutions | None:
    """`row` has COLUMNS; `plans` wait for their start."""
    if row["is_blocked"]:
        return None
    live = await _renewing(row, offers)
    coming = [*plans, live and renewal_of(live, now)]
    if row["refills_at"] is not None:
        offer = await offers.get(row["free_version_id"])
        free = FreeOffer(row["refills_at"], row["offer_since"], offer)
        coming.append(refill_of(free, live, now))
    return first_of(coming, now)


async def _renewing(row: Any, offers: OfferVersions) -> Renewing | None:
    if row["live_status"] is None:
        return None
    following = row["next_offer_version_id"]
    return Renewing(
        status=SubscriptionStatus(row["live_status"]),
        period_start=row["period_start"],
        period_end=row["period_end"],
        ends_at=row["cancel_at"],
        is_unpaid=row["is_unpaid"],
        quantity=row["quantity"],
        offer=await offers.get(row["renewed_version_id"]),
        next_offer=await offers.get(following) if following else None,
    )


class DenialReads:
    """Adds `next_executions` to denials, after the decision and outside its transaction. What is
    denied while one read is under way is read by the next, for all accounts at once."""

    def __init__(self, pool: ReadPool, database: Database) -> None:
        self._pool = pool
        self._offers = OfferVersions(database)
        self._wanted: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def explain(self, denials: Sequence[DeniedError]) -> None:
        """Of accounts for which the decision has authorized the caller. When the database does not
        answer, nothing is added: null would say that nothing comes."""
        waited: dict[int, asyncio.Future[dict[str, Any]]] = {}
        for account_id in {each.account_id for each in denials if each.account_id is not None}:
            waited[account_id] = self._want(account_id)
        if not waited:
            return
        done, _ = await asyncio.wait(waited.values(), timeout=MAX_SECONDS)
        for denial in denials:
            found = waited.get(denial.account_id or 0)
            if found in done:
                denial.extensions |= found.result()

    def _want(self, account_id: int) -> "asyncio.Future[dict[str, Any]]":
        if account_id not in self._wanted:
            self._wanted[account_id] = asyncio.get_running_loop().create_future()
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="next executions of denials")
        return self._wanted[account_id]

    async def _run(self) -> None:
        try:
            while self._wanted:
                batch = dict(list(self._wanted.items())[:MAX_ACCOUNTS])
                for account_id in batch:
                    del self._wanted[account_id]
                found = await self._read(list(batch))
                for account_id, future in batch.items():
                    future.set_result(found.get(account_id, {}))
        finally:
            self._running = None

    async def _read(self, account_ids: list[int]) -> dict[int, dict[str, Any]]:
        now = datetime.now(UTC)
        try:
            rows = await self._pool.fetch(WAITING, account_ids, now)
            by_account: dict[int, list[Any]] = {}
            for row in rows:
                by_account.setdefault(row["account_id"], []).append(row)
            return {
                account_id: {"next_executions": await self._first(found, now)}
                for account_id, found in by_account.items()
            }
        except Exception as error:
            # Whatever it is, the denial is sent.
            log.warning("next_executions_unknown", error=repr(error))
            return {}

    async def _first(self, rows: list[Any], now: datetime) -> NextExecutions | None:
        plans = [plan for row in rows if (plan := _waiting_plan(row)) is not None]
        return await first_that_comes(rows[0], plans, self._offers, now)


def _waiting_plan(row: Any) -> NextExecutions | None:
    if row["sequence"] is None:
        return None
    plan = PlanBalance(*row[BALANCE_COLUMNS])
    if not plan.is_usable(plan.starts_at):
        return None
    return NextExecutions(plan.starts_at, plan.remaining, plan.name, NextSource.PLAN)

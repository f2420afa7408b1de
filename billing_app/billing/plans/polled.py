"""The current plan as services poll it: one statement, no session, the same answer."""

from datetime import datetime
from typing import Any, Final

from billing_app.billing import ids
from billing_app.billing.accounts.service import key_may_read, require_reading
from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.executions.expired_holds import expired_held
from billing_app.billing.executions.state import PlanBalance
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.overage.views import OverageView, overage_view
from billing_app.billing.plans import usable
from billing_app.billing.plans.service import (
    CurrentPlan,
    PlanRow,
    current_plan,
    is_unused_bridge,
    running_overage,
)
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource
from billing_app.db.read_pool import ReadPool

BALANCE: Final = (
    "sequence, type, name, executions, used, held, starts_at, ends_at, began_at, ended_at,"
    " ended_because, priority, suspended_at, paused_at, blocked_at"
)
BALANCE_COLUMNS: Final = slice(0, 15)
# A row without a plan when the account has none.
STATEMENT: Final = f"""
SELECT {", ".join(f"plan.{name.strip()}" for name in BALANCE.split(","))}, plan.source,
       plan.created_at, plan.offer_version_id, account.organization_id,
       own.limit_minor, own.currency,
       CASE WHEN plan.held > 0
            THEN ({expired_held("plan").replace(":now", "$2")}) ELSE 0 END AS expired
FROM accounts AS account
LEFT JOIN overage_limits AS own ON own.account_id = account.id
LEFT JOIN plans AS plan ON plan.account_id = account.id
WHERE account.id = $1
ORDER BY {usable.queue_order("plan")}
"""  # noqa: S608


class PolledPlans:
    """Reads current plans for service keys. Versions of offers never change, so they are kept."""

    def __init__(self, pool: ReadPool, database: Database) -> None:
        self._pool = pool
        self._database = database
        self._offers: dict[int, OfferView] = {}

    async def read(self, actor: ServiceActor, account_id: str, now: datetime) -> CurrentPlan:
        """As plans/service.read_current. Raises AccountNotFoundError, ScopeMissingError,
        UnreadableError."""
        require_reading(actor)
        number = ids.decode_account(account_id)
        if number is None:
            raise AccountNotFoundError
        found = await self._pool.fetch(STATEMENT, number, now)
        if not found or not key_may_read(actor, found[0]["organization_id"]):
            raise AccountNotFoundError
        rows = [_row(row) for row in found if row["sequence"] is not None]
        rows = [row for row in rows if not is_unused_bridge(row, now)]
        minor, currency = found[0]["limit_minor"], found[0]["currency"]
        limit = None if minor is None else Money(minor, currency)
        overage = await self._overage(running_overage(rows, now), limit)
        return current_plan(number, rows, overage, now)

    async def _overage(self, row: PlanRow | None, limit: Money | None) -> OverageView | None:
        if row is None or row.offer_version_id is None:
            return None
        offer = self._offers.get(row.offer_version_id)
        if offer is None:
            async with self._database.reading() as session:
                offer = await offer_version(session, row.offer_version_id)
            self._offers[row.offer_version_id] = offer
        return overage_view(row.balance, offer, limit)


def _row(row: Any) -> PlanRow:
    balance = PlanBalance(*row[BALANCE_COLUMNS])
    balance.held -= row["expired"]
    return PlanRow(balance, PlanSource(row["source"]), row["created_at"], row["offer_version_id"])

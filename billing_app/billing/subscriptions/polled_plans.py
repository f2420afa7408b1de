"""The current plan as services poll it: one statement, no session, the same answer."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from billing_app.billing import ids
from billing_app.billing.accounts.service import key_may_read, require_reading
from billing_app.billing.actors import ServiceActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.executions.expired_holds import expired_held
from billing_app.billing.executions.state import PlanBalance
from billing_app.billing.money import Money
from billing_app.billing.overage.views import OverageView, overage_view
from billing_app.billing.plans import usable
from billing_app.billing.plans.service import (
    CurrentPlan,
    PlanRow,
    current_plan,
    is_unused_bridge,
    running_overage,
)
from billing_app.billing.subscriptions.next_executions import NextExecutions, plans_of
from billing_app.billing.subscriptions.next_reads import (
    BALANCE,
    BALANCE_COLUMNS,
    COLUMNS,
    JOINS,
    OfferVersions,
    first_that_comes,
)
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource
from billing_app.db.read_pool import ReadPool

# A row without a plan when the account has none. Plans are a subquery of their own: on a cluster it
# is answered where they are.
STATEMENT: Final = f"""
SELECT {", ".join(f"plan.{name.strip()}" for name in BALANCE.split(","))}, plan.source,
       plan.created_at, plan.offer_version_id, account.organization_id,
       own.limit_minor, own.currency, {COLUMNS}, plan.expired
FROM accounts AS account
LEFT JOIN overage_limits AS own ON own.account_id = account.id
{JOINS}
LEFT JOIN (
    SELECT plan.*, CASE WHEN plan.held > 0
        THEN ({expired_held("plan").replace(":now", "$2")}) ELSE 0 END AS expired
    FROM plans AS plan WHERE plan.account_id = $1
) AS plan ON true
WHERE account.id = $1
ORDER BY {usable.queue_order("plan")}
"""  # noqa: S608


class PolledPlan(NamedTuple):
    current: CurrentPlan
    next_executions: NextExecutions | None


class PolledPlans:
    """Reads current plans for service keys."""

    def __init__(self, pool: ReadPool, database: Database) -> None:
        self._pool = pool
        self._offers = OfferVersions(database)

    async def read(self, actor: ServiceActor, account_id: str, now: datetime) -> PolledPlan:
        """As account_summary.read_summary. Raises AccountNotFoundError, ScopeMissingError,
        UnreadableError."""
        require_reading(actor)
        number = ids.decode_account(account_id)
        if number is None:
            raise AccountNotFoundError
        found = await self._pool.fetch(STATEMENT, number, now)
        if not found or not key_may_read(actor, found[0]["organization_id"], number):
            raise AccountNotFoundError
        rows = [_row(row) for row in found if row["sequence"] is not None]
        rows = [row for row in rows if not is_unused_bridge(row, now)]
        minor, currency = found[0]["limit_minor"], found[0]["currency"]
        limit = None if minor is None else Money(minor, currency)
        overage = await self._overage(running_overage(rows, now), limit)
        current = current_plan(number, rows, overage, now)
        coming = plans_of(current)
        return PolledPlan(current, await first_that_comes(found[0], coming, self._offers, now))

    async def _overage(self, row: PlanRow | None, limit: Money | None) -> OverageView | None:
        if row is None or row.offer_version_id is None:
            return None
        return overage_view(row.balance, await self._offers.get(row.offer_version_id), limit)


def _row(row: Any) -> PlanRow:
    balance = PlanBalance(*row[BALANCE_COLUMNS])
    balance.held -= row["expired"]
    return PlanRow(balance, PlanSource(row["source"]), row["created_at"], row["offer_version_id"])

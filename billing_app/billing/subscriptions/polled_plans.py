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
from billing_app.billing.subscriptions.account_summary import (
    NextExecutions,
    first_of,
    renewal_of,
)
from billing_app.billing.subscriptions.apply import ENDED
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource
from billing_app.db.read_pool import ReadPool

BALANCE: Final = (
    "sequence, type, name, executions, used, held, starts_at, ends_at, began_at, ended_at,"
    " ended_because, priority, suspended_at, paused_at, blocked_at"
)
BALANCE_COLUMNS: Final = slice(0, 15)
# A row without a plan when the account has none; `live` is a subscription that renews by itself.
# Plans are a subquery of their own: on a cluster it is answered where they are.
STATEMENT: Final = f"""
SELECT {", ".join(f"plan.{name.strip()}" for name in BALANCE.split(","))}, plan.source,
       plan.created_at, plan.offer_version_id, account.organization_id,
       own.limit_minor, own.currency, live.offer_version_id AS renewed_version_id,
       live.next_offer_version_id, live.period_end, live.quantity, plan.expired
FROM accounts AS account
LEFT JOIN overage_limits AS own ON own.account_id = account.id
LEFT JOIN subscriptions AS live ON live.account_id = account.id AND NOT live.is_duplicate
     AND live.status NOT IN ({", ".join(f"'{status}'" for status in sorted(ENDED))})
     AND NOT live.cancel_at_period_end AND live.past_due_since IS NULL
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
    """Reads current plans for service keys. Versions of offers never change, so they are kept."""

    def __init__(self, pool: ReadPool, database: Database) -> None:
        self._pool = pool
        self._database = database
        self._offers: dict[int, OfferView] = {}

    async def read(self, actor: ServiceActor, account_id: str, now: datetime) -> PolledPlan:
        """As account_summary.read_summary. Raises AccountNotFoundError, ScopeMissingError,
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
        current = current_plan(number, rows, overage, now)
        return PolledPlan(current, first_of(current.upcoming, await self._renewal(found[0]), now))

    async def _overage(self, row: PlanRow | None, limit: Money | None) -> OverageView | None:
        if row is None or row.offer_version_id is None:
            return None
        return overage_view(row.balance, await self._offer(row.offer_version_id), limit)

    async def _renewal(self, row: Any) -> NextExecutions | None:
        if row["renewed_version_id"] is None:
            return None
        following = row["next_offer_version_id"]
        return renewal_of(
            row["period_end"],
            row["quantity"],
            await self._offer(row["renewed_version_id"]),
            await self._offer(following) if following else None,
        )

    async def _offer(self, version_id: int) -> OfferView:
        offer = self._offers.get(version_id)
        if offer is None:
            async with self._database.reading() as session:
                offer = await offer_version(session, version_id)
            self._offers[version_id] = offer
        return offer


def _row(row: Any) -> PlanRow:
    balance = PlanBalance(*row[BALANCE_COLUMNS])
    balance.held -= row["expired"]
    return PlanRow(balance, PlanSource(row["source"]), row["created_at"], row["offer_version_id"])

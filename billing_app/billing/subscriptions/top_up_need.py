"""Which accounts need an automatic top-up, and whether its cap allows one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.executions.expired_holds import expired_held
from billing_app.billing.money import Money
from billing_app.billing.plans.usable import is_in_period, is_usable
from billing_app.billing.subscriptions.provider_requests import Operation
from billing_app.db.enums import ProviderRequestState
from billing_app.db.tables import ProviderRequest, TopUp

PAGE_ACCOUNTS: Final = 100
READ_ACCOUNTS: Final = 200

# Orders and plans are read by statements of their own: on a cluster they are on other nodes.
WAITING: Final = text("""
SELECT t.account_id, t.threshold_executions
FROM top_ups AS t
JOIN accounts AS a ON a.id = t.account_id
WHERE t.stopped_because IS NULL AND a.blocked_at IS NULL
  AND (CAST(:only AS bigint[]) IS NULL OR t.account_id = ANY(CAST(:only AS bigint[])))
  AND NOT EXISTS (
      SELECT FROM provider_writes AS w
      WHERE w.account_id = t.account_id AND w.state = 'pending' AND w.operation = 'top_up')
  AND NOT EXISTS (
      SELECT FROM checkouts AS c WHERE c.account_id = t.account_id AND c.status = 'confirming')
  AND t.account_id > :after
ORDER BY t.account_id LIMIT :most
""")
LEFT: Final = text(f"""
SELECT p.account_id,
       sum(p.executions - p.used - p.held + CASE WHEN p.held > 0
           THEN ({expired_held("p")}) ELSE 0 END)::bigint AS executions,
       bool_or(p.executions > p.used AND NOT ({is_usable("p")})) AS is_stopped
FROM plans AS p
WHERE p.account_id = ANY(:accounts) AND p.source <> 'overage' AND {is_in_period("p")}
GROUP BY p.account_id
""")  # noqa: S608


async def accounts_in_need(
    session: AsyncSession,
    now: datetime,
    *,
    after: int = 0,
    only: Sequence[int] | None = None,
) -> list[int]:
    """Accounts below their threshold without a purchase in progress, at most PAGE_ACCOUNTS where
    `only` names none. What expired reservations hold counts as left; executions of a stopped plan
    are no reason to buy more."""
    connection = await session.connection()
    accounts = None if only is None else list(only)
    most = PAGE_ACCOUNTS if accounts is None else len(accounts)
    found: list[int] = []
    while len(found) < most:
        values = {"after": after, "only": accounts, "most": READ_ACCOUNTS}
        thresholds = {row[0]: row[1] for row in await connection.execute(WAITING, values)}
        about = {"accounts": list(thresholds), "now": now}
        left = {row[0]: row[1:] for row in await connection.execute(LEFT, about)}
        for account_id, threshold in thresholds.items():
            executions, is_stopped = left.get(account_id, (0, False))
            if executions < threshold and not is_stopped:
                found.append(account_id)
        if len(thresholds) < READ_ACCOUNTS:
            break
        after = max(thresholds)
    return found[:most]


async def fits_cap(session: AsyncSession, row: TopUp, price: Money, now: datetime) -> bool:
    """Whether a purchase keeps the month within the cap, which is in the same currency."""
    cap = Money(row.monthly_cap_minor, row.currency)
    return price.currency == cap.currency and await spent(session, row, now) + price <= cap


async def spent(session: AsyncSession, top_up: TopUp, now: datetime) -> Money:
    """Everything that is paid or may still be in this calendar month (UTC), in the cap's currency:
    what was bought in another one is not part of it."""
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    query = (
        select(ProviderRequest)
        .where(ProviderRequest.account_id == top_up.account_id)
        .where(ProviderRequest.operation == Operation.TOP_UP)
        .where(ProviderRequest.state != ProviderRequestState.FAILED)
        .where(col(ProviderRequest.created_at) >= month)
    )
    bought = [row.parameters for row in (await session.exec(query)).all()]
    # Rows of before 0.2.0 have no currency: theirs was the cap's.
    counted = (
        int(each["amount_minor"])
        for each in bought
        if each.get("currency", top_up.currency) == top_up.currency
    )
    return Money(sum(counted), top_up.currency)

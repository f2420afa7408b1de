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

NEEDED: Final = text(f"""
SELECT t.account_id
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
  AND t.threshold_executions > (
      SELECT coalesce(sum(p.executions - p.used - p.held + coalesce(expired.executions, 0)), 0)
      FROM plans AS p
      LEFT JOIN LATERAL ({expired_held("p")}) AS expired ON p.held > 0
      WHERE p.account_id = t.account_id AND p.source <> 'overage' AND {is_in_period("p")})
  AND NOT EXISTS (
      SELECT FROM plans AS p
      WHERE p.account_id = t.account_id AND p.source <> 'overage' AND {is_in_period("p")}
        AND p.executions > p.used AND NOT ({is_usable("p")}))
ORDER BY t.account_id LIMIT :most
""")  # noqa: S608


async def accounts_in_need(
    session: AsyncSession,
    now: datetime,
    *,
    after: int = 0,
    only: Sequence[int] | None = None,
) -> list[int]:
    """Accounts below their threshold without a purchase in progress. What expired reservations
    hold counts as left; executions of a stopped plan are no reason to buy more."""
    connection = await session.connection()
    accounts = None if only is None else list(only)
    most = PAGE_ACCOUNTS if accounts is None else len(accounts)
    values = {"now": now, "after": after, "only": accounts, "most": most}
    return [row[0] for row in await connection.execute(NEEDED, values)]


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

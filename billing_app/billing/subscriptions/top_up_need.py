"""Which accounts need an automatic top-up: one statement for all of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.executions.expired_holds import expired_held
from billing_app.billing.plans.usable import is_in_period, is_usable

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

"""Settles overage whose period no invoice will take up any more: to the unit, on the next invoice.

What a plan's overage costs is known from our own count; what was billed of it from the provider's
invoices. They differ when a reservation ran on after the period, when executions were given back
later, or when a report came too late for its invoice.
"""

from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import offer_version
from billing_app.billing.overage.reports import CLOSED_AFTER, period_of
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.provider import (
    Correction,
    PaymentProvider,
    PaymentProviderUnavailableError,
)
from billing_app.db.engine import Database
from billing_app.db.enums import ReportState
from billing_app.db.tables import Account, OverageBill, OverageSettlement, Plan, ProviderCustomer

MAX_PLANS: Final = 1_000

UNSETTLED: Final = text("""
SELECT p.account_id, p.sequence
FROM plans AS p
JOIN offer_versions AS v ON v.id = p.offer_version_id
LEFT JOIN overage_bills AS b ON b.account_id = p.account_id AND b.plan_sequence = p.sequence
LEFT JOIN (
    SELECT account_id, plan_sequence, sum(amount_minor) AS amount_minor,
           bool_or(state = 'pending') AS is_pending
    FROM overage_settlements GROUP BY 1, 2
) AS s ON s.account_id = p.account_id AND s.plan_sequence = p.sequence
WHERE p.source = 'overage' AND least(p.ended_at, p.ends_at) < :closed
  AND NOT coalesce(b.is_open, false)
  AND (s.is_pending OR
       (p.used + v.overage_unit_executions - 1) / v.overage_unit_executions
       * v.overage_unit_price_minor
       <> coalesce(b.billed_minor, 0) + coalesce(s.amount_minor, 0))
ORDER BY 1, 2 LIMIT :most
""")

log = structlog.get_logger(__name__)


class OverageSettlements:
    def __init__(
        self, database: Database, provider: PaymentProvider, syncing: CustomerSync
    ) -> None:
        self._database = database
        self._provider = provider
        self._syncing = syncing

    async def run(self, now: datetime) -> int:
        """Settle all closed plans; returns how many amounts were put on invoices."""
        async with self._database.reading() as session:
            connection = await session.connection()
            values = {"closed": now - CLOSED_AFTER, "most": MAX_PLANS}
            plans = [(row[0], row[1]) for row in await connection.execute(UNSETTLED, values)]
        settled = 0
        for account_id, sequence in plans:
            try:
                settled += await self.settle(account_id, sequence, now)
            except PaymentProviderUnavailableError:
                raise
            except BillingError as error:
                log.exception("overage_not_settled", account_id=account_id, code=error.code)
        return settled

    async def settle(self, account_id: int, sequence: int, now: datetime) -> bool:
        """Bill or give back what differs now, after a fresh look at the provider's invoices."""
        async with self._database.reading() as session:
            customer = await session.get(ProviderCustomer, account_id)
        if customer is None:
            return False
        await self._syncing.customer(customer.customer_id, now)
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            row = await _intend(session, account_id, sequence, now)
            is_live = await live_subscription(session, account_id) is not None
        if row is None:
            return False
        method = None
        if not is_live and row.amount_minor > 0:
            method = await self._provider.payment_method(customer.customer_id)
        await self._provider.settle_overage(
            customer_id=customer.customer_id,
            correction=_correction(row),
            payment_method_id=method.provider_id if method else None,
            key=key_of(row),
        )
        async with self._database.transaction() as session:
            kept = await session.get(OverageSettlement, (account_id, sequence, row.number))
            assert kept is not None
            kept.state, kept.finished_at = ReportState.DONE, now
            session.add(kept)
        await self._syncing.customer(customer.customer_id, now)
        return True


def key_of(row: OverageSettlement) -> str:
    account_id = ids.encode_account(row.account_id)
    return f"overage-settlement-{account_id}-{row.plan_sequence}-{row.number}"


async def _intend(
    session: AsyncSession, account_id: int, sequence: int, now: datetime
) -> OverageSettlement | None:
    """The settlement that is on its way, or a new one; None: nothing differs."""
    query = (
        select(OverageSettlement)
        .where(OverageSettlement.account_id == account_id)
        .where(OverageSettlement.plan_sequence == sequence)
        .order_by(col(OverageSettlement.number))
    )
    earlier = list((await session.exec(query)).all())
    for row in earlier:
        if row.state == ReportState.PENDING:
            return row
    plan = await session.get(Plan, (account_id, sequence))
    bill = await session.get(OverageBill, (account_id, sequence))
    assert plan is not None
    assert plan.offer_version_id is not None
    if (bill is not None and bill.is_open) or period_of(plan).end > now - CLOSED_AFTER:
        return None
    offer = await offer_version(session, plan.offer_version_id)
    assert offer.overage is not None
    settled = sum(row.amount_minor for row in earlier) + (bill.billed_minor if bill else 0)
    amount_minor = offer.overage.cost_minor(plan.used) - settled
    if amount_minor == 0:
        return None
    row = OverageSettlement(
        account_id=account_id,
        plan_sequence=sequence,
        number=len(earlier) + 1,
        executions=plan.used,
        amount_minor=amount_minor,
        currency=offer.currency,
        state=ReportState.PENDING,
        created_at=now,
    )
    session.add(row)
    return row


def _correction(row: OverageSettlement) -> Correction:
    description = f"Executions beyond the plan, corrected to {row.executions:,}"
    return Correction(row.amount_minor, row.currency, description)

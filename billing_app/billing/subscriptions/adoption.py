"""Adopts a database that was copied or restored, or moves it to another provider account.

Both give it a new mark, so that its idempotency keys never meet those of the database it came
from. Moving also detaches what only the old account knows: customers and prices are created anew
on the new one. Plans, usage and invoices stay; what was used beyond plans is not billed again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import col, delete, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import ConflictError
from billing_app.billing.plans.locking import lock_plans
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.installation import (
    Installation,
    Place,
    describe,
    identity_values,
    is_copy,
    is_other,
    other_account,
)
from billing_app.billing.subscriptions.provider import ENDED, ProviderAccount
from billing_app.billing.subscriptions.provider_request_recovery import (
    NeverArrivedError,
    RecordFailure,
)
from billing_app.db.engine import Database
from billing_app.db.enums import (
    CheckoutStatus,
    EndReason,
    PlanSource,
    ProviderRequestState,
    ReportState,
    SubscriptionStatus,
)
from billing_app.db.tables import (
    Checkout,
    MeterReport,
    OfferPrice,
    OverageSettlement,
    Plan,
    ProviderCustomer,
    ProviderIdentity,
    ProviderRequest,
    Subscription,
)

# By then the provider has forgotten an identifier, and the meter itself is read instead.
FORGOTTEN: Final = timedelta(days=1)
# What was used beyond plans counts as billed: the old account has billed it, or never will.
CLOSE_BILLS: Final = text("""
INSERT INTO overage_bills (account_id, plan_sequence, billed_minor, is_open)
SELECT p.account_id, p.sequence,
       (p.used + v.overage_unit_executions - 1) / v.overage_unit_executions
         * v.overage_unit_price_minor
       - coalesce(settled.amount_minor, 0),
       false
FROM plans AS p JOIN offer_versions AS v ON v.id = p.offer_version_id
LEFT JOIN (
    SELECT account_id, plan_sequence, sum(amount_minor) AS amount_minor
    FROM overage_settlements GROUP BY account_id, plan_sequence
) AS settled ON settled.account_id = p.account_id AND settled.plan_sequence = p.sequence
WHERE p.source = 'overage'
ON CONFLICT (account_id, plan_sequence)
DO UPDATE SET billed_minor = excluded.billed_minor, is_open = false
""")


class SameProviderAccountError(ConflictError):
    code = "same_provider_account"
    title = "The database already belongs to this account of the payment provider"


@dataclass(frozen=True, slots=True)
class Detached:
    """What only the old account knows, by number."""

    customers: int
    prices: int
    subscriptions: int
    checkouts: int
    requests: int
    overage_plans: int


@dataclass(frozen=True, slots=True)
class Adoption:
    """`account`: what the database belongs to afterwards, in words. `was_copy` False and
    `detached` None: nothing had to be done."""

    account: str
    was_copy: bool
    detached: Detached | None


async def adopt(
    database: Database,
    installation: Installation,
    record_failure: RecordFailure,
    *,
    new_account: bool,
    dry_run: bool,
    now: datetime,
) -> Adoption:
    """Let this database write to the provider account of its key from now on.

    `new_account`: also if that is another account or mode than before. Raises
    ProviderNotAdoptedError for another account without it, SameProviderAccountError for the same
    one with it, and what the provider raises.
    """
    identity, place = await installation.read()
    account = await installation.account()
    words = describe(account.provider_id, is_live=account.is_live)
    if identity is None:
        if not dry_run:
            await installation.permit()
        return Adoption(words, was_copy=False, detached=None)
    differs, was_copy = is_other(identity, account), is_copy(identity, place)
    if differs and not new_account:
        raise other_account(identity, account)
    if new_account and not differs:
        raise SameProviderAccountError(f"This database already belongs to Stripe account {words}.")
    detached = None
    async with database.transaction() as session:
        if differs:
            detached = await _count(session)
        if not dry_run and (differs or was_copy):
            await _adopt(session, account, place, now, is_moved=differs)
            if differs:
                await _detach(session, record_failure, now)
    return Adoption(words, was_copy, detached)


async def _adopt(
    session: AsyncSession,
    account: ProviderAccount,
    place: Place,
    now: datetime,
    *,
    is_moved: bool,
) -> None:
    identity = await session.get(ProviderIdentity, 1, with_for_update=True)
    assert identity is not None
    earlier = [] if is_moved else [*identity.earlier_marks, identity.mark]
    values = identity_values(account, place, now)
    values |= {"mark": ids.new_id(""), "earlier_marks": earlier}
    if is_moved:
        values["account_since"] = now
    identity.sqlmodel_update(values)
    session.add(identity)
    # The original may have sent them: what arrived is read from the meter.
    pending = update(MeterReport).where(col(MeterReport.state) == ReportState.PENDING)
    forgotten = func.least(MeterReport.created_at, now - FORGOTTEN)
    await session.exec(pending.values(created_at=forgotten))


def _live() -> Any:
    return col(Subscription.status).not_in(ENDED)


def _unpaid() -> Any:
    return col(Checkout.status).in_((CheckoutStatus.CREATING, CheckoutStatus.OPEN))


def _running_overage() -> Any:
    return (col(Plan.source) == PlanSource.OVERAGE) & col(Plan.ended_at).is_(None)


async def _count(session: AsyncSession) -> Detached:
    async def rows(table: Any, *where: Any) -> int:
        query = select(func.count()).select_from(table).where(*where)
        return (await session.exec(query)).one()

    pending = col(ProviderRequest.state) == ProviderRequestState.PENDING
    return Detached(
        customers=await rows(ProviderCustomer),
        prices=await rows(OfferPrice),
        subscriptions=await rows(Subscription, _live()),
        checkouts=await rows(Checkout, _unpaid()),
        requests=await rows(ProviderRequest, pending),
        overage_plans=await rows(Plan, _running_overage()),
    )


async def _detach(session: AsyncSession, record_failure: RecordFailure, now: datetime) -> None:
    for top_ups in (False, True):
        rows = await provider_requests.pending(session, top_ups=top_ups)
        for row in sorted(rows, key=lambda each: each.account_id):
            error = NeverArrivedError()
            failed = ProviderRequestState.FAILED
            if await provider_requests.finish(session, row, failed, now, problem=error.code):
                await record_failure(session, row, error, now)
    ended = {"status": SubscriptionStatus.CANCELED, "ended_at": now, "synced_at": now}
    await session.exec(update(Subscription).where(_live()).values(past_due_since=None, **ended))
    await session.exec(update(Checkout).where(_unpaid()).values(status=CheckoutStatus.EXPIRED))
    for table in (MeterReport, OverageSettlement):
        await session.exec(delete(table).where(col(table.state) == ReportState.PENDING))
    stopped = {"ended_at": now, "ended_because": EndReason.CANCELLED}
    running = select(Plan.account_id).where(_running_overage()).distinct()
    for account_id in sorted((await session.exec(running)).all()):
        await lock_plans(session, account_id)
    await session.exec(update(Plan).where(_running_overage()).values(**stopped))
    await (await session.connection()).execute(CLOSE_BILLS)
    for table in (ProviderCustomer, OfferPrice):
        await session.exec(delete(table))

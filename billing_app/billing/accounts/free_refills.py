"""Free offers refill each period by themselves: the next period's plan is queued ahead of its
start, so that no job that runs late leaves a hole. Stripe has no part."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.plans.inserting import add_plan
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.proration import PERIODS
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource, PlanType
from billing_app.db.tables import Account, AccountProfile, Plan

AHEAD: Final = timedelta(days=2)
BLOCK_ACCOUNTS: Final = 500

log = structlog.get_logger(__name__)


async def refill_free_offers(database: Database, now: datetime) -> int:
    """Queue the next period of every free offer whose last one ends soon; returns how many. An
    account that fails does not stop the others."""
    refilled, after = 0, 0
    while block := await _due(database, after, now):
        for account_id in block:
            try:
                refilled += await _refill(database, account_id, now)
            except Exception:
                log.exception("free_offer_not_refilled", account_id=account_id)
        after = block[-1]
    return refilled


async def _due(database: Database, after: int, now: datetime) -> list[int]:
    query = (
        select(AccountProfile.account_id)
        .where(col(AccountProfile.refills_at) <= now + AHEAD)
        .where(col(AccountProfile.closed_at).is_(None))
        .where(col(AccountProfile.account_id) > after)
        .order_by(col(AccountProfile.account_id))
        .limit(BLOCK_ACCOUNTS)
    )
    async with database.reading() as session:
        return list((await session.exec(query)).all())


async def _refill(database: Database, account_id: int, now: datetime) -> bool:
    """False: it was refilled meanwhile, or the account has a subscription instead."""
    async with database.transaction() as session:
        await session.get_one(Account, account_id, with_for_update=True)
        profile = await session.get_one(AccountProfile, account_id, with_for_update=True)
        due, since = profile.refills_at, profile.offer_since
        if due is None or since is None or due > now + AHEAD or profile.closed_at is not None:
            return False
        assert profile.offer_version_id is not None
        offer = await offer_version(session, profile.offer_version_id)
        starts_at, ends_at = period_at(offer, since, max(due, now))
        profile.refills_at = ends_at
        session.add(profile)
        if await live_subscription(session, account_id) is not None:
            return False
        plan = await _plan(session, account_id, offer, starts_at, ends_at, now)
        await add_plan(session, plan)
    return True


def period_at(offer: OfferView, since: datetime, at: datetime) -> tuple[datetime, datetime]:
    """The period of an offer taken at `since` that `at` lies in. Each end is counted from the first
    day, so that the 31st comes back after a shorter month."""
    period = PERIODS[offer.interval]
    number = 0
    while since + period * (number + 1) <= at:
        number += 1
    return since + period * number, since + period * (number + 1)


async def _plan(
    session: AsyncSession,
    account_id: int,
    offer: OfferView,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
) -> Plan:
    last = select(func.max(col(Plan.sequence))).where(Plan.account_id == account_id)
    return Plan(
        account_id=account_id,
        sequence=((await session.exec(last)).one() or 0) + 1,
        type=PlanType.PAID,
        name=offer.name,
        source=PlanSource.CONTRACT,
        source_reference=f"free {starts_at.isoformat()}",
        priority=offer.priority,
        offer_version_id=offer.version_id,
        cost_minor=0,
        executions=offer.executions,
        starts_at=starts_at,
        ends_at=ends_at,
        created_at=now,
    )

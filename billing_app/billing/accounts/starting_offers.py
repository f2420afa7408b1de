"""The offer that a provisioned account begins with: a free one, or a trial. Stripe has no part."""

from datetime import datetime, timedelta

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.offers.catalogue import OfferView, find_offer, offer_version
from billing_app.billing.plans.inserting import add_plan
from billing_app.billing.subscriptions.proration import PERIODS
from billing_app.db.enums import PlanSource, PlanType
from billing_app.db.tables import AccountProfile, Plan


class OfferStartedError(ConflictError):
    code = "offer_started"
    title = "The account began with another offer"


class TrialTakenError(ConflictError):
    code = "trial_taken"
    title = "The account has had its trial"


async def start_offer(
    session: AsyncSession, profile: AccountProfile, code: str, now: datetime
) -> None:
    """Give the account the offer's first plan, once. The profile is locked.

    Raises OfferUnknownError, InvalidInputError for an offer that costs money at once,
    OfferStartedError, TrialTakenError.
    """
    if profile.offer_version_id is not None:
        started = await offer_version(session, profile.offer_version_id)
        if started.code != code:
            raise OfferStartedError(f"It began with {started.code}.", offer=started.code)
        return
    offer = await find_offer(session, code)
    plan = await _first_plan(session, profile.account_id, offer, now)
    profile.offer_version_id, profile.offer_since = offer.version_id, now
    refills = offer.is_subscription and offer.price_minor == 0
    profile.refills_at = plan.ends_at if refills else None
    session.add(profile)
    await add_plan(session, plan)


async def _first_plan(
    session: AsyncSession, account_id: int, offer: OfferView, now: datetime
) -> Plan:
    is_free = offer.price_minor == 0
    if not is_free and not offer.trial_days:
        raise InvalidInputError(
            f"Offer {offer.code} is neither free nor has a trial.", field="offer"
        )
    if not is_free and await _has_trial(session, account_id):
        raise TrialTakenError
    last = select(func.max(col(Plan.sequence))).where(Plan.account_id == account_id)
    return Plan(
        account_id=account_id,
        sequence=((await session.exec(last)).one() or 0) + 1,
        type=PlanType.PAID if is_free else PlanType.TRIAL,
        name=offer.name,
        source=PlanSource.CONTRACT if is_free else PlanSource.TRIAL,
        priority=offer.priority,
        offer_version_id=offer.version_id,
        cost_minor=0,
        executions=offer.executions,
        starts_at=now,
        ends_at=_end(offer, now),
        created_at=now,
    )


def _end(offer: OfferView, now: datetime) -> datetime | None:
    if offer.price_minor:
        return now + timedelta(days=offer.trial_days)
    if offer.is_subscription:
        return now + PERIODS[offer.interval]
    return None if offer.valid_days is None else now + timedelta(days=offer.valid_days)


async def _has_trial(session: AsyncSession, account_id: int) -> bool:
    query = select(Plan.sequence).where(Plan.account_id == account_id, Plan.type == PlanType.TRIAL)
    return (await session.exec(query)).first() is not None

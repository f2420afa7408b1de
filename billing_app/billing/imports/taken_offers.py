"""Makes offers of a payment provider's prices: the offer keeps that price, and no new one is made.

Customers are shown none of them unless that is asked for; a price that the provider no longer
sells becomes an archived offer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor, StaffActor
from billing_app.billing.imports.foreign import ForeignAccount
from billing_app.billing.imports.price_plans import PriceMap, PricePlan, SoldOffer, plan_prices
from billing_app.billing.imports.subscription_plans import Survey
from billing_app.billing.offers.catalogue import (
    OfferTakenError,
    OfferView,
    new_version,
    newest_version,
    offer_versions,
)
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, record
from billing_app.billing.staff.catalogue.drafts import DraftFields
from billing_app.db.engine import Database
from billing_app.db.tables import Offer, OfferPrice, OfferVersion


async def read_price_plans(
    database: Database,
    account: ForeignAccount,
    survey: Survey,
    price_map: PriceMap,
) -> dict[str, PricePlan]:
    """What becomes of each price that a subscription has. Raises what the provider raises."""
    found = [await account.price(price_id) for price_id in sorted(survey.counts)]
    async with database.reading() as session:
        linked = await _linked(session, list(survey.counts))
        catalogue = await _catalogue(session)
    return plan_prices(
        found,
        price_map,
        linked=linked,
        catalogue=catalogue,
        executions_key=survey.keys.executions,
    )


async def take_prices(
    database: Database,
    actor: Actor,
    plans: Mapping[str, PricePlan],
    *,
    shows: bool,
    reason: str,
    now: datetime,
) -> dict[str, PricePlan]:
    """Make the offers that are missing; repeated, it makes the rest.

    Raises ForbiddenError, OfferTakenError.
    """
    staff = require(actor, Action.PUBLISH_OFFER)
    return {
        price_id: plan
        if plan.problem or plan.is_linked
        else await _take(database, staff, plan, shows=shows, reason=reason, now=now)
        for price_id, plan in plans.items()
    }


async def _take(
    database: Database,
    staff: StaffActor,
    plan: PricePlan,
    *,
    shows: bool,
    reason: str,
    now: datetime,
) -> PricePlan:
    try:
        async with database.transaction() as session:
            version_id = plan.version_id
            if version_id is None:
                version_id = await _make_offer(session, plan, shows=shows, now=now)
            session.add(
                OfferPrice(
                    offer_version_id=version_id,
                    product_id=plan.price.product_id,
                    price_id=plan.price.price_id,
                    created_at=now,
                )
            )
            audit_record = AuditRecord(Action.PUBLISH_OFFER, reason, subject=plan.code)
            audit_record.after.update(_figures(plan))
            await record(session, staff, audit_record, now)
    except IntegrityError:
        raise OfferTakenError(offer=plan.code) from None
    return replace(plan, version_id=version_id, is_linked=True)


async def _make_offer(session: AsyncSession, plan: PricePlan, *, shows: bool, now: datetime) -> int:
    assert plan.terms is not None
    last = (await session.exec(select(func.max(col(Offer.position))))).one()
    offer = Offer(
        code=plan.code,
        position=(last or 0) + 1,
        visible=shows,
        archived_at=None if plan.on_sale else now,
        created_at=now,
    )
    session.add(offer)
    await session.flush()
    assert offer.id is not None
    version = new_version(offer.id, 1, plan.terms, now)
    session.add(version)
    await session.flush()
    assert version.id is not None
    return version.id


def _figures(plan: PricePlan) -> dict[str, Any]:
    assert plan.terms is not None
    return DraftFields(plan.terms).flat() | {"price_id": plan.price.price_id}


async def _linked(session: AsyncSession, price_ids: list[str]) -> dict[str, OfferView]:
    query = select(OfferPrice.price_id, OfferPrice.offer_version_id)
    rows = (await session.exec(query.where(col(OfferPrice.price_id).in_(price_ids)))).all()
    offers = await offer_versions(session, [version_id for _, version_id in rows])
    return {price_id: offers[version_id] for price_id, version_id in rows}


async def _catalogue(session: AsyncSession) -> dict[str, SoldOffer]:
    """By code, those that have a version."""
    newest = (
        select(OfferVersion, OfferPrice)
        .join(OfferPrice, col(OfferPrice.offer_version_id) == OfferVersion.id, isouter=True)
        .order_by(col(OfferVersion.offer_id), col(OfferVersion.version).desc())
        .ext(distinct_on(col(OfferVersion.offer_id)))
    )
    found: dict[str, SoldOffer] = {}
    rows: Sequence[Any] = (await session.exec(newest)).all()
    for version, price in rows:
        view, _ = await newest_version(session, version.offer_id)
        found[view.code] = SoldOffer(view, price is not None)
    return found

"""Creating, editing, publishing and archiving offers. Every change is audited."""

import re
from datetime import datetime
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor, StaffActor
from billing_app.billing.errors import BillingError, ConflictError, InvalidInputError
from billing_app.billing.offers.catalogue import OfferTakenError, new_version
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.billing.staff.catalogue.drafts import (
    DraftFields,
    DraftView,
    check_draft,
    differences,
    draft_row,
    newest_version,
    require_newest,
)
from billing_app.billing.staff.catalogue.offers import OfferDetail, find_any_offer, read_offer
from billing_app.billing.subscriptions.provider import PaymentProvider, PriceTerms, ProviderPrice
from billing_app.db.engine import Database
from billing_app.db.tables import Offer, OfferPrice

CODE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


class OfferArchivedError(ConflictError):
    code = "offer_archived"
    title = "The offer is archived"


async def create_offer(
    database: Database,
    actor: Actor,
    *,
    code: str,
    fields: DraftFields,
    reason: str,
    now: datetime,
) -> OfferDetail:
    """A new offer as a draft, which nobody can buy yet.

    Raises ForbiddenError, InvalidInputError, OfferTakenError.
    """
    staff, reason = require(actor, Action.EDIT_OFFER), clean_reason(reason)
    if not CODE.fullmatch(code):
        raise InvalidInputError(
            "Use 1 to 64 characters a-z, 0-9 and -, not starting or ending with -.",
            field="code",
        )
    fields = check_draft(fields)
    offer = Offer(code=code, position=fields.position, visible=fields.visible, created_at=now)
    try:
        async with database.transaction() as session:
            session.add(offer)
            await session.flush()
            session.add(draft_row(offer, 1, fields, staff, now))
            audit_record = AuditRecord(Action.EDIT_OFFER, reason, subject=code)
            audit_record.after.update(fields.flat() | {"revision": 1})
            await record(session, staff, audit_record, now)
    except IntegrityError:
        raise OfferTakenError(offer=code) from None
    return await read_offer(database, actor, code, now)


async def edit_offer(
    database: Database,
    actor: Actor,
    code: str,
    *,
    revision: int,
    fields: DraftFields,
    reason: str,
    now: datetime,
) -> OfferDetail:
    """Save an edit of the draft `revision`. Published versions do not change.

    Raises ForbiddenError, InvalidInputError, OfferNotFoundError, OfferArchivedError, and
    OfferEditedError with what others changed since.
    """
    staff, reason = require(actor, Action.EDIT_OFFER), clean_reason(reason)
    fields = check_draft(fields)
    async with database.transaction() as session:
        offer = await _open_offer(session, code)
        newest = await require_newest(session, offer, revision, fields)
        changed = differences(newest.fields, fields)
        if changed:
            session.add(draft_row(offer, revision + 1, fields, staff, now))
            audit_record = AuditRecord(
                Action.EDIT_OFFER,
                reason,
                subject=code,
                before={"currency": newest.fields.terms.currency, "revision": revision}
                | {name: old for name, (old, _) in changed.items()},
                after={"currency": fields.terms.currency, "revision": revision + 1}
                | {name: new for name, (_, new) in changed.items()},
            )
            await record(session, staff, audit_record, now)
    return await read_offer(database, actor, code, now)


async def publish_draft(
    database: Database,
    provider: PaymentProvider,
    actor: Actor,
    code: str,
    *,
    revision: int,
    reason: str,
    now: datetime,
) -> OfferDetail:
    """Make the draft `revision` the newest version, which is sold from now on.

    The provider's product and price come first, under keys made of code and revision: when the
    provider does not answer, nothing is published and the request can be repeated. A draft is
    published once, however often that is requested. Raises as edit_offer, and what the provider
    raises.
    """
    staff, reason = require(actor, Action.PUBLISH_OFFER), clean_reason(reason)
    async with database.reading() as session:
        offer = await _open_offer(session, code, lock=False)
        draft = await require_newest(session, offer, revision, None)
    if revision not in (0, offer.published_revision):
        try:
            price = await provider.ensure_price(
                _price(code, draft), key=f"offer-{code}-r{revision}"
            )
        except BillingError:
            if not await _is_published(database, code, revision):
                raise
        else:
            await _publish(database, staff, code, revision, price, reason, now)
    return await read_offer(database, actor, code, now)


async def archive_offer(
    database: Database, actor: Actor, code: str, *, reason: str, now: datetime
) -> OfferDetail:
    """Stop selling it; customers who bought it keep it. Raises as edit_offer."""
    staff, reason = require(actor, Action.ARCHIVE_OFFER), clean_reason(reason)
    await _set_archived(database, staff, code, Action.ARCHIVE_OFFER, reason, now)
    return await read_offer(database, actor, code, now)


async def unarchive_offer(
    database: Database, actor: Actor, code: str, *, reason: str, now: datetime
) -> OfferDetail:
    """Sell it again. Raises as edit_offer."""
    staff, reason = require(actor, Action.UNARCHIVE_OFFER), clean_reason(reason)
    await _set_archived(database, staff, code, Action.UNARCHIVE_OFFER, reason, now)
    return await read_offer(database, actor, code, now)


async def _publish(
    database: Database,
    staff: StaffActor,
    code: str,
    revision: int,
    price: ProviderPrice,
    reason: str,
    now: datetime,
) -> None:
    """Write version, price and audit entry in one transaction; nothing when somebody else was
    faster."""
    async with database.transaction() as session:
        offer = await _open_offer(session, code)
        if offer.published_revision == revision:
            return
        draft = await require_newest(session, offer, revision, None)
        before = await newest_version(session, offer)
        assert offer.id is not None
        number = before.version + 1 if before else 1
        version = new_version(offer.id, number, draft.fields.terms, now)
        session.add(version)
        await session.flush()
        session.add(_price_row(version.id, price, now))
        offer.published_revision = revision
        offer.position, offer.visible = draft.fields.position, draft.fields.visible
        session.add(offer)
        audit_record = AuditRecord(
            Action.PUBLISH_OFFER,
            reason,
            subject=code,
            before={"version": before.version if before else None},
            after=draft.fields.flat()
            | {"version": number, "revision": revision, "price_id": price.price_id},
        )
        await record(session, staff, audit_record, now)


async def _set_archived(
    database: Database, staff: StaffActor, code: str, action: Action, reason: str, now: datetime
) -> None:
    async with database.transaction() as session:
        offer = await find_any_offer(session, code, lock=True)
        wanted = now if action is Action.ARCHIVE_OFFER else None
        if (offer.archived_at is None) == (wanted is None):
            return
        audit_record = AuditRecord(action, reason, subject=code, before=_archived(offer))
        offer.archived_at = wanted
        session.add(offer)
        audit_record.after.update(_archived(offer))
        await record(session, staff, audit_record, now)


async def _open_offer(session: AsyncSession, code: str, *, lock: bool = True) -> Offer:
    offer = await find_any_offer(session, code, lock=lock)
    if offer.archived_at is not None:
        raise OfferArchivedError("Unarchive it first.", offer=code)
    return offer


async def _is_published(database: Database, code: str, revision: int) -> bool:
    async with database.reading() as session:
        return (await find_any_offer(session, code)).published_revision == revision


def _price(code: str, draft: DraftView) -> PriceTerms:
    terms = draft.fields.terms
    return PriceTerms(
        reference=f"{code}-r{draft.revision}",
        name=terms.name,
        description=terms.description,
        price=terms.price,
        interval=terms.interval,
        overage=terms.overage,
    )


def _price_row(version_id: int | None, price: ProviderPrice, now: datetime) -> OfferPrice:
    assert version_id is not None
    return OfferPrice(
        offer_version_id=version_id,
        product_id=price.product_id,
        price_id=price.price_id,
        overage_price_id=price.overage_price_id,
        created_at=now,
    )


def _archived(offer: Offer) -> dict[str, Any]:
    return {"archived_at": offer.archived_at.isoformat() if offer.archived_at else None}

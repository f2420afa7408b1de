"""Drafts of offers: their next terms, who changed what, and what a stale edit missed."""

import itertools
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.offers.catalogue import OfferTerms, OverageTerms, check_terms, terms_of
from billing_app.db.enums import Interval, Overage
from billing_app.db.tables import Offer, OfferDraft, OfferVersion
from billing_app.db.tables.plans import PACK_PRIORITY, QUEUE_PRIORITY

MAX_POSITION: Final = 1_000_000


class OfferEditedError(ConflictError):
    code = "offer_edited"
    title = "Someone else edited this offer in the meantime"


@dataclass(frozen=True, slots=True)
class DraftFields:
    """Everything that staff decide about an offer except its code, which never changes."""

    terms: OfferTerms
    position: int = 0
    visible: bool = True

    def flat(self) -> dict[str, Any]:
        """By the names that the API uses, with each part of a soft limit on its own."""
        values = asdict(self.terms)
        overage = values.pop("overage") or dict.fromkeys(
            ("unit_price_minor", "unit_executions", "limit_executions")
        )
        values |= {f"overage_{name}": value for name, value in overage.items()}
        return values | {"position": self.position, "visible": self.visible}


@dataclass(frozen=True, slots=True)
class DraftView:
    """`revision` counts the edits; 0: published before there were drafts, and not edited since."""

    revision: int
    fields: DraftFields
    edited_by_name: str
    edited_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """Another person's value of a field, beside the value that was to be saved."""

    field: str
    before: Any
    theirs: Any
    yours: Any
    by: str
    at: datetime


def check_draft(fields: DraftFields) -> DraftFields:
    """With the name trimmed and the priority set. Raises InvalidInputError."""
    check_terms(fields.terms)
    if not 0 <= fields.position <= MAX_POSITION:
        raise InvalidInputError(f"The position must be from 0 to {MAX_POSITION}.", field="position")
    usual = PACK_PRIORITY if fields.terms.interval is Interval.ONCE else QUEUE_PRIORITY
    priority = usual if fields.terms.priority is None else fields.terms.priority
    terms = replace(fields.terms, name=fields.terms.name.strip(), priority=priority)
    return replace(fields, terms=terms)


async def newest_version(session: AsyncSession, offer: Offer) -> OfferVersion | None:
    query = select(OfferVersion).where(OfferVersion.offer_id == offer.id)
    return (await session.exec(query.order_by(col(OfferVersion.version).desc()).limit(1))).first()


async def newest_draft(session: AsyncSession, offer: Offer) -> DraftView:
    """The newest edit; for an offer without edits, its version."""
    query = select(OfferDraft).where(OfferDraft.offer_id == offer.id)
    row = (await session.exec(query.order_by(col(OfferDraft.revision).desc()).limit(1))).first()
    return _view(row) if row else await _published(session, offer)


async def require_newest(
    session: AsyncSession, offer: Offer, revision: int, wanted: DraftFields | None
) -> DraftView:
    """The newest draft, when it is the revision that was edited. Raises OfferEditedError with what
    was changed since, by whom, beside what was `wanted`."""
    newest = await newest_draft(session, offer)
    if newest.revision == revision:
        return newest
    changes = await _changes_since(session, offer, revision, newest, wanted)
    names = sorted({change.by for change in changes})
    fields = ", ".join(change.field for change in changes)
    detail = f"{' and '.join(names)} changed {fields}." if changes else "The draft was saved again."
    raise OfferEditedError(detail, revision=newest.revision, changes=changes)


def draft_row(
    offer: Offer, revision: int, fields: DraftFields, actor: StaffActor, now: datetime
) -> OfferDraft:
    terms, overage = fields.terms, fields.terms.overage
    assert offer.id is not None
    assert terms.priority is not None
    return OfferDraft(
        offer_id=offer.id,
        revision=revision,
        name=terms.name,
        description=terms.description,
        executions=terms.executions,
        price_minor=terms.price_minor,
        currency=terms.currency,
        interval=terms.interval,
        trial_days=terms.trial_days,
        overage=Overage.SOFT if overage else Overage.HARD,
        overage_unit_price_minor=overage.unit_price_minor if overage else None,
        overage_unit_executions=overage.unit_executions if overage else 1,
        overage_limit_executions=overage.limit_executions if overage else None,
        valid_days=terms.valid_days,
        priority=terms.priority,
        position=fields.position,
        visible=fields.visible,
        edited_by=actor.actor_id,
        edited_by_name=actor.name,
        edited_at=now,
    )


def differences(before: DraftFields, after: DraftFields) -> dict[str, tuple[Any, Any]]:
    """Both values of each field that differs."""
    old, new = before.flat(), after.flat()
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


async def _changes_since(
    session: AsyncSession,
    offer: Offer,
    revision: int,
    newest: DraftView,
    wanted: DraftFields | None,
) -> list[Change]:
    """The last change of each field that differs."""
    query = (
        select(OfferDraft)
        .where(OfferDraft.offer_id == offer.id)
        .where(col(OfferDraft.revision) >= revision)
        .order_by(col(OfferDraft.revision))
    )
    views = [_view(row) for row in (await session.exec(query)).all()]
    if revision == 0 and await newest_version(session, offer) is not None:
        views.insert(0, await _published(session, offer))
    if not views or views[0].revision != revision:
        raise InvalidInputError(f"Revision {revision} does not exist.", field="revision")
    last_of: dict[str, DraftView] = {}
    for earlier, later in itertools.pairwise(views):
        last_of |= dict.fromkeys(differences(earlier.fields, later.fields), later)
    before, yours = views[0].fields.flat(), (wanted or newest.fields).flat()
    return [
        Change(name, before[name], theirs, yours[name], last_of[name].edited_by_name, at)
        for name, (_, theirs) in differences(views[0].fields, newest.fields).items()
        for at in [last_of[name].edited_at]
    ]


async def _published(session: AsyncSession, offer: Offer) -> DraftView:
    """The first version of an offer that was published without a draft."""
    query = select(OfferVersion).where(OfferVersion.offer_id == offer.id)
    version = (await session.exec(query.order_by(col(OfferVersion.version)).limit(1))).one()
    fields = DraftFields(terms_of(version), offer.position, offer.visible)
    return DraftView(0, fields, "", version.created_at)


def _view(row: OfferDraft) -> DraftView:
    overage = None
    if row.overage_unit_price_minor is not None:
        overage = OverageTerms(
            unit_price_minor=row.overage_unit_price_minor,
            unit_executions=row.overage_unit_executions,
            limit_executions=row.overage_limit_executions,
        )
    terms = OfferTerms(
        name=row.name,
        description=row.description,
        executions=row.executions,
        price_minor=row.price_minor,
        currency=row.currency,
        interval=Interval(row.interval),
        overage=overage,
        valid_days=row.valid_days,
        priority=row.priority,
        trial_days=row.trial_days,
    )
    fields = DraftFields(terms, row.position, row.visible)
    return DraftView(row.revision, fields, row.edited_by_name, row.edited_at)

"""Pulling the catalogue into a file's offers, and pushing them back as drafts or new versions.

Everything goes through the catalogue's services, which authorize and audit each change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from billing_app.billing.actors import Actor
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.lists.paging import MAX_LIMIT
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.catalogue.drafts import (
    DraftView,
    OfferEditedError,
    differences,
    require_newest,
)
from billing_app.billing.staff.catalogue.offer_files import FileOffer
from billing_app.billing.staff.catalogue.offers import (
    OfferRow,
    OfferState,
    find_any_offer,
    list_staff_offers,
)
from billing_app.billing.staff.catalogue.publishing import (
    CODE,
    archive_offer,
    create_offer,
    edit_offer,
    publish_draft,
    unarchive_offer,
)
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.db.engine import Database


@dataclass(frozen=True, slots=True)
class OfferPush:
    """What a push does to one offer. `before` None: it is new. `changed`: both values of each
    field that differs. `archives`: True takes it off sale, False puts it back on sale."""

    offer: FileOffer
    before: OfferRow | None
    changed: dict[str, tuple[Any, Any]]
    publishes: bool
    archives: bool | None

    @property
    def is_nothing(self) -> bool:
        return not (self.changed or self.publishes or self.archives is not None)


@dataclass(frozen=True, slots=True)
class Push:
    """`absent`: offers that the file does not name, which stay as they are. `unpublished`: how
    many offers differ from what is on sale, and stay drafts."""

    changes: list[OfferPush]
    unchanged: int
    absent: list[str]
    unpublished: int


async def read_catalogue(
    database: Database, actor: Actor, now: datetime, *, codes: Sequence[str] | None = None
) -> list[FileOffer]:
    """The newest draft of each offer, in the catalogue's order. Raises ForbiddenError."""
    rows = await _rows(database, actor, now)
    wanted = rows if codes is None else {code: rows[code] for code in rows if code in codes}
    return [
        FileOffer(row.code, row.draft.fields, row.draft.revision, row.archived_at is not None)
        for row in wanted.values()
    ]


async def plan_push(
    database: Database, actor: Actor, offers: Sequence[FileOffer], *, publish: bool, now: datetime
) -> Push:
    """What pushing would do; changes nothing.

    Raises ForbiddenError, InvalidInputError, and OfferEditedError when an offer that the file
    changes was edited since it was pulled.
    """
    require(actor, Action.PUBLISH_OFFER if publish else Action.EDIT_OFFER)
    rows = await _rows(database, actor, now)
    pushes = [_push_of(offer, rows.get(offer.code), publish=publish) for offer in offers]
    for push in pushes:
        await _require_pushable(database, push)
    changes = [push for push in pushes if not push.is_nothing]
    named = {offer.code for offer in offers}
    waiting = [p for p in pushes if not p.publishes and _differs_from_sold(p)]
    return Push(
        changes,
        len(pushes) - len(changes),
        [code for code in rows if code not in named],
        len(waiting),
    )


async def apply_push(
    database: Database,
    provider: PaymentProvider,
    actor: Actor,
    push: Push,
    *,
    reason: str,
    now: datetime,
) -> None:
    """Do it, offer by offer; repeated after an interruption, the rest.

    Raises as the catalogue's services; OfferEditedError when somebody edited an offer after
    `plan_push`.
    """
    for change in push.changes:
        await _apply(database, provider, actor, change, reason=reason, now=now)


async def _apply(
    database: Database,
    provider: PaymentProvider,
    actor: Actor,
    change: OfferPush,
    *,
    reason: str,
    now: datetime,
) -> None:
    code, fields = change.offer.code, change.offer.fields
    revision = change.before.draft.revision if change.before else 0
    if change.archives is False:
        await unarchive_offer(database, actor, code, reason=reason, now=now)
    if change.before is None:
        made = await create_offer(database, actor, code=code, fields=fields, reason=reason, now=now)
        revision = made.row.draft.revision
    elif change.changed:
        edited = await edit_offer(
            database, actor, code, revision=revision, fields=fields, reason=reason, now=now
        )
        revision = edited.row.draft.revision
    if change.publishes:
        await publish_draft(
            database, provider, actor, code, revision=revision, reason=reason, now=now
        )
    if change.archives:
        await archive_offer(database, actor, code, reason=reason, now=now)


def _push_of(offer: FileOffer, row: OfferRow | None, *, publish: bool) -> OfferPush:
    if row is None:
        changed = {name: (None, value) for name, value in offer.fields.flat().items()}
        archives = True if offer.is_archived and publish else None
        return OfferPush(offer, None, changed, publish and not offer.is_archived, archives)
    changed = differences(row.draft.fields, offer.fields)
    was_archived = row.archived_at is not None
    archives = offer.is_archived if publish and offer.is_archived != was_archived else None
    has_edits = bool(changed) or row.has_edits
    publishes = publish and not offer.is_archived and has_edits
    return OfferPush(offer, row, changed, publishes, archives)


async def _require_pushable(database: Database, push: OfferPush) -> None:
    offer, row = push.offer, push.before
    if row is None:
        _require_new(offer)
        return
    if not push.changed:
        return
    if row.state is OfferState.ARCHIVED and push.archives is not False:
        raise ConflictError(
            f"Offer {offer.code} is archived. Set archived = false and push with --publish."
        )
    if offer.revision is not None:
        await _require_revision(database, offer, offer.revision)


def _require_new(offer: FileOffer) -> None:
    if not CODE.fullmatch(offer.code):
        raise InvalidInputError(
            f"offers.{offer.code}: a code has 1 to 64 characters a-z, 0-9 and -, and does not"
            " start or end with -."
        )
    if offer.revision is not None:
        raise ConflictError(
            f"Offer {offer.code} does not exist here. To create it, remove its revision."
        )


async def _require_revision(database: Database, offer: FileOffer, revision: int) -> DraftView:
    advice = "Pull again and repeat the change."
    async with database.reading() as session:
        found = await find_any_offer(session, offer.code)
        try:
            return await require_newest(session, found, revision, offer.fields)
        except OfferEditedError as error:
            detail = f"Offer {offer.code} was edited since the file was pulled: {error} {advice}"
            raise OfferEditedError(detail, **error.extensions) from None
        except InvalidInputError as error:
            raise ConflictError(f"Offer {offer.code}: {error} {advice}") from None


def _differs_from_sold(push: OfferPush) -> bool:
    return bool(push.changed) or (push.before is not None and push.before.has_edits)


async def _rows(database: Database, actor: Actor, now: datetime) -> dict[str, OfferRow]:
    rows: dict[str, OfferRow] = {}
    cursor: str | None = None
    while True:
        page = await list_staff_offers(database, actor, now=now, limit=MAX_LIMIT, cursor=cursor)
        rows |= {row.code: row for row in page.items}
        cursor = page.next_cursor
        if cursor is None:
            return rows


def without_revisions(offers: Sequence[FileOffer]) -> list[FileOffer]:
    """For another installation, or to replace whatever is there."""
    return [replace(offer, revision=None) for offer in offers]

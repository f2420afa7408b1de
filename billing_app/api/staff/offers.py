"""The catalogue for staff over HTTP: drafts, publishing, archiving, who is on which version."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from billing_app.api.parameters import MAX_INT4, NO_NUL, NOT_BLANK, PathName, PositiveInt4
from billing_app.api.published_schemas import CURRENCY, number, text
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffCall
from billing_app.api.staff.page_params import PageParams, Text, page_body, sorted_by
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.lists.sorting import Order
from billing_app.billing.offers.catalogue import (
    MAX_DESCRIPTION_LENGTH,
    MAX_NAME_LENGTH,
    MAX_OFFER_EXECUTIONS,
    MAX_PRICE_MINOR,
    MAX_PRIORITY,
    MAX_TRIAL_DAYS,
    MAX_VALID_DAYS,
    OfferTerms,
    OverageTerms,
)
from billing_app.billing.staff.catalogue import offers, publishing
from billing_app.billing.staff.catalogue.drafts import MAX_POSITION, DraftFields
from billing_app.billing.staff.catalogue.offers import (
    HolderQuery,
    HolderSort,
    OfferDetail,
    OfferQuery,
    OfferSort,
    OfferState,
    VersionSort,
)
from billing_app.db.enums import AccountKind, Interval, Overage

UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    502: {
        "description": "Stripe did not respond or refused. Nothing was published; try again",
        "content": {"application/problem+json": {}},
    }
}
router = APIRouter(
    route_class=JsonRoute,
    prefix=f"{ADMIN_PREFIX}/offers",
    tags=["staff: offers"],
    responses=PROBLEMS,
)

EXECUTIONS = number(1, MAX_OFFER_EXECUTIONS)
OVERAGE_EXECUTIONS = Field(ge=1, le=MAX_OFFER_EXECUTIONS)
MULTIPLES = "Of some currencies a multiple of 10 or 100 minor units"
SOFT = "Soft: not of a pack, and with overage_unit_price_minor"
Revision = Annotated[int, Field(ge=0, le=MAX_INT4)]
Version = Annotated[PositiveInt4, Path()]


class Draft(ReasonBody):
    """The terms of an offer. A pack is one whose `interval` is once."""

    name: Annotated[str, text(MAX_NAME_LENGTH, least=1, pattern=NOT_BLANK)]
    description: Annotated[str, text(MAX_DESCRIPTION_LENGTH, pattern=NO_NUL)] = ""
    executions: Annotated[int, EXECUTIONS]
    price_minor: Annotated[int, number(0, MAX_PRICE_MINOR, MULTIPLES)]
    currency: Annotated[str, CURRENCY]
    interval: Annotated[Interval, Field(strict=False)]
    trial_days: Annotated[int, number(0, MAX_TRIAL_DAYS, "Of a pack: 0")] = 0
    overage: Annotated[Overage, Field(strict=False, description=SOFT)] = Overage.HARD
    overage_unit_price_minor: Annotated[
        int | None, Field(ge=1, le=MAX_PRICE_MINOR, description=MULTIPLES)
    ] = None
    overage_unit_executions: Annotated[int, OVERAGE_EXECUTIONS] = 1
    overage_limit_executions: Annotated[int | None, OVERAGE_EXECUTIONS] = None
    valid_days: Annotated[int | None, number(1, MAX_VALID_DAYS, "Of a pack only")] = None
    priority: Annotated[int | None, number(1, MAX_PRIORITY)] = None
    position: Annotated[int, number(0, MAX_POSITION)] = 0
    visible: bool = True

    def fields(self) -> DraftFields:
        terms = OfferTerms(
            name=self.name,
            description=self.description,
            executions=self.executions,
            price_minor=self.price_minor,
            currency=self.currency,
            interval=self.interval,
            overage=self._overage(),
            valid_days=self.valid_days,
            priority=self.priority,
            trial_days=self.trial_days,
        )
        return DraftFields(terms, self.position, self.visible)

    def _overage(self) -> OverageTerms | None:
        if self.overage is Overage.HARD:
            return None
        if self.overage_unit_price_minor is None:
            raise InvalidInputError(
                "A soft limit requires a unit price.", field="overage_unit_price_minor"
            )
        return OverageTerms(
            self.overage_unit_price_minor,
            self.overage_unit_executions,
            self.overage_limit_executions,
        )


class NewOffer(Draft):
    code: Annotated[str, text(64, pattern=f"^{publishing.CODE.pattern}$")]


class Edit(Draft):
    """`revision`: of the draft that was edited; one that exists."""

    revision: Revision


class Publish(ReasonBody):
    """`revision`: of the draft that was reviewed; one that exists."""

    revision: Revision


@router.get("")
async def list_offers(
    call: StaffCall,
    page: Annotated[PageParams[OfferSort], sorted_by(OfferSort.POSITION, Order.ASCENDING)],
    query: Text = None,
    state: OfferState | None = None,
    interval: Interval | None = None,
) -> dict[str, Any]:
    """All offers, with drafts and archived ones, by position by default. `query` matches part of
    the name or code."""
    where = OfferQuery(query or "", state, interval)
    return page_body(
        await offers.list_staff_offers(call.database, call.actor, where, now=call.now, **page)
    )


@router.post("", status_code=201)
async def create(body: NewOffer, call: StaffCall) -> OfferDetail:
    """Create an offer as a draft."""
    return await publishing.create_offer(
        call.database,
        call.actor,
        code=body.code,
        fields=body.fields(),
        reason=body.reason,
        now=call.now,
    )


@router.get("/{code}")
async def read(code: PathName, call: StaffCall) -> OfferDetail:
    """An offer with its draft and all versions."""
    return await offers.read_offer(call.database, call.actor, code, call.now)


@router.put("/{code}")
async def edit(code: PathName, body: Edit, call: StaffCall) -> OfferDetail:
    """Save the draft. 409 lists what others changed since `revision`, with both values."""
    return await publishing.edit_offer(
        call.database,
        call.actor,
        code,
        revision=body.revision,
        fields=body.fields(),
        reason=body.reason,
        now=call.now,
    )


@router.post("/{code}/publish", responses=UNAVAILABLE)
async def publish(code: PathName, body: Publish, call: StaffCall) -> OfferDetail:
    """Publish the draft as the newest version. Repeating the request publishes it only once."""
    return await publishing.publish_draft(
        call.database,
        call.services.provider,
        call.actor,
        code,
        revision=body.revision,
        reason=body.reason,
        now=call.now,
    )


@router.post("/{code}/archive")
async def archive(code: PathName, body: ReasonBody, call: StaffCall) -> OfferDetail:
    """Stop selling the offer. Existing customers keep it."""
    return await publishing.archive_offer(
        call.database, call.actor, code, reason=body.reason, now=call.now
    )


@router.post("/{code}/unarchive")
async def unarchive(code: PathName, body: ReasonBody, call: StaffCall) -> OfferDetail:
    """Put the offer back on sale."""
    return await publishing.unarchive_offer(
        call.database, call.actor, code, reason=body.reason, now=call.now
    )


@router.get("/{code}/versions")
async def list_versions(
    code: PathName,
    call: StaffCall,
    page: Annotated[PageParams[VersionSort], sorted_by(VersionSort.VERSION)],
    held: bool | None = None,
) -> dict[str, Any]:
    """An offer's versions, newest first by default. `held`: only those with or without accounts."""
    return page_body(
        await offers.list_versions(call.database, call.actor, code, now=call.now, held=held, **page)
    )


@router.get("/{code}/versions/{version}/accounts")
async def accounts_on(
    code: PathName,
    version: Version,
    call: StaffCall,
    page: Annotated[PageParams[HolderSort], sorted_by(HolderSort.ACCOUNT, Order.ASCENDING)],
    kind: AccountKind | None = None,
    past_due: bool | None = None,
) -> dict[str, Any]:
    """Accounts on a version, through a live subscription or a plan created from it."""
    return page_body(
        await offers.list_accounts_on(
            call.database,
            call.actor,
            code,
            version,
            HolderQuery(kind, past_due),
            now=call.now,
            **page,
        )
    )

"""Repairs of accounts over HTTP. Each answers with its entry of the audit log.

With an `Idempotency-Key` a repeated request gets the first entry again.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Header
from pydantic import Field

from billing_app.api.callers import Now, ServicesNow
from billing_app.api.parameters import MAX_INT4, NO_CONTROL, Moment, OfferCode
from billing_app.api.responses import problems
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffNow
from billing_app.billing.staff.access.permissions import MAX_EXECUTIONS
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs import (
    adjustments,
    grants,
    refunds,
    stops,
    trial_extensions,
    undo,
)
from billing_app.billing.staff.repairs.moves import MovePreview
from billing_app.billing.staff.repairs.refunds import EventRange, RangeView
from billing_app.billing.staff.repairs.repairs import MAX_KEY_LENGTH
from billing_app.db.enums import When

router = APIRouter(route_class=JsonRoute, prefix=ADMIN_PREFIX, tags=["repairs"], responses=PROBLEMS)

MONEY: Final = problems(402, 502)
Count = Annotated[int, Field(ge=1, le=MAX_EXECUTIONS)]
Label = Annotated[str, Field(max_length=255, pattern=NO_CONTROL)]
At = Annotated[Moment, Field(strict=False)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=MAX_KEY_LENGTH)]


class Grant(ReasonBody):
    executions: Count
    ends_at: At | None = None


class Adjustment(ReasonBody):
    """How many more executions the plan has used; fewer when negative."""

    executions: Annotated[int, Field(ge=-MAX_EXECUTIONS, le=MAX_EXECUTIONS)]


class RefundOne(ReasonBody):
    executions: Count | None = None


class Range(ReasonBody):
    """Events of a workflow ("" for those without one), `since` included, `until` not."""

    workflow: Label
    since: At
    until: At
    user_id: Label | None = None

    def found(self) -> EventRange:
        return EventRange(self.workflow, self.since, self.until, self.user_id)


class Preview(Range):
    reason: str = ""


class Extension(ReasonBody):
    executions: Annotated[int, Field(ge=0, le=MAX_EXECUTIONS)] = 0
    ends_at: At | None = None


class Move(ReasonBody):
    offer: OfferCode
    version: Annotated[int | None, Field(ge=1, le=MAX_INT4)] = None
    when: Annotated[When, Field(strict=False)] = When.PERIOD_END


class PreviewMove(Move):
    reason: str = ""


@router.post("/accounts/{account_id}/grants")
async def grant(
    account_id: str,
    body: Grant,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Grant executions: a plan of their own, until `ends_at` or until they are used."""
    return await grants.grant_executions(
        services.database,
        actor,
        account_id,
        executions=body.executions,
        ends_at=body.ends_at,
        reason=body.reason,
        now=now,
        key=key,
    )


@router.post("/plans/{plan_id}/adjustments")
async def adjust(
    plan_id: str,
    body: Adjustment,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Correct what a plan has used."""
    return await adjustments.adjust_executions(
        services.executions,
        actor,
        plan_id,
        used=body.executions,
        reason=body.reason,
        now=now,
        key=key,
    )


@router.post("/executions/{event_id}/refund")
async def refund(
    event_id: str,
    body: RefundOne,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Give back executions of an event, all that is left of it by default."""
    return await refunds.refund_event(
        services.executions,
        actor,
        event_id,
        count=body.executions,
        reason=body.reason,
        now=now,
        key=key,
    )


@router.post("/accounts/{account_id}/refunds/preview")
async def preview_refunds(
    account_id: str, body: Preview, services: ServicesNow, actor: StaffNow
) -> RangeView:
    """How many events and executions a refund of this range would give back."""
    return await refunds.preview_range(services.database, actor, account_id, body.found())


@router.post("/accounts/{account_id}/refunds")
async def refund_range(
    account_id: str,
    body: Range,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Give back all executions of a range of a workflow; what is refunded already is skipped."""
    return await refunds.refund_range(
        services.executions,
        actor,
        account_id,
        body.found(),
        reason=body.reason,
        now=now,
        key=key,
    )


@router.post("/accounts/{account_id}/trial")
async def extend_trial(
    account_id: str,
    body: Extension,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """More executions for the trial, a later end, or both."""
    return await trial_extensions.extend_trial(
        services.database,
        actor,
        account_id,
        executions=body.executions,
        ends_at=body.ends_at,
        reason=body.reason,
        now=now,
        key=key,
    )


@router.post("/accounts/{account_id}/offer/preview", responses=problems(502))
async def preview_move(
    account_id: str, body: PreviewMove, services: ServicesNow, actor: StaffNow, now: Now
) -> MovePreview:
    """What a move would charge at once, as Stripe reckons it, and what the next invoice will be."""
    return await services.moves.preview_move(
        actor,
        account_id,
        offer_code=body.offer,
        version=body.version,
        when=body.when,
        now=now,
    )


@router.post("/accounts/{account_id}/offer", responses=MONEY)
async def move_offer(
    account_id: str,
    body: Move,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Move the subscription to a version of an offer, the newest by default."""
    return await services.moves.move_offer(
        actor,
        account_id,
        offer_code=body.offer,
        version=body.version,
        when=body.when,
        reason=body.reason,
        now=now,
        key=key,
    )


@router.post("/plans/{plan_id}/pause")
async def pause(
    plan_id: str,
    body: ReasonBody,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Nothing new is taken from the plan."""
    return await stops.pause_plan(
        services.database, actor, plan_id, reason=body.reason, now=now, key=key
    )


@router.post("/plans/{plan_id}/resume")
async def resume(
    plan_id: str,
    body: ReasonBody,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """The plan may be used again."""
    return await stops.resume_plan(
        services.database, actor, plan_id, reason=body.reason, now=now, key=key
    )


@router.post("/accounts/{account_id}/block")
async def block(
    account_id: str,
    body: ReasonBody,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Nothing new is allowed on the account."""
    return await stops.block_account(
        services.database, actor, account_id, reason=body.reason, now=now, key=key
    )


@router.post("/accounts/{account_id}/unblock")
async def unblock(
    account_id: str,
    body: ReasonBody,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """The account's plans count again."""
    return await stops.unblock_account(
        services.database, actor, account_id, reason=body.reason, now=now, key=key
    )


@router.post("/audit/{entry_id}/undo", responses=MONEY)
async def undo_repair(
    entry_id: str,
    body: ReasonBody,
    services: ServicesNow,
    actor: StaffNow,
    now: Now,
    key: Key = None,
) -> EntryView:
    """Undo a repair, once; 409 with the figures when the state has moved on."""
    return await undo.undo(services.undoing, actor, entry_id, reason=body.reason, now=now, key=key)

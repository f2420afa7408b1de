"""Repairs of accounts over HTTP: a route for each row of the registry, and one to undo.

Each answers with its entry of the audit log. With an `Idempotency-Key` a repeated request gets the
first entry again.
"""

from dataclasses import MISSING, fields
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Final, get_args, get_type_hints

from fastapi import APIRouter, Header, Path
from pydantic import Field, create_model

from billing_app.api.parameters import IN_RANGE, NO_CONTROL, Moment
from billing_app.api.published_schemas import KEY_SCHEMA
from billing_app.api.responses import problems
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffCall
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs import service
from billing_app.billing.staff.repairs.drivers import MAX_KEY_LENGTH
from billing_app.billing.staff.repairs.fields import NoFields, RepairForm
from billing_app.billing.staff.repairs.registry import REPAIRS
from billing_app.billing.staff.repairs.repair import PreviewRoute, Repair

router = APIRouter(route_class=JsonRoute, prefix=ADMIN_PREFIX, tags=["repairs"], responses=PROBLEMS)

MONEY: Final = problems(402, 502)
AT: Any = Annotated[Moment, Field(strict=False, description=IN_RANGE)]


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=MAX_KEY_LENGTH,
        description="A retry with the same key and request gets the first entry again; the same key"
        " with another request gets 422",
        json_schema_extra=KEY_SCHEMA,
    ),
]


def body_of(repair: Repair[Any], name: str = "", **more: Any) -> type[ReasonBody]:
    """The fields of the repair's form, beside the reason."""
    form, hints = repair.form, get_type_hints(repair.form, include_extras=True)
    if form is NoFields:
        return ReasonBody
    found: dict[str, Any] = {
        each.name: (_json_type(hints[each.name]), ... if each.default is MISSING else each.default)
        for each in fields(form)
    }
    return create_model(
        name or form.__name__, __base__=ReasonBody, __doc__=form.__doc__, **found | more
    )


def _json_type(hint: Any) -> Any:
    """With what JSON needs beside the constraints of the field."""
    plain = get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
    if plain in {datetime, datetime | None}:
        return AT if plain is datetime else AT | None
    if plain in {str, str | None}:
        return Annotated[hint, Field(pattern=NO_CONTROL)]
    is_enum = isinstance(plain, type) and issubclass(plain, Enum)
    return Annotated[hint, Field(strict=False)] if is_enum else hint


def _form(repair: Repair[Any], body: ReasonBody) -> RepairForm:
    return repair.form(**{each.name: getattr(body, each.name) for each in fields(repair.form)})


def _add_repair(repair: Repair[Any]) -> None:
    async def carry_out(target_id: str, body: ReasonBody, call: StaffCall, key: Key = None) -> Any:
        return await service.carry_out(
            call.services.repairs,
            call.actor,
            repair,
            target_id,
            _form(repair, body),
            reason=body.reason,
            now=call.now,
            key=key,
        )

    carry_out.__annotations__ |= {"target_id": _target(repair), "body": body_of(repair)}
    router.add_api_route(
        _path(repair),
        carry_out,
        methods=["POST"],
        name=repair.name,
        description=repair.explanation,
        response_model=EntryView,
        responses=MONEY if repair.needs_provider else None,
    )


def _add_preview(repair: Repair[Any], route: PreviewRoute) -> None:
    async def preview(target_id: str, body: ReasonBody, call: StaffCall) -> Any:
        form, actor = _form(repair, body), call.actor
        return await service.preview(
            call.services.repairs, actor, repair, target_id, form, call.now
        )

    body = body_of(repair, route.body, reason=(str, ""))
    preview.__annotations__ |= {"target_id": _target(repair), "body": body}
    router.add_api_route(
        f"{_path(repair)}/preview",
        preview,
        methods=["POST"],
        name=route.name,
        description=route.explanation,
        response_model=get_type_hints(route.preview)["return"],
        responses=problems(502) if repair.needs_provider else None,
    )


def _target(repair: Repair[Any]) -> Any:
    return Annotated[str, Path(alias=f"{repair.target.noun}_id")]


def _path(repair: Repair[Any]) -> str:
    return f"/{repair.target.collection}/{{{repair.target.noun}_id}}/{repair.path or repair.name}"


for each in REPAIRS:
    if each.preview_route is not None:
        _add_preview(each, each.preview_route)
    _add_repair(each)


@router.post("/audit/{entry_id}/undo", responses=MONEY)
async def undo_repair(
    entry_id: str, body: ReasonBody, call: StaffCall, key: Key = None
) -> EntryView:
    """Undo a repair. 409 with the current figures if the state has changed since."""
    return await service.undo(
        call.services.repairs,
        call.actor,
        entry_id,
        reason=body.reason,
        now=call.now,
        key=key,
    )

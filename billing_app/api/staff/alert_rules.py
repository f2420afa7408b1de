"""The default rules of alerts, for staff."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from billing_app.api.alert_rules import Rules, rules_body, rules_of
from billing_app.api.parameters import OfferCode
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffCall
from billing_app.billing.staff.catalogue import alert_defaults
from billing_app.billing.staff.catalogue.alert_defaults import DefaultRulesView

router = APIRouter(
    route_class=JsonRoute,
    prefix=f"{ADMIN_PREFIX}/alert-rules",
    tags=["staff: alerts"],
    responses=PROBLEMS,
)


class SetDefaults(ReasonBody):
    offer: Annotated[
        OfferCode | None, Field(description="null: accounts of every other offer, and of none")
    ] = None
    rules: Rules


@router.get("")
async def list_defaults(call: StaffCall) -> dict[str, Any]:
    """The default rules of accounts without their own: those of every offer first."""
    found = await alert_defaults.list_default_rules(call.database, call.actor)
    return {"items": [_body(view) for view in found]}


@router.put("")
async def set_defaults(body: SetDefaults, call: StaffCall) -> dict[str, Any]:
    """Replace the default rules of an offer, or of every other. They apply within seconds."""
    await alert_defaults.set_default_rules(
        call.database, call.actor, body.offer, rules_of(body.rules), body.reason, call.now
    )
    return await list_defaults(call)


def _body(view: DefaultRulesView) -> dict[str, Any]:
    return {
        "offer": view.offer,
        "rules": rules_body(view.rules),
        "updated_by": view.updated_by,
        "updated_at": view.updated_at,
    }

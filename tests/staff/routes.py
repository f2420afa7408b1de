"""Every route under /billing/admin, and what it takes; a new one needs a line here."""

from typing import Any

from billing_app.billing import ids
from billing_app.billing.staff.access.permissions import Action
from tests.staff.permission_scene import PORTAL_PERSON, Scene
from tests.staff.repair_cases import BY_ROUTE
from tests.staff.staff_services import WHY

PARTS = (
    "",
    "/audit",
    "/balance",
    "/disputes",
    "/events",
    "/invoices",
    "/keys",
    "/people",
    "/plans",
    "/portal-sessions",
    "/reservations",
    "/sessions",
    "/subscriptions",
    "/usage",
    "/webhooks",
)


def routes_of(scene: Scene) -> dict[str, tuple[Action, dict[str, Any] | None]]:
    """`METHOD /path` as OpenAPI has it → what it does, and a body that is right."""
    because = {"reason": WHY}
    offer: dict[str, Any] = {"name": "Team", "executions": 9, "price_minor": 900, **because}
    offer |= {"currency": "EUR", "interval": "month"}
    return {
        "GET /me": (Action.READ, None),
        "GET /staff": (Action.READ, None),
        "POST /staff": (
            Action.ADD_STAFF,
            {"email": f"{ids.new_id('x')}@our.house", "role": "support", **because},
        ),
        "PUT /staff/{user_id}": (Action.CHANGE_ROLE, {"role": "billing", **because}),
        "POST /staff/{user_id}/remove": (Action.REMOVE_STAFF, because),
        "GET /audit": (Action.READ, None),
        "POST /audit/{entry_id}/undo": (Action.UNDO, because),
        **{
            case.route: (repair.action, {**case.json(scene), **because})
            for repair, case in BY_ROUTE.values()
        },
        **{
            f"{case.route}/preview": (repair.action, case.json(scene))
            for repair, case in BY_ROUTE.values()
            if repair.preview_route is not None
        },
        "GET /alert-rules": (Action.READ, None),
        "PUT /alert-rules": (
            Action.EDIT_ALERT_RULES,
            {"rules": [{"kind": "remaining_share", "value": 20}], **because},
        ),
        "GET /offers": (Action.READ, None),
        "POST /offers": (Action.EDIT_OFFER, {"code": ids.new_id("http-"), **offer}),
        "GET /offers/{code}": (Action.READ, None),
        "PUT /offers/{code}": (Action.EDIT_OFFER, {"revision": 1, **offer}),
        "POST /offers/{code}/publish": (Action.PUBLISH_OFFER, {"revision": 1, **because}),
        "POST /offers/{code}/archive": (Action.ARCHIVE_OFFER, because),
        "POST /offers/{code}/unarchive": (Action.UNARCHIVE_OFFER, because),
        "GET /offers/{code}/versions": (Action.READ, None),
        "GET /offers/{code}/versions/{version}/accounts": (Action.READ, None),
        "GET /customers": (Action.READ, None),
        **{f"GET /customers/{{account_id}}{part}": (Action.READ, None) for part in PARTS},
        "POST /customers/{account_id}/sign-out": (
            Action.SIGN_OUT,
            {"user_id": scene.holder_id, **because},
        ),
        "POST /customers/{account_id}/portal-sessions/end": (
            Action.SIGN_OUT,
            {"person_id": PORTAL_PERSON, **because},
        ),
        "GET /webhooks": (Action.READ, None),
        "GET /webhooks/{event_id}": (Action.READ, None),
        "POST /webhooks/{event_id}/replay": (Action.REPLAY_EVENT, because),
        "GET /reconciliations": (Action.READ, None),
        "GET /reconciliations/differences": (Action.READ, None),
        "POST /reconciliations": (Action.RECONCILE, because),
        "GET /metrics": (Action.READ, None),
        "GET /metrics/near-limit": (Action.READ, None),
        "GET /jobs": (Action.READ, None),
        "GET /jobs/{job_id}": (Action.READ, None),
        "POST /jobs/{job_id}/retry": (Action.RETRY_JOB, because),
    }


def address_of(scene: Scene, route: str) -> str:
    """The path with the ids of the scene's things in it."""
    path = route.partition(" ")[2]
    code = scene.archived if path.endswith("/unarchive") else scene.draft
    found = BY_ROUTE.get(route.removesuffix("/preview"))
    if found is not None:
        repair, case = found
        return path.format(**{f"{repair.target.noun}_id": case.target_id(scene, repair)})
    return path.format(
        account_id=scene.customer.id,
        event_id=scene.dead_event,
        job_id="job",
        entry_id=scene.entry.id,
        user_id=scene.member_id,
        code="growth" if path.endswith("/accounts") else code,
        version=1,
    )

"""Organizations under ids of the caller's own, over HTTP."""

from typing import Any

from fastapi import APIRouter, Response

from billing_app.api.callers import ActorNow, Now, ServicesNow
from billing_app.api.parameters import Limit
from billing_app.api.provisioned_accounts import AccountBody, ExternalId, Name, created
from billing_app.api.responses import problems
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.page_params import Cursor
from billing_app.billing.accounts.provisioned_views import OrganizationView
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.jobs.customers import get_details_queue
from billing_app.routes import ORGANIZATIONS

router = APIRouter(route_class=JsonRoute, tags=["provisioning"])
# An id may have slashes.
ORGANIZATION = ORGANIZATIONS + "/{external_id:path}"


class PutOrganization(AccountBody):
    name: Name


@router.put(ORGANIZATION, responses=created(OrganizationView) | problems(409))
async def put(
    external_id: ExternalId,
    body: PutOrganization,
    services: ServicesNow,
    actor: ActorNow,
    now: Now,
    response: Response,
) -> OrganizationView:
    """Make an organization, or update it. Repeating it changes nothing."""
    view, is_new = await services.provisioning.put_organization(
        actor, external_id, body.fields(body.name), details_queue=get_details_queue(), now=now
    )
    response.status_code = 201 if is_new else 200
    return view


@router.get(ORGANIZATION)
async def read(external_id: ExternalId, services: ServicesNow, actor: ActorNow) -> OrganizationView:
    """An organization, by your ID or by a generated one."""
    return await services.provisioning.read_organization(actor, external_id)


@router.post(ORGANIZATION + "/close", responses=problems(409, 502))
async def close(
    external_id: ExternalId, services: ServicesNow, actor: ActorNow, now: Now
) -> OrganizationView:
    """Cancel the subscription at once, end all plans and allow nothing more.

    Nothing is refunded; usage and invoices stay, and held reservations can be committed. Closing
    it again changes nothing.
    """
    return await services.closing.close(actor, external_id, now)


@router.get(ORGANIZATIONS)
async def list_organizations(
    services: ServicesNow,
    actor: ActorNow,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Organizations, newest first; a key of one organization sees that one."""
    page = await services.provisioning.list_organizations(actor, limit=limit, cursor=cursor)
    return {"items": page.items, "next_cursor": page.next_cursor}

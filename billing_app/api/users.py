"""People of the public organization under ids of the caller's own, over HTTP."""

from fastapi import APIRouter, Response

from billing_app.api.callers import ActorNow, Now, ServicesNow
from billing_app.api.provisioned_accounts import AccountBody, ExternalId, Name, created
from billing_app.api.responses import problems
from billing_app.api.routing import JsonRoute
from billing_app.billing.accounts.provisioned_views import UserView
from billing_app.jobs.customers import get_details_queue
from billing_app.routes import USERS

router = APIRouter(route_class=JsonRoute, tags=["provisioning"])
# An id may have slashes.
USER = USERS + "/{external_id:path}"


class PutUser(AccountBody):
    name: Name | None = None


@router.put(USER, responses=created(UserView) | problems(409))
async def put(
    external_id: ExternalId,
    body: PutUser,
    services: ServicesNow,
    actor: ActorNow,
    now: Now,
    response: Response,
) -> UserView:
    """Make a user of the public organization with a trial or with `offer`, or update them.
    Repeating it changes nothing."""
    view, is_new = await services.provisioning.put_user(
        actor, external_id, body.fields(body.name), details_queue=get_details_queue(), now=now
    )
    response.status_code = 201 if is_new else 200
    return view


@router.get(USER)
async def read(external_id: ExternalId, services: ServicesNow, actor: ActorNow) -> UserView:
    """A user of the public organization."""
    return await services.provisioning.read_user(actor, external_id)

"""Authenticates FastAPI routes: services by API key, people by session cookie."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import structlog
from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from billing_app.api.csrf import require_own_write
from billing_app.api.parameters import NO_CONTROL
from billing_app.billing.accounts.service import ReadOnlyError, list_accounts
from billing_app.billing.actors import Actor, PortalActor, UserActor, ViewingActor
from billing_app.billing.errors import InvalidInputError, NotAuthenticatedError
from billing_app.billing.staff.access.viewing import Visitor, visit
from billing_app.composition import Services, get_services
from billing_app.routes import SESSION_COOKIE

READING_METHODS: Final = frozenset({"GET", "HEAD"})


KEY: Final = HTTPBearer(scheme_name="key", auto_error=False)
SESSION: Final = APIKeyCookie(scheme_name="session", name=SESSION_COOKIE, auto_error=False)


async def _shown(
    _: Annotated[object, Security(KEY)], __: Annotated[object, Security(SESSION)]
) -> None:
    """Tell OpenAPI that either credential works; `authenticate` checks them."""


Shown = Annotated[None, Depends(_shown)]


def now() -> datetime:
    return datetime.now(UTC)


async def authenticate(request: Request, shown: Shown = None) -> Actor:
    """The caller. Raises NotAuthenticatedError; for writes by cookie also CrossSiteError, and
    ReadOnlyError while staff view an account as its customer."""
    services = get_services()
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return await services.keys.authenticate(secret.strip(), now())
    visitor = await visiting(request, services)
    if visitor.view is not None and request.method not in READING_METHODS:
        raise ReadOnlyError
    return visitor.actor


async def visiting(request: Request, services: Services) -> Visitor:
    """The owner of the session cookie and what they view. Raises NotAuthenticatedError;
    CrossSiteError for a write from another site."""
    token = request.cookies.get(SESSION_COOKIE)
    visitor = await visit(services.database, token, now()) if token else None
    if visitor is None:
        raise NotAuthenticatedError("Send an API key as Authorization: Bearer <key>, or sign in.")
    require_own_write(request)
    return visitor


# FastAPI runs a plain function in a thread, which costs as much as half a query.
async def _services() -> Services:
    return get_services()


async def _now() -> datetime:
    return now()


ServicesNow = Annotated[Services, Depends(_services)]
ActorNow = Annotated[Actor, Depends(authenticate)]
Now = Annotated[datetime, Depends(_now)]


def _identifier(description: str) -> Any:
    return Query(min_length=1, max_length=255, pattern=NO_CONTROL, description=description)


EITHER_ID: Final = (
    "Names the account by organization. Required without account_id, except from a person with only"
    " one account"
)
OrganizationId = Annotated[str | None, _identifier(EITHER_ID)]
UserId = Annotated[str | None, _identifier("Required for the public organization")]
AccountId = Annotated[
    str | None, _identifier("Names the account directly, instead of organization_id")
]


async def find_named_account(
    services: ServicesNow,
    actor: ActorNow,
    organization_id: OrganizationId = None,
    user_id: UserId = None,
    account_id: AccountId = None,
) -> str:
    """The account named by id, by organization (and user), or the person's only account."""
    if account_id is not None:
        return account_id
    if organization_id is not None:
        return await services.accounts.find(
            actor, organization_id=organization_id, user_id=user_id or ""
        )
    if isinstance(actor, (UserActor, ViewingActor, PortalActor)):
        accounts = await list_accounts(services.database, actor)
        if len(accounts) == 1:
            return accounts[0].account_id
    raise InvalidInputError("organization_id is required.", field="organization_id")


async def named_account(account_id: Annotated[str, Depends(find_named_account)]) -> str:
    """The same; lines of the log name it, too."""
    structlog.contextvars.bind_contextvars(account_id=account_id)
    return account_id


AccountNow = Annotated[str, Depends(named_account)]

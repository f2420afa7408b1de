"""Portal links over HTTP: services make them, browsers open them.

Opening a link changes nothing: it answers a page that posts the link's token at once, so that a
scanner or a preview that follows the link does not use it up.
"""

from base64 import b64encode
from enum import StrEnum
from hashlib import sha256
from html import escape
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from billing_app.api.auth_forms import back, to_page, user_agent
from billing_app.api.callers import ActorNow, Now, ServicesNow
from billing_app.api.csrf import require_own_origin
from billing_app.api.json_body import JsonBody
from billing_app.api.parameters import NO_CONTROL
from billing_app.api.published_schemas import number, text
from billing_app.api.routing import JsonRoute
from billing_app.api.security_headers import frame_ancestors
from billing_app.api.sign_in_cookies import set_portal_cookie
from billing_app.billing.accounts.portal_links import (
    DEFAULT_LINK_SECONDS,
    MAX_LINK_SECONDS,
    MIN_LINK_SECONDS,
    PortalLinkExpiredError,
    PortalPerson,
    PortalRequest,
    create_link,
    open_link,
    require_return_origin,
)
from billing_app.billing.identity.sessions import MAX_EMAIL_LENGTH, PUBLISHED_EMAIL
from billing_app.db.enums import Role
from billing_app.routes import (
    DASHBOARD,
    OVERVIEW,
    PORTAL_LINK_OPEN,
    PORTAL_LINKS,
    SIGN_IN,
    USAGE,
)

router = APIRouter(route_class=JsonRoute, tags=["provisioning"])

SUBMIT: Final = "document.forms[0].submit()"
SUBMIT_HASH: Final = b64encode(sha256(SUBMIT.encode()).digest()).decode()
STYLE: Final = (
    ":root{color-scheme:light dark}body{margin:0;min-height:100vh;display:grid;"
    "place-items:center;font:16px system-ui,sans-serif}"
    "button{font:inherit;padding:.6em 1.2em;border:1px solid;border-radius:.5em}"
)
STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Billing</title>'
    '<meta name="viewport" content="width=device-width"><style>{style}</style>'
    '<form method="post" action="{action}"><input type="hidden" name="token" value="{token}">'
    '<input type="hidden" name="embed" value="{embed}"><button>Continue to billing</button></form>'
    "<script>{submit}</script></html>"
)
Identifier = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_CONTROL)]
Printable = r"^[^\x00-\x1f\x7f-\x9f]*$"


class PortalPage(StrEnum):
    DASHBOARD = "dashboard"
    PLANS = "plans"
    USAGE = "usage"


PATHS: Final = {
    PortalPage.DASHBOARD: DASHBOARD,
    PortalPage.PLANS: OVERVIEW,
    PortalPage.USAGE: USAGE,
}


class Person(JsonBody):
    """Somebody of the product; nothing is stored of them but in this link and its session."""

    id: Annotated[str, text(255, least=1, pattern=Printable)]
    email: Annotated[
        str | None,
        Field(
            description="`=?` in an address is refused",
            json_schema_extra={"maxLength": MAX_EMAIL_LENGTH, "pattern": PUBLISHED_EMAIL},
        ),
    ] = None
    name: Annotated[str | None, text(255, pattern=Printable)] = None


class CreatePortalLink(JsonBody):
    """`role`: what the person may do here; owner for a user of the public organization."""

    organization_id: Identifier
    user_id: Annotated[
        Identifier | None, Field(description="Required for the public organization")
    ] = None
    person: Person
    role: Annotated[Role, Field(strict=False)]
    return_url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2_000,
            description="Starts with an origin of PORTAL_RETURN_ORIGINS",
            json_schema_extra={"pattern": r"^[^\x00-\x20\x7f\\]+$"},
        ),
    ]
    page: Annotated[PortalPage, Field(strict=False)] = PortalPage.DASHBOARD
    expires_in_seconds: Annotated[int, number(MIN_LINK_SECONDS, MAX_LINK_SECONDS)] = (
        DEFAULT_LINK_SECONDS
    )


@router.post(PORTAL_LINKS)
async def create(
    body: CreatePortalLink, services: ServicesNow, actor: ActorNow, now: Now
) -> dict[str, Any]:
    """A link that opens our pages once, signed in for this account and in this role.

    Send the person's browser to it, or frame it with `?embed=1`.
    """
    require_return_origin(body.return_url, services.settings.return_origins)
    account_id = await services.accounts.find(
        actor, organization_id=body.organization_id, user_id=body.user_id or ""
    )
    person = PortalPerson(body.person.id, body.person.email or "", body.person.name or "")
    request = PortalRequest(
        person, body.role, body.return_url, PATHS[body.page], body.expires_in_seconds
    )
    link = await create_link(services.database, actor, account_id, request, now)
    url = f"{services.settings.public_url}{PORTAL_LINKS}/{link.token}"
    return {"url": url, "expires_at": link.expires_at}


@router.get(PORTAL_LINKS + "/{token}", include_in_schema=False)
async def show_link(token: str, services: ServicesNow, embed: str = "") -> HTMLResponse:
    """A page that opens the link at once. Changes nothing."""
    page = PAGE.format(
        action=PORTAL_LINK_OPEN,
        token=escape(token),
        embed="1" * (embed == "1"),
        submit=SUBMIT,
        style=STYLE,
    )
    policy = (
        f"default-src 'none'; script-src 'sha256-{SUBMIT_HASH}';"
        f" style-src 'sha256-{STYLE_HASH}'; form-action 'self'; base-uri 'none';"
        f" {frame_ancestors(services.settings)}"
    )
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return HTMLResponse(page, headers=headers)


@router.post(PORTAL_LINK_OPEN, include_in_schema=False, dependencies=[Depends(require_own_origin)])
async def open_session(
    request: Request,
    services: ServicesNow,
    now: Now,
    token: Annotated[str, Form(max_length=255)] = "",
    embed: Annotated[str, Form(max_length=1)] = "",
) -> RedirectResponse:
    """Use the link: a session for a day, and its first page."""
    try:
        opened = await open_link(services.database, token, user_agent=user_agent(request), now=now)
    except PortalLinkExpiredError:
        return back(SIGN_IN, "portal_link_expired")
    except SQLAlchemyError:
        return back(SIGN_IN, "unreachable")
    response = to_page(opened.page, embed="1") if embed else to_page(opened.page)
    set_portal_cookie(response, services, opened.signed_in, is_framed=bool(embed))
    return response

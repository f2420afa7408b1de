"""Joins an organization by a plain HTML form post, from the page that a mailed link opens.

Opening the link changes nothing and moves its token into an HttpOnly cookie, which waits while the
invited person signs in or signs up.
"""

from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from billing_app.api.auth_forms import Text, back, page_query, to_page
from billing_app.api.callers import Now, ServicesNow
from billing_app.api.csrf import require_own_origin
from billing_app.billing.accounts import invitation_links
from billing_app.billing.accounts.invitation_links import (
    InvitationExpiredError,
    OtherAddressError,
)
from billing_app.billing.accounts.invitations import LASTS
from billing_app.billing.errors import AccountClosedError, BillingError
from billing_app.billing.identity import sessions
from billing_app.billing.identity.tokens import hash_token
from billing_app.routes import (
    DASHBOARD,
    INVITATION,
    INVITATION_ACCEPT,
    INVITATION_COOKIE,
    INVITATION_DECLINE,
    INVITATIONS,
    SESSION_COOKIE,
)

FROM_OWN_PAGES: Final = [Depends(require_own_origin)]

router = APIRouter(tags=["sign-in"])


@router.get(INVITATIONS + "/{token}", include_in_schema=False)
async def open_invitation(token: str, services: ServicesNow, now: Now) -> RedirectResponse:
    """Open a mailed link. Changes nothing: mail scanners open links, too."""
    try:
        link = await invitation_links.find_invitation(services.database, token, now)
    except SQLAlchemyError:
        return back(INVITATION, "unreachable")
    if link is None:
        return back(INVITATION, "invitation_expired")
    response = to_page(INVITATION, link=link)
    response.set_cookie(
        INVITATION_COOKIE,
        token,
        max_age=int(LASTS.total_seconds()),
        path=INVITATIONS,
        secure=services.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    response.headers["cache-control"] = "no-store"
    return response


@router.post(INVITATION_ACCEPT, include_in_schema=False, dependencies=FROM_OWN_PAGES)
async def accept(
    request: Request, services: ServicesNow, now: Now, link: Text = ""
) -> RedirectResponse:
    """Join by the link in the cookie, which must be the one that the page shows."""
    token, link = _token(request, link)
    if not token:
        return _without_link(back(INVITATION, "invitation_expired"))
    session_token = request.cookies.get(SESSION_COOKIE, "")
    try:
        person = await sessions.authenticate(services.database, session_token, now)
        if person is None:
            return to_page(INVITATION, link=link)
        account_id = await invitation_links.accept(services.database, person, token, now)
    except OtherAddressError:
        return to_page(INVITATION, error="invited_other_address", link=link)
    except (InvitationExpiredError, AccountClosedError):
        return _without_link(back(INVITATION, "invitation_expired"))
    except SQLAlchemyError:
        return to_page(INVITATION, error="unreachable", link=link)
    return _without_link(to_page(DASHBOARD, account=account_id))


@router.post(INVITATION_DECLINE, include_in_schema=False, dependencies=FROM_OWN_PAGES)
async def decline(
    request: Request, services: ServicesNow, now: Now, link: Text = ""
) -> RedirectResponse:
    """Decline by the link in the cookie, which must be the one that the page shows."""
    token, link = _token(request, link)
    try:
        await invitation_links.decline(services.database, token, now)
    except BillingError:
        return _without_link(back(INVITATION, "invitation_expired"))
    except SQLAlchemyError:
        return to_page(INVITATION, error="unreachable", link=link)
    return _without_link(to_page(INVITATION, said="declined"))


def _token(request: Request, link: str) -> tuple[str, str]:
    """The token of the cookie, "" when the page shows another invitation; and the page's link."""
    token = request.cookies.get(INVITATION_COOKIE, "")
    link = link or page_query(request, "link")
    return (token, link) if hash_token(token).hex() == link else ("", link)


def _without_link(response: RedirectResponse) -> RedirectResponse:
    response.delete_cookie(INVITATION_COOKIE, path=INVITATIONS, httponly=True, samesite="lax")
    return response

"""Confirms a new e-mail address by a plain HTML form post, from the page that a mailed link opens.

Opening the link changes nothing and moves its token into an HttpOnly cookie, as for passwords.
"""

from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from billing_app.api.auth_forms import Text, back, page_query, to_page
from billing_app.api.callers import Now, ServicesNow
from billing_app.api.csrf import require_own_origin
from billing_app.billing.errors import EmailTakenError
from billing_app.billing.identity import email_changes, email_links
from billing_app.billing.identity.email_links import LINK_MINUTES, EmailLinkExpiredError
from billing_app.billing.identity.sessions import hash_token
from billing_app.jobs.customers import get_details_queue
from billing_app.jobs.mail import get_mail_queue
from billing_app.routes import (
    CONFIRM_EMAIL,
    EMAIL_CONFIRMATIONS,
    EMAIL_COOKIE,
    EMAIL_LINKS,
    SESSION_COOKIE,
)

FROM_OWN_PAGES: Final = [Depends(require_own_origin)]

router = APIRouter(tags=["sign-in"])


@router.get(EMAIL_LINKS + "/{token}", include_in_schema=False)
async def open_link(token: str, services: ServicesNow, now: Now) -> RedirectResponse:
    """Open a mailed link. Changes nothing: mail scanners open links, too."""
    try:
        link = await email_links.find_link(services.database, token, now)
    except SQLAlchemyError:
        return back(CONFIRM_EMAIL, "unreachable")
    if link is None:
        return back(CONFIRM_EMAIL, "email_link_expired")
    response = to_page(CONFIRM_EMAIL, link=link)
    response.set_cookie(
        EMAIL_COOKIE,
        token,
        max_age=LINK_MINUTES * 60,
        path=EMAIL_CONFIRMATIONS,
        secure=services.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    response.headers["cache-control"] = "no-store"
    return response


@router.post(EMAIL_CONFIRMATIONS, include_in_schema=False, dependencies=FROM_OWN_PAGES)
async def confirm(
    request: Request, services: ServicesNow, now: Now, link: Text = ""
) -> RedirectResponse:
    """Use the address of the link in the cookie, which must be the one that the page shows."""
    token = request.cookies.get(EMAIL_COOKIE, "")
    link = link or page_query(request, "link")
    if hash_token(token).hex() != link:
        return _without_link(back(CONFIRM_EMAIL, "email_link_expired"))
    try:
        await email_changes.confirm(
            services.database,
            get_mail_queue(),
            get_details_queue(),
            token=token,
            session_token=request.cookies.get(SESSION_COOKIE, ""),
            now=now,
        )
    except EmailLinkExpiredError:
        return _without_link(back(CONFIRM_EMAIL, "email_link_expired"))
    except EmailTakenError:
        return _without_link(back(CONFIRM_EMAIL, "email_taken"))
    except SQLAlchemyError:
        return to_page(CONFIRM_EMAIL, error="unreachable", link=link)
    return _without_link(to_page(CONFIRM_EMAIL, said="confirmed"))


def _without_link(response: RedirectResponse) -> RedirectResponse:
    response.delete_cookie(EMAIL_COOKIE, path=EMAIL_CONFIRMATIONS, httponly=True, samesite="lax")
    return response

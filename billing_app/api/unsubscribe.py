"""Unsubscribes from alerts and account mail with one click (RFC 8058), without a sign-in.

Opening the link changes nothing: mail scanners open links, too. Mail clients post to it, and so
does the button of the page that it opens.
"""

from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import SQLAlchemyError

from billing_app.api.auth_forms import Text, back, to_page
from billing_app.api.callers import Now, ServicesNow
from billing_app.billing.alerts import preferences
from billing_app.billing.errors import NotFoundError
from billing_app.routes import UNSUBSCRIBE, UNSUBSCRIBED

FROM_PAGE: Final = "page"

router = APIRouter(tags=["alerts"])


class UnsubscribeLinkUnknownError(NotFoundError):
    code = "unsubscribe_link_unknown"
    title = "This link does not unsubscribe anybody"


@router.get(UNSUBSCRIBE + "/{token}", include_in_schema=False)
async def open_link(token: str, services: ServicesNow) -> RedirectResponse:
    """Open the link of a mail: a page that explains it, with a button."""
    try:
        email = await preferences.email_of_token(services.database, token)
    except SQLAlchemyError:
        return back(UNSUBSCRIBED, "unreachable")
    if email is None:
        return back(UNSUBSCRIBED, UnsubscribeLinkUnknownError.code)
    return to_page(UNSUBSCRIBED, link=token)


@router.post(UNSUBSCRIBE + "/{token}", include_in_schema=False)
async def unsubscribe(
    token: str, services: ServicesNow, now: Now, sent_from: Text = ""
) -> Response:
    """Stop all mail to the token's person that is not required. A mail client gets no redirect,
    because it would not follow one."""
    is_ours = await preferences.unsubscribe(services.database, token, now)
    if sent_from != FROM_PAGE:
        if not is_ours:
            raise UnsubscribeLinkUnknownError
        return JSONResponse({"unsubscribed": True})
    if not is_ours:
        return back(UNSUBSCRIBED, UnsubscribeLinkUnknownError.code)
    return to_page(UNSUBSCRIBED, said="unsubscribed")

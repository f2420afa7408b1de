"""Shared by the routes behind the sign-in pages: each answers a form post with a page."""

from datetime import datetime
from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import Form, Request
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import SQLAlchemyError

from billing_app.api.sign_in_cookies import (
    clear_session_cookie,
    set_browser_cookie,
    set_session_cookie,
)
from billing_app.billing.errors import InvalidInputError, TooManyAttemptsError
from billing_app.billing.identity.known_browsers import remember
from billing_app.billing.identity.password_strength import WeakPasswordError
from billing_app.billing.identity.sessions import SignedIn
from billing_app.composition import Services
from billing_app.routes import BROWSER_COOKIE, DASHBOARD, SIGN_IN

Text = Annotated[str, Form(max_length=2048)]
SEE_OTHER: Final = 303


def client_address(request: Request) -> str:
    """The address that attempt limits count by."""
    return request.client.host if request.client else "unknown"


def user_agent(request: Request) -> str:
    return request.headers.get("user-agent", "")


def page_query(request: Request, name: str) -> str:
    """A query parameter of the page that holds the form (from Referer).

    A form that is posted before the page's script has run does not carry it.
    """
    query = request.headers.get("referer", "").partition("?")[2]
    return parse_qs(query).get(name, [""])[0]


def to_page(page: str, **query: str) -> RedirectResponse:
    return RedirectResponse(f"{page}?{urlencode(query)}" if query else page, SEE_OTHER)


def back(page: str, error: str, next_page: str = DASHBOARD, **more: str) -> RedirectResponse:
    """Back to the form, with the error and the page the person was heading for."""
    query = {"error": error, **more}
    if is_local(next_page) and next_page != DASHBOARD:
        query["next"] = next_page
    return to_page(page, **query)


def held_up(page: str, error: TooManyAttemptsError, next_page: str = DASHBOARD) -> RedirectResponse:
    """Back to the form, which says how long to wait."""
    return back(page, "rate_limited", next_page, wait=str(error.retry_after_seconds))


def form_error(error: InvalidInputError) -> str:
    """The code that tells the form's page which field is wrong, and of a password why."""
    if isinstance(error, WeakPasswordError):
        return f"{error.weakness}_password"
    return f"invalid_{error.extensions.get('field', 'form')}"


async def inside(
    request: Request,
    services: Services,
    signed_in: SignedIn,
    now: datetime,
    next_page: str = DASHBOARD,
) -> RedirectResponse:
    """To the next page, setting the session cookie, and the cookie of a known browser."""
    response = to_page(next_page if is_local(next_page) else DASHBOARD)
    set_session_cookie(response, services, signed_in)
    browser = request.cookies.get(BROWSER_COOKIE, "")
    try:
        token, expires_at = await remember(services.database, browser, signed_in.user_id, now)
    except SQLAlchemyError:
        return response
    set_browser_cookie(response, services, token, expires_at)
    return response


def out(services: Services, error: str = "") -> RedirectResponse:
    """To the sign-in page, clearing the session cookie."""
    response = back(SIGN_IN, error) if error else to_page(SIGN_IN)
    clear_session_cookie(response, services)
    return response


def is_local(page: str) -> bool:
    """Whether this is a path on this site: no scheme, no host, no way to smuggle one in."""
    try:
        parts = urlsplit(page)
    except ValueError:
        return False
    plain = page.startswith("/") and not page.startswith("//") and "\\" not in page
    return plain and not parts.scheme and not parts.netloc

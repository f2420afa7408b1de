"""The sign-in cookie: HttpOnly, SameSite, and Secure unless the site is served over plain HTTP."""

from datetime import datetime
from typing import Any

from starlette.responses import Response

from billing_app.billing.identity.sessions import SignedIn
from billing_app.composition import Services
from billing_app.routes import BROWSER_COOKIE, SESSION_COOKIE


def set_session_cookie(response: Response, services: Services, signed_in: SignedIn) -> None:
    """The browser keeps it until the session expires."""
    response.set_cookie(
        SESSION_COOKIE, signed_in.token, expires=signed_in.expires_at, **_attributes(services)
    )


def set_portal_cookie(
    response: Response, services: Services, signed_in: SignedIn, *, is_framed: bool
) -> None:
    """In a frame of another site, browsers send only cookies that allow it, which must be Secure;
    a partitioned one (CHIPS) belongs to that site's frames alone."""
    set_session_cookie(response, services, signed_in)
    if is_framed and services.settings.secure_cookies:
        name, value = response.raw_headers[-1]
        value = value.replace(b"SameSite=lax", b"SameSite=None") + b"; Partitioned"
        response.raw_headers[-1] = (name, value)


def set_browser_cookie(
    response: Response, services: Services, token: str, expires_at: datetime
) -> None:
    """Signing out leaves it: it only says that somebody has signed in with this browser."""
    response.set_cookie(BROWSER_COOKIE, token, expires=expires_at, **_attributes(services))


def clear_session_cookie(response: Response, services: Services) -> None:
    response.delete_cookie(SESSION_COOKIE, **_attributes(services))


def _attributes(services: Services) -> dict[str, Any]:
    return {
        "path": "/",
        "secure": services.settings.secure_cookies,
        "httponly": True,
        "samesite": "lax",
    }

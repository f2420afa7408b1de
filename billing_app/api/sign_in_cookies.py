"""The sign-in cookie: HttpOnly, SameSite, and Secure unless the site is served over plain HTTP."""

from typing import Any

from starlette.responses import Response

from billing_app.billing.identity.sessions import SignedIn
from billing_app.composition import Services
from billing_app.routes import SESSION_COOKIE


def set_session_cookie(response: Response, services: Services, signed_in: SignedIn) -> None:
    """The browser keeps it until the session expires."""
    response.set_cookie(
        SESSION_COOKIE, signed_in.token, expires=signed_in.expires_at, **_attributes(services)
    )


def clear_session_cookie(response: Response, services: Services) -> None:
    response.delete_cookie(SESSION_COOKIE, **_attributes(services))


def _attributes(services: Services) -> dict[str, Any]:
    return {
        "path": "/",
        "secure": services.settings.secure_cookies,
        "httponly": True,
        "samesite": "lax",
    }

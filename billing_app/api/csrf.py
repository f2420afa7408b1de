"""CSRF check: other sites cannot act through a signed-in person's browser."""

from typing import Final

from fastapi import Request

from billing_app.api.problems import ContentTypeError
from billing_app.billing.errors import ForbiddenError
from billing_app.composition import get_services

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class CrossSiteError(ForbiddenError):
    code = "cross_site_post"
    title = "Requests with a session cookie must come from this site"


def require_own_origin(request: Request) -> None:
    """Raise CrossSiteError unless the Origin header names this site."""
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    own = {get_services().settings.public_url, f"http://{host}", f"https://{host}"}
    if origin is None or origin not in own:
        raise CrossSiteError


def require_own_write(request: Request) -> None:
    """Require this site's Origin and a JSON body for writes that a cookie authenticates.

    Browsers add Origin to everything but GET and HEAD, and no other site can forge it; SameSite
    alone lets sibling domains through, and HTML forms cannot send JSON.
    Raises CrossSiteError, ContentTypeError.
    """
    if request.method in READING:
        return
    require_own_origin(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = request.headers.get("content-length", "0") != "0" or (
        "transfer-encoding" in request.headers
    )
    if kind != "application/json" and (kind or has_body):
        raise ContentTypeError

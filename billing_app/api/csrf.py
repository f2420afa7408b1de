"""Keeps other sites from acting through a signed-in person's browser."""

from typing import Final

from fastapi import Request

from billing_app.api.problems import ContentTypeError
from billing_app.billing.errors import ForbiddenError
from billing_app.composition import get_services

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class CrossSiteError(ForbiddenError):
    code = "cross_site_post"
    title = "This must be sent from our own pages"


def require_own_origin(request: Request) -> None:
    """Raises CrossSiteError unless the browser says that the request comes from this site."""
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    own = {get_services().settings.public_url, f"http://{host}", f"https://{host}"}
    if origin is None or origin not in own:
        raise CrossSiteError


def require_own_write(request: Request) -> None:
    """What a cookie vouches for must come from our own pages, and be what no form can send.

    A browser adds Origin to everything but GET and HEAD, and no page of another site can change
    it; SameSite alone lets a sibling domain through. Raises CrossSiteError, ContentTypeError.
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

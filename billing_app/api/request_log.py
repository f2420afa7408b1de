"""Ids of requests, and a line for each that was slow or failed.

Lines have the route's pattern and never a path, a query, a body or an address.
"""

import re
import time
import uuid
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_app.routes import CURRENT_PLAN, USAGE_TOTALS
from billing_app.settings import load_settings

HEADER: Final = b"x-request-id"
WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
# They are answered before any route is matched.
POLLED: Final = (CURRENT_PLAN, USAGE_TOTALS)
UNMATCHED: Final = "unmatched"

log = structlog.get_logger(__name__)


class RequestLog:
    """ASGI: passes requests on. Every line that is logged meanwhile has `request_id`, and so has
    the answer, as `X-Request-Id`: the caller's, when it is well-formed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id, status = time.monotonic(), given_id(scope) or uuid.uuid4().hex, 500
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (HEADER, request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.monotonic() - began
            if status >= 500 or seconds > load_settings().slow_request_seconds:
                tell(scope, path=pattern_of(scope), status=status, seconds=seconds)


def given_id(scope: Scope) -> str:
    """The caller's id of the request; empty when there is none that is well-formed."""
    given = next((value for name, value in scope["headers"] if name == HEADER), b"")
    return given.decode() if WELL_FORMED.fullmatch(given) else ""


def tell(scope: Scope, *, path: str, status: int, seconds: float) -> None:
    """Log a request that was slow or failed."""
    about: dict[str, Any] = {"method": scope["method"], "path": path, "status": status}
    if "request_id" not in structlog.contextvars.get_contextvars() and given_id(scope):
        about["request_id"] = given_id(scope)
    event = "answer_failed" if status >= 500 else "answer_slow"
    log.warning(event, **about, seconds=round(seconds, 3))


def pattern_of(scope: Scope) -> str:
    """The pattern of the route that answered the request."""
    route = scope.get("route")
    if route is not None:
        return route.path
    return scope["path"] if scope["path"] in POLLED else UNMATCHED

"""Limits the requests that are answered at a time: those beyond are refused at once.

Connections are not limited here: thousands of idle ones cost little.
"""

from typing import Final

from prometheus_client import Counter
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from billing_app.api.problems import CONTENT_TYPE, OverloadedError, encode_problem, status_of
from billing_app.draining import closing, draining
from billing_app.routes import HEALTH, METRICS
from billing_app.settings import load_settings

ALWAYS_PASS: Final = (HEALTH, METRICS)

refused: Final = Counter(
    "billing_requests_refused", "Requests refused because too many are at work", ["limit"]
)


class RequestLimits:
    """ASGI: passes requests on, up to so many at a time. Health checks and metrics always pass."""

    def __init__(self, app: ASGIApp, most: int | None = None) -> None:
        """`most`: instead of the setting, which is read with the first request."""
        self._app = app
        self._active = 0
        self._most = most

    @property
    def active(self) -> int:
        """Requests being answered."""
        return self._active

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._most is None:
            self._most = load_settings().requests_max
        if self._active >= self._most and scope["path"] not in ALWAYS_PASS:
            refused.labels("requests").inc()
            await overloaded("Nothing was decided. Try again in a second.")(scope, receive, send)
            return
        if draining.is_on:
            send = closing(send)
        self._active += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._active -= 1


def overloaded(detail: str) -> Response:
    """503 with Retry-After."""
    error = OverloadedError(detail)
    headers = {"Retry-After": str(error.retry_after_seconds)}
    return Response(encode_problem(error, ""), status_of(error), headers, CONTENT_TYPE)

"""A span for each HTTP request, where traces are exported (billing_app/tracing.py)."""

import re
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_app import tracing
from billing_app.api import hot_routes, request_log
from billing_app.routes import HEALTH, METRICS, READY

if TYPE_CHECKING:
    from opentelemetry.trace import Span

# They are asked for every few seconds.
UNTRACED: Final = frozenset({HEALTH, READY, METRICS})
ACCOUNT_ID: Final = re.compile(rb'"account_id": ?"(acc_\w+)"')


class TracedRequests:
    """ASGI: passes requests on. A span has the route's pattern, the status, the request's id and
    the account of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not tracing.is_on() or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        attributes = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        with tracing.server_span(method, scope["headers"], attributes) as span:
            if span is None or not span.is_recording():
                await self._app(scope, receive, send)
                return
            request_id = request_log.given_id(scope)
            if request_id:
                span.set_attribute("billing.request_id", request_id)
            await self._app(scope, receive, _recording(span, send))
            pattern = hot_routes.pattern_of(scope["path"]) or request_log.pattern_of(scope)
            span.update_name(f"{method} {pattern}")
            span.set_attribute("http.route", pattern)


def _recording(span: "Span", send: Send) -> Send:
    async def record_and_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            _record_start(span, message)
        elif (account := ACCOUNT_ID.search(message.get("body", b""))) is not None:
            span.set_attribute("billing.account_id", account[1].decode())
        await send(message)

    return record_and_send


def _record_start(span: "Span", message: Any) -> None:
    status: int = message["status"]
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        tracing.failed(span, str(status))
    for name, value in message.get("headers", ()):
        if name == request_log.HEADER:
            span.set_attribute("billing.request_id", value.decode("latin-1"))

"""Limits the websockets that are open at a time, so that nobody can use up the server's."""

from collections import Counter
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from billing_app.draining import draining
from billing_app.settings import load_settings

TRY_AGAIN_LATER = 1013

log = structlog.get_logger(__name__)


class SocketLimits:
    """ASGI: passes websockets on. Those beyond a limit are refused before they are accepted.

    Without a session cookie there is a limit for each address and one for all; with one, only the
    limit for all sockets: behind a proxy that hides them, all people have one address.
    """

    def __init__(self, app: ASGIApp, *, has_session: Callable[[Scope], bool]) -> None:
        self._app = app
        self._has_session = has_session
        self._open = 0
        self._visitors: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = "" if self._has_session(scope) else (scope.get("client") or ("unknown", 0))[0]
        if not self._has_room(address):
            log.warning("socket_refused", address=address, open=self._open)
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            return
        self._open += 1
        self._visitors[address] += 1
        draining.add_socket(send)
        try:
            await self._app(scope, receive, send)
        finally:
            draining.remove_socket(send)
            self._open -= 1
            self._visitors[address] -= 1
            if not self._visitors[address]:
                del self._visitors[address]

    def _has_room(self, address: str) -> bool:
        settings = load_settings()
        if self._open >= settings.sockets_max:
            return False
        if not address:
            return True
        visitors = self._visitors.total() - self._visitors[""]
        is_full = visitors >= settings.visitor_sockets_max
        return not is_full and self._visitors[address] < settings.visitor_sockets_per_address

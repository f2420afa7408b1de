"""No route behind it ever holds a body of more than 1 MB in memory."""

from collections.abc import Iterable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1_000_000
TOO_LARGE: Final = 413


class BodyLimit:
    """ASGI: whoever reads a body that is too large gets the HTTPException 413.

    That class, because FastAPI turns any other error while it reads into a 400.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _content_length(scope["headers"])
        read = 0

        async def receive_limited() -> Message:
            nonlocal read
            if declared > MAX_BODY_BYTES:
                raise HTTPException(TOO_LARGE)
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY_BYTES:
                raise HTTPException(TOO_LARGE)
            return message

        await self._app(scope, receive_limited, send)


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """What the caller announced; 0 when that is nothing or no number."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0

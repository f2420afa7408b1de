"""Keeps request bodies over 1 MB out of memory."""

from collections.abc import Iterable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1_000_000
TOO_LARGE: Final = 413


class BodyLimit:
    """ASGI: reading a body that is too large raises HTTPException 413.

    FastAPI turns any other exception raised while reading a body into a 400.
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
    """The declared Content-Length; 0 when it is missing or not a number."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0

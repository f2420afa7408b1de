"""Keeps request bodies over 1 MB out of memory, and does not wait for slow ones."""

import asyncio
from collections.abc import Iterable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_app.settings import load_settings

MAX_BODY_BYTES: Final = 1_000_000
TOO_LARGE: Final = 413
TOO_SLOW: Final = 408


class BodyLimit:
    """ASGI: reading a body that is too large raises HTTPException 413, a slow one 408.

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
        read, is_whole = 0, False

        async def receive_limited() -> Message:
            nonlocal read, is_whole
            if declared > MAX_BODY_BYTES:
                raise HTTPException(TOO_LARGE)
            message = await _receive_in_time(receive, is_whole=is_whole)
            is_whole = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > MAX_BODY_BYTES:
                raise HTTPException(TOO_LARGE)
            return message

        await self._app(scope, receive_limited, send)


async def _receive_in_time(receive: Receive, *, is_whole: bool) -> Message:
    """Behind the body a client may be silent for as long as it likes."""
    if is_whole:
        return await receive()
    try:
        async with asyncio.timeout(load_settings().body_seconds):
            return await receive()
    except TimeoutError:
        raise HTTPException(TOO_SLOW) from None


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The declared Content-Length; 0 when it is missing or not a number."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0

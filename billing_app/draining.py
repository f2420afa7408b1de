"""The time between the order to stop and the end: every request is still answered, and every answer
closes its connection, so that no client sends its next request to a server that is gone."""

import asyncio
import signal
from typing import Final

from starlette.types import Message, Send

SIGNAL: Final = signal.SIGUSR1
CLOSE: Final = (b"connection", b"close")
# RFC 6455: the server restarts, come again.
RESTARTING: Final = 1012


class Draining:
    """Of one process."""

    def __init__(self) -> None:
        self.is_on = False
        self._sockets: dict[Send, asyncio.AbstractEventLoop] = {}

    def begin_on_signal(self) -> None:
        """The server's parent process sends SIGNAL before it stops its workers."""
        signal.signal(SIGNAL, lambda *_: self.begin())

    def begin(self) -> None:
        """From now on answers close their connections. Sockets are closed; pages reconnect."""
        self.is_on = True
        for send, loop in list(self._sockets.items()):
            loop.call_soon_threadsafe(self._close_soon, send)

    def add_socket(self, send: Send) -> None:
        self._sockets[send] = asyncio.get_running_loop()

    def remove_socket(self, send: Send) -> None:
        self._sockets.pop(send, None)

    def _close_soon(self, send: Send) -> None:
        if send in self._sockets:
            asyncio.ensure_future(_close(send))  # noqa: RUF006 - ends with the loop at the latest


async def _close(send: Send) -> None:
    await send({"type": "websocket.close", "code": RESTARTING})


def closing(send: Send) -> Send:
    """Adds `Connection: close` to the answer."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], CLOSE]}
        await send(message)

    return send_closing


draining: Final = Draining()

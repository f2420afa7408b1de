"""A websocket that closes leaves no task behind."""

import asyncio
import os
import subprocess
import sys
from typing import Any

from engineio import ASGIApp, AsyncServer
from starlette.types import Message

from billing_app.socket_pings import end_pings_with_sockets

HANDLER = """
from billing_app.billing_app import app
print(app.sio.eio.handlers["disconnect"].__module__)
"""
SCOPE: dict[str, Any] = {
    "type": "websocket",
    "path": "/",
    "query_string": b"EIO=4&transport=websocket",
    "headers": [(b"upgrade", b"websocket"), (b"connection", b"upgrade")],
}


def waiting_pings() -> int:
    names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
    return sum("_send_ping" in name for name in names)


class Visit:
    """One websocket, open until it is closed."""

    def __init__(self, server: AsyncServer) -> None:
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        self.sent: list[Message] = []
        app = ASGIApp(server, engineio_path="/")
        self._task = asyncio.create_task(app(SCOPE, self._incoming.get, self._send))

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def close(self) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect"})
        await self._task
        await asyncio.sleep(0)


async def started(visits: int, seen: list[str]) -> tuple[AsyncServer, list[Visit]]:
    server = AsyncServer(async_mode="asgi", monitor_clients=False, cors_allowed_origins="*")

    async def disconnected(sid: str, reason: str) -> None:
        seen.append(reason)

    server.on("disconnect", disconnected)
    end_pings_with_sockets(server)
    opened = [Visit(server) for _ in range(visits)]
    await asyncio.sleep(0.05)
    return server, opened


async def test_pings_end_with_their_sockets() -> None:
    seen: list[str] = []
    server, (first, second, third) = await started(3, seen)
    assert waiting_pings() == 3
    await first.close()
    await second.close()
    assert waiting_pings() == 1
    assert len(seen) == 2, "the handler that was in place is still called"
    await third.close()
    assert waiting_pings() == 0
    assert not server.sockets


async def test_open_sockets_are_still_pinged() -> None:
    server, (visit,) = await started(1, [])
    server.ping_interval = 0.05
    await visit.close()
    visit = Visit(server)
    await asyncio.sleep(0.3)
    assert [message.get("text") for message in visit.sent][-1] == "2", visit.sent
    await visit.close()


def test_pages_end_their_pings() -> None:
    """In an interpreter of its own: the app is made when it is imported."""
    settings = {
        "DATABASE_URL": "postgresql://nobody@localhost/none",
        "PUBLIC_ORG_ID": "public",
        "TRIAL_PLAN_EXECUTIONS": "1",
    }
    printed = subprocess.run(
        [sys.executable, "-c", HANDLER],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **settings},
    ).stdout
    assert printed.strip() == end_pings_with_sockets.__module__

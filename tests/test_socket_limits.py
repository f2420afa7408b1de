"""Websockets beyond a limit are refused; those that are open stay."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from billing_app import socket_limits
from billing_app.draining import RESTARTING, Draining
from billing_app.settings import Settings
from billing_app.socket_limits import TRY_AGAIN_LATER, SocketLimits

LIMITS = {"visitor_sockets_per_address": 2, "visitor_sockets_max": 3, "sockets_max": 5}


@pytest.fixture(autouse=True)
def _low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(trial_plan_executions=1, public_org_id="public").model_copy(update=LIMITS)
    monkeypatch.setattr(socket_limits, "load_settings", lambda: settings)


class Server:
    """Keeps every socket open until it is told to close."""

    def __init__(self) -> None:
        self.limits = SocketLimits(self._serve, has_session=lambda scope: scope["session"])
        self.sent: list[Message] = []
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def _serve(self, _: Scope, __: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await self._closing.wait()

    async def connect(self, address: str, *, session: bool = False) -> bool:
        """Whether it was accepted."""
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)
            self.sent.append(message)

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        scope: dict[str, Any] = {"client": (address, 1), "session": session}
        self._tasks.append(asyncio.create_task(self.limits(scope, receive, send)))
        await asyncio.sleep(0)
        (message,) = sent
        if message["type"] == "websocket.close":
            assert message["code"] == TRY_AGAIN_LATER
        return message["type"] == "websocket.accept"

    async def close_all(self) -> None:
        self._closing.set()
        await asyncio.gather(*self._tasks)
        self._closing.clear()
        self._tasks.clear()


async def test_visitors_have_a_limit_by_address_and_one_for_all() -> None:
    server = Server()
    assert [await server.connect("a") for _ in range(3)] == [True, True, False]
    assert [await server.connect("b") for _ in range(2)] == [True, False]
    assert [await server.connect("a", session=True) for _ in range(3)] == [True, True, False]
    await server.close_all()
    assert [await server.connect("a") for _ in range(3)] == [True, True, False]
    await server.close_all()


async def test_people_leave_no_room_of_visitors() -> None:
    server = Server()
    assert [await server.connect("a", session=True) for _ in range(4)] == [True] * 4
    assert [await server.connect("b") for _ in range(2)] == [True, False]
    await server.close_all()


async def test_open_sockets_are_closed_when_the_server_is_about_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping = Draining()
    monkeypatch.setattr(socket_limits, "draining", stopping)
    server = Server()
    await server.connect("10.0.0.1")
    stopping.begin()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert server.sent[-1] == {"type": "websocket.close", "code": RESTARTING}
    await server.close_all()

"""Events from a bare socket, as anybody may send them; a sentinel says when all are handled."""

import json
import re
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self

from reflex.state import BaseState, State
from simple_websocket import Client

from billing_app.states.session import START_AFRESH

CONNECT: Final = "40/_event,"
DONE: Final = '"is_hydrated_rx_state_":false'
# Is in what a page sends of itself, which may say the same among other things.
OF_PAGE: Final = f'"{State.get_full_name()}.'
# What an event starts is queued behind the sentinel that follows it, and so is what that starts.
ROUNDS: Final = 3
PENDING: Final = re.compile(r'"pending_rx_state_":"(\w*)"')
# The server gives up a socket that leaves its pings unanswered for longer.
WITHIN_SECONDS: Final = 100.0


class Reachable(Protocol):
    """An app that runs somewhere."""

    @property
    def base_url(self) -> str: ...


def forged(state: type[BaseState], handler: str, path: str, /, **payload: object) -> str:
    """The frame of an event that a page never sends by itself."""
    event = {
        "name": f"{state.get_full_name()}.{handler}",
        "payload": payload,
        "router_data": {"pathname": path, "query": {}, "asPath": path},
    }
    return "42/_event," + json.dumps(["event", event])


def connect(app: Reachable, token: str, headers: dict[str, str]) -> Client:
    """A bare socket to where the pages' events go."""
    address = app.base_url.replace("http", "ws", 1)
    socket = Client.connect(
        f"{address}/_event/?token={token}&EIO=4&transport=websocket",
        headers=[(name.encode(), value.encode()) for name, value in headers.items()],
    )
    assert isinstance(socket, Client)
    return socket


class ForgingSocket:
    """A tab of its own, or somebody's; `answers` has every frame that came back.

    The events of a tab are handled one after another, so the answer to the last one says that all
    before it were handled.
    """

    def __init__(self, app: Reachable, path: str, *, cookie: str = "", token: str = "") -> None:
        headers = {"Origin": app.base_url} | ({"Cookie": cookie} if cookie else {})
        self._path = path
        self._socket = connect(app, token or secrets.token_hex(16), headers)
        self.answers: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()

    @property
    def text(self) -> str:
        return "\n".join(self.answers)

    def send(self, frame: str) -> None:
        self._socket.send(frame)

    def send_event(self, state: type[BaseState], handler: str, **payload: object) -> None:
        self.send(forged(state, handler, self._path, **payload))

    def settle(self, rounds: int = ROUNDS) -> None:
        """Return when all that was sent was handled, and what it started in turn."""
        for _ in range(rounds):
            seen = len(self.answers)
            self.send_event(State, "set_is_hydrated", value=False)
            self._receive_until(lambda seen=seen: self._is_done(seen))
        self._receive_until(lambda: not self._is_pending())

    def _is_done(self, seen: int) -> bool:
        """The sentinel was answered, or refused as all events of somebody else's tab are."""
        return any(
            (DONE in answer and OF_PAGE not in answer) or START_AFRESH in answer
            for answer in self.answers[seen:]
        )

    def _is_pending(self) -> bool:
        """An action runs in the background until its state says that nothing is pending."""
        found = PENDING.findall(self.text)
        return bool(found and found[-1])

    def _receive_until(self, is_enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN_SECONDS
        while not is_enough():
            answer = self._socket.receive(timeout=max(0.0, deadline - time.monotonic()))
            assert answer is not None, f"no answer: {self.text[-600:]}"
            self.answers.append(str(answer))


def replay(app: Reachable, token: str, frames: list[str], *, path: str, cookie: str = "") -> str:
    """Send the frames without a cookie, or with this one; everything that came back."""
    with ForgingSocket(app, path, token=token, cookie=cookie) as socket:
        for frame in frames:
            socket.send(frame)
        socket.settle()
        return socket.text

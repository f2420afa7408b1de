"""Open pages: sockets through the proxy that send an event now and then, and connect again when
they are closed."""

import secrets
import threading
import time
from dataclasses import dataclass
from typing import Final

from reflex.state import State
from simple_websocket import Client
from simple_websocket.errors import SimpleWebsocketError

from billing_app import routes
from tests.pages.sockets import connect, forged
from tests.soak.tally import NO_ANSWER, Tally

EVENT_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 20.0
PING, PONG = "2", "3"
LOST: Final = (SimpleWebsocketError, OSError)


@dataclass(frozen=True, slots=True)
class Address:
    """As tests.pages.sockets asks for it."""

    base_url: str


class Tab:
    """In a thread of its own."""

    def __init__(self, url: str, tally: Tally) -> None:
        self._address = Address(url)
        self._tally = tally
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(ANSWER_SECONDS)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                socket = connect(
                    self._address, secrets.token_hex(16), {"Origin": self._address.base_url}
                )
            except LOST:
                self._tally.count("open a page", NO_ANSWER)
            else:
                self._tally.count("open a page", 200)
                self._use(socket)
            time.sleep(RETRY_SECONDS)

    def _use(self, socket: Client) -> None:
        """Until it is closed by either side."""
        try:
            socket.send("40/_event,")
            while not self._is_over.is_set():
                socket.send(forged(State, "set_is_hydrated", routes.SIGN_IN, value=False))
                self._tally.count("event of a page", self._answer(socket))
                time.sleep(EVENT_SECONDS)
            socket.close()
        except LOST:
            self._tally.count("event of a page", NO_ANSWER)

    def _answer(self, socket: Client) -> int | str:
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            frame = str(socket.receive(timeout=1) or "")
            if frame == PING:
                socket.send(PONG)
            elif frame.startswith("42"):
                return 200
        return NO_ANSWER

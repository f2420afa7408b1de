"""Lets a few reads work at a time, so that decisions never wait behind hundreds of them.

All requests of a process share one event loop. A decision takes a few rounds of it, and a round is
as long as everything that is ready to run: 200 reads at work made one decision take two seconds.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_app.api.request_limits import overloaded, refused
from billing_app.routes import API_OTHER

AT_WORK: Final = 2
MAX_WAITING: Final = 1_000
PATIENCE_SECONDS: Final = 10.0
# A read that takes longer waits for something else (the database, Stripe) and keeps nobody busy.
TURN_SECONDS: Final = 0.25
READING_METHODS: Final = frozenset({"GET", "HEAD"})


class TurnNotReachedError(Exception):
    """Too many reads are waiting."""


class Turns:
    """The turns of one event loop at a time, first come, first served."""

    def __init__(self) -> None:
        self._semaphore: asyncio.Semaphore | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = 0

    async def begin(self, *, is_patient: bool = False) -> "Turn":
        """Raises TurnNotReachedError after PATIENCE_SECONDS, unless it is patient."""
        semaphore = self._bound_semaphore()
        if semaphore.locked():
            await self._wait(semaphore, is_patient=is_patient)
        else:
            await semaphore.acquire()
        return Turn(semaphore)

    @property
    def waiting(self) -> int:
        """Reads that wait for their turn."""
        return self._waiting

    async def _wait(self, semaphore: asyncio.Semaphore, *, is_patient: bool) -> None:
        if not is_patient and self._waiting >= MAX_WAITING:
            raise TurnNotReachedError
        self._waiting += 1
        try:
            async with asyncio.timeout(None if is_patient else PATIENCE_SECONDS):
                await semaphore.acquire()
        except TimeoutError:
            raise TurnNotReachedError from None
        finally:
            self._waiting -= 1

    def _bound_semaphore(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._semaphore is None or self._loop is not loop:
            self._semaphore, self._loop = asyncio.Semaphore(AT_WORK), loop
        return self._semaphore


class Turn:
    """Ends once: when it is told to, or by itself after TURN_SECONDS."""

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore
        self._end_at_last = asyncio.get_running_loop().call_later(TURN_SECONDS, self.end)

    def end(self) -> None:
        semaphore, self._semaphore = self._semaphore, None
        if semaphore is not None:
            self._end_at_last.cancel()
            semaphore.release()


turns: Final = Turns()


@asynccontextmanager
async def turn() -> AsyncGenerator[None]:
    """For a response that has started and reads on: each block of it takes a turn of its own, for
    which it waits as long as it takes."""
    its = await turns.begin(is_patient=True)
    try:
        yield
    finally:
        its.end()


class ReadTurns:
    """ASGI: passes reads on, a few at a time; all else at once.

    A turn ends when the response starts: a slow client keeps nobody waiting.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        is_read = scope["type"] == "http" and scope["method"] in READING_METHODS
        if not is_read or scope["path"] in API_OTHER:
            await self._app(scope, receive, send)
            return
        try:
            its = await turns.begin()
        except TurnNotReachedError:
            refused.labels("reads").inc()
            await overloaded("Nothing was read. Try again in a second.")(scope, receive, send)
            return

        async def send_and_end(message: Message) -> None:
            if message["type"] == "http.response.start":
                its.end()
            await send(message)

        try:
            await self._app(scope, receive, send_and_end)
        finally:
            its.end()

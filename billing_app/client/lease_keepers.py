"""Keep leases in the background: in a thread, or in a task of the event loop."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Final

from .lease_books import LeaseBook

ROUND_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 0.02
log: Final = logging.getLogger("billing_client")


class ThreadKeeper:
    """For the client without `await`; also after a fork, by the next `start`."""

    def __init__(self, book: LeaseBook, keep: Callable[[], None]) -> None:
        self._book, self._keep = book, keep
        self._thread: threading.Thread | None = None
        self._is_over = False

    def start(self) -> None:
        if self._is_over or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._run, name="billing leases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns once no round is under way."""
        self._is_over = True
        self._book.wake.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_over:
            try:
                self._keep()
            except Exception:
                log.exception("Leases were not kept")
            self._book.wake.wait(ROUND_SECONDS)


class TaskKeeper:
    """For the client of asyncio."""

    def __init__(self, book: LeaseBook, keep: Callable[[], Awaitable[None]]) -> None:
        self._book, self._keep = book, keep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._task is None or self._task.done() or self._task.get_loop() is not _loop():
            self._task = asyncio.create_task(self._run(), name="billing leases")

    async def stop(self) -> None:
        """Returns once no round is under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                await self._keep()
            except Exception:
                log.exception("Leases were not kept")
            for _ in range(int(ROUND_SECONDS / LOOK_SECONDS)):
                await asyncio.sleep(LOOK_SECONDS)
                if self._book.wake.is_set():
                    break


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()

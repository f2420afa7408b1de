"""Ends requests whose bodies take too long to arrive, at almost no cost for all others.

`asyncio.timeout` costs several microseconds a request; here one task looks at all of them once a
second.
"""

import asyncio
import time
from typing import Any, Final

from billing_app.api.problems import BodyTimeoutError
from billing_app.settings import load_settings

LOOK_SECONDS: Final = 1.0


class SlowBodies:
    """The requests of one event loop whose bodies are being read, and since when."""

    def __init__(self) -> None:
        self._since: dict[asyncio.Task[Any], float] = {}
        self._ended: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[Any]:
        """The current request waits for its body. To be followed by `end`, come what may."""
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = time.monotonic()
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._end_slow())
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        """Raises BodyTimeoutError when the request was ended from here."""
        del self._since[task]
        if task in self._ended:
            self._ended.discard(task)
            task.uncancel()
            raise BodyTimeoutError from None

    async def _end_slow(self) -> None:
        """Until no body is awaited."""
        while self._since:
            await asyncio.sleep(LOOK_SECONDS)
            before = time.monotonic() - load_settings().body_seconds
            for task, since in list(self._since.items()):
                if since < before and task not in self._ended:
                    self._ended.add(task)
                    task.cancel()

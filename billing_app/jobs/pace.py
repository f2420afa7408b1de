"""How long the threads of DBOS rest before they look for work again.

DBOS looks several times a second, whether there is work or not, and offers no way to wake it. Its
threads wait on the events that stop them: that wait becomes one which a job's announcement ends
(listening.py), and which is long while nothing is announced. When announcements cannot be heard,
and for a while after each, DBOS keeps its own intervals.
"""

import threading
import time
from typing import Any, Final

from dbos import DBOS

# After an announcement: what two workers wanted at once, or what waits for another job of its
# customer, is taken up without another one.
LIVELY_SECONDS: Final = 5.0
# Many announcements in a row are answered by one look.
MIN_GAP_SECONDS: Final = 0.05
QUEUE_THREAD: Final = "queue-worker-"
QUEUES_THREAD: Final = "(queue_thread)"
UPKEEP_THREAD: Final = "dbos-background-jobs"


class Pace:
    """Shared by the threads of this process."""

    def __init__(self, rest_seconds: float) -> None:
        self._rest_seconds = rest_seconds
        self._changed = threading.Condition()
        self._announced: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._heard_since: float | None = None

    def hear(self, *, is_heard: bool) -> None:
        """Whether announcements arrive from now on. What came before may have been missed."""
        with self._changed:
            self._heard_since = time.monotonic() if is_heard else None
            self._changed.notify_all()

    def announce(self, queue: str) -> None:
        """Have the thread of a queue look at once."""
        with self._changed:
            self._announced[queue] = time.monotonic()
            self._changed.notify_all()

    def adopt(self, dbos: DBOS) -> None:
        """Let the threads of DBOS wait here from now on."""
        for stop in (*dbos.background_thread_stop_events, dbos._background_jobs_stop_event):  # noqa: SLF001
            self._adopt(stop)

    def rest(self, queue: str, stop: threading.Event, own_seconds: float) -> bool:
        """Wait for work in a queue, as `stop.wait` does: whether it is time to stop.

        `own_seconds`: how long DBOS would have waited.
        """
        began_at = time.monotonic()
        with self._changed:
            while not stop.is_set():
                left = began_at + self._seconds(queue, own_seconds) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._looked[queue] = time.monotonic()
        return stop.is_set()

    def _seconds(self, queue: str, own_seconds: float) -> float:
        """How long to rest in all, by what was announced until now."""
        if self._heard_since is None:
            return own_seconds
        announced_at = max(self._announced.get(queue, 0.0), self._heard_since)
        if announced_at >= self._looked.get(queue, 0.0):
            return min(own_seconds, MIN_GAP_SECONDS)
        if time.monotonic() - announced_at < LIVELY_SECONDS:
            return own_seconds
        return max(own_seconds, self._rest_seconds)

    def _adopt(self, stop: threading.Event) -> None:
        own_wait, own_set = stop.wait, stop.set

        def wait(timeout: float | None = None) -> bool:
            name = threading.current_thread().name
            if timeout is None or not _rests(name, timeout):
                return own_wait(timeout)
            return self.rest(name.removeprefix(QUEUE_THREAD), stop, timeout)

        def stop_now() -> None:
            own_set()
            with self._changed:
                self._changed.notify_all()

        replaced: Any = stop
        replaced.wait, replaced.set = wait, stop_now


def _rests(thread: str, timeout: float) -> bool:
    """The upkeep of DBOS waits within its lock, in a transaction, and begins anew at once: it
    rests in between."""
    if thread == UPKEEP_THREAD:
        return timeout == 0
    return thread.startswith(QUEUE_THREAD) or thread.endswith(QUEUES_THREAD)

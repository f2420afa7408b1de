"""Logging: plain tracebacks, and no floods of equal warnings.

Tracebacks never show local variables. With rich installed, structlog would print the locals of
every frame, API keys and cards included.
"""

import logging
import sys
import time
from typing import Final

import structlog
from structlog.typing import EventDict

SELDOM_SECONDS: Final = 30.0
SELDOM: Final = frozenset({"webhook_refused", "request_cut", "page_event_unknown"})
MOST_A_MINUTE: Final = 100


class Throttle(logging.Filter):
    """Passes an equal warning only once in SELDOM_SECONDS; errors always pass.

    DBOS repeats a warning 150 times a second while the database is down.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING:
            return True
        message, now = record.getMessage(), time.monotonic()
        seen = list(self._seen.items())  # a copy: several threads log
        self._seen = {text: at for text, at in seen if now - at < SELDOM_SECONDS}
        if message in self._seen:
            return False
        self._seen[message] = now
        return True


class Seldom:
    """A structlog processor: of the events in SELDOM, which anybody can cause, at most
    MOST_A_MINUTE lines a minute. The next line says how many were left out."""

    def __init__(self) -> None:
        self._minute: dict[str, int] = {}
        self._lines: dict[str, int] = {}

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        name = str(event.get("event"))
        if name not in SELDOM:
            return event
        minute = int(time.monotonic() // 60)
        left_out = 0
        if self._minute.get(name) != minute:
            left_out = max(self._lines.get(name, 0) - MOST_A_MINUTE, 0)
            self._minute[name], self._lines[name] = minute, 0
        self._lines[name] += 1
        if self._lines[name] > MOST_A_MINUTE:
            raise structlog.DropEvent
        return {**event, "left_out": left_out} if left_out else event


def configure() -> None:
    """Configure logging for this process. Safe to call again."""
    processors = [
        each for each in structlog.get_config()["processors"][:-1] if not isinstance(each, Seldom)
    ]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[Seldom(), *processors, renderer])

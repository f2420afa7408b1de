"""What a line in the log may hold, and how often one comes.

It never holds a local variable of the code that failed: structlog's own way, where rich is
installed, prints the locals of every frame, and so the keys and cards that pass through them.
"""

import logging
import sys
import time
from typing import Final

import structlog

SELDOM_SECONDS: Final = 30.0


class Seldom(logging.Filter):
    """A warning of the same place in the code comes once in SELDOM_SECONDS; errors always do.

    While the database is away, DBOS warns 150 times a second otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING:
            return True
        place, now = (record.pathname, record.lineno), time.monotonic()
        if now - self._last.get(place, -SELDOM_SECONDS) < SELDOM_SECONDS:
            return False
        self._last[place] = now
        return True


def configure() -> None:
    """For this process; the same each time."""
    processors = structlog.get_config()["processors"][:-1]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*processors, renderer])

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
    """The same warning comes once in SELDOM_SECONDS; another one, and errors, always do.

    While the database is away, DBOS warns 150 times a second otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.WARNING:
            return True
        message, now = record.getMessage(), time.monotonic()
        said = list(self._said.items())  # at once: several threads log
        self._said = {words: at for words, at in said if now - at < SELDOM_SECONDS}
        if message in self._said:
            return False
        self._said[message] = now
        return True


def configure() -> None:
    """For this process; the same each time."""
    processors = structlog.get_config()["processors"][:-1]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*processors, renderer])

"""Logging: plain tracebacks, and no floods of equal warnings.

Tracebacks never show local variables. With rich installed, structlog would print the locals of
every frame, API keys and cards included.
"""

import logging
import sys
import time
from typing import Final

import structlog

SELDOM_SECONDS: Final = 30.0


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


def configure() -> None:
    """Configure logging for this process. Safe to call again."""
    processors = structlog.get_config()["processors"][:-1]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*processors, renderer])

"""What a line in the log may hold: never a local variable of the code that failed.

structlog's own way, where rich is installed, prints the locals of every frame, and so the keys and
cards that pass through them.
"""

import sys

import structlog


def configure() -> None:
    """For this process; the same each time."""
    processors = structlog.get_config()["processors"][:-1]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*processors, renderer])

"""Logging: one line an entry, plain tracebacks, no floods of equal warnings, no secrets.

Tracebacks never show local variables. With rich installed, structlog would print the locals of
every frame, API keys and cards included.
"""

import logging
import re
import sys
import time
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from billing_app.settings import LogFormat

SELDOM_SECONDS: Final = 30.0
SELDOM: Final = frozenset(
    {"webhook_refused", "request_cut", "page_event_unknown", "answer_slow", "answer_failed"}
)
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


EMAIL: Final = re.compile(r"[^\s\"'<>(),;:=\[\]]+@[^\s\"'<>(),;:=\[\]]+")
SECRET: Final = re.compile(
    r"\b(?:sk|rk|pk)_(?:live|test)_\w+|\bwhsec_[\w+/=]+|\bbil_[\w-]+|(?<=://)[^\s/@]+(?=@)"
    r"|(?<=[Bb]earer )\S+"
)


def hide_secrets(_: object, __: str, event: EventDict) -> EventDict:
    """A structlog processor: keys, passwords in URLs and e-mail addresses never reach the log, not
    even in the text of an error."""
    return {name: _hidden(value) for name, value in event.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return EMAIL.sub("[email]", SECRET.sub("[secret]", value))
    if isinstance(value, dict):
        return {name: _hidden(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, (list, tuple)):
        return [_hidden(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def configure(log_format: LogFormat = LogFormat.AUTO) -> None:
    """Configure logging for this process, libraries included. Safe to call again."""
    is_json = log_format is LogFormat.JSON or (
        log_format is LogFormat.AUTO and not sys.stdout.isatty()
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        stamp,
        structlog.processors.StackInfoRenderer(),
    ]
    ends = _json_ends() if is_json else _console_ends()
    structlog.configure(processors=[Seldom(), *chain, *ends])
    _adopt_libraries([*chain, structlog.stdlib.add_logger_name], ends)


def adopt(name: str) -> None:
    """Have a library's logger, which has handlers of its own, write as all others do."""
    logger = logging.getLogger(name)
    logger.handlers.clear()
    logger.propagate = True


def _json_ends() -> list[Processor]:
    render = structlog.processors.JSONRenderer(ensure_ascii=False)
    return [structlog.processors.format_exc_info, hide_secrets, render]


def _console_ends() -> list[Processor]:
    render = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [structlog.processors.format_exc_info, hide_secrets, render]


def _adopt_libraries(chain: list[Processor], ends: list[Processor]) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=chain,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
    )
    handler = _LibraryHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _LibraryHandler)]
    root.addHandler(handler)


class _LibraryHandler(logging.StreamHandler[Any]):
    """Ours, so that it is replaced and not doubled."""

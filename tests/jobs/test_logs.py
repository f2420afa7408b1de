"""Lines of the log: seldom where they repeat, JSON where machines read, and no secrets."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NoReturn

import pytest
import structlog

from billing_app import logs
from billing_app.settings import LogFormat


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger, seldom = logging.getLogger("tests.seldom"), logs.Throttle()
    logger.addFilter(seldom)
    yield logger
    logger.removeFilter(seldom)


def test_repeated_warning_is_throttled(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now in (0.0, 1.0, logs.SELDOM_SECONDS - 1, logs.SELDOM_SECONDS):
        monkeypatch.setattr(logs.time, "monotonic", lambda now=now: now)
        logger.warning("no database for queue %s", "staff")
    assert caplog.messages == ["no database for queue staff"] * 2


def test_other_warnings_and_errors_are_not_throttled(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    for workflow in ("one", "another"):
        logger.warning("workflow %s was given up", workflow)
        logger.error("failed")
    assert caplog.messages == [
        "workflow one was given up",
        "failed",
        "workflow another was given up",
        "failed",
    ]


def test_lines_that_anybody_can_cause_are_bounded_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seldom, now = logs.Seldom(), 0.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)

    def passes(event: str) -> dict[str, object] | None:
        try:
            return dict(seldom(None, "warning", {"event": event}))
        except structlog.DropEvent:
            return None

    lines = [passes("webhook_refused") for _ in range(logs.MOST_A_MINUTE + 7)]
    assert lines == [{"event": "webhook_refused"}] * logs.MOST_A_MINUTE + [None] * 7
    assert passes("request_cut") == {"event": "request_cut"}
    assert passes("hot_route_failed") == {"event": "hot_route_failed"}
    now = 60.0
    assert passes("webhook_refused") == {"event": "webhook_refused", "left_out": 7}
    assert passes("webhook_refused") == {"event": "webhook_refused"}


def test_lines_are_json_with_the_time_and_without_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = _logged(capsys, LogFormat.JSON)
    ours, library = (json.loads(line) for line in lines)
    assert datetime.fromisoformat(ours.pop("timestamp")).tzinfo == UTC
    assert "ValueError: [email] did not pay" in ours.pop("exception")
    assert ours == {
        "event": "call_failed",
        "level": "error",
        "request_id": "r-1",
        "url": "postgresql://[secret]@db/billing",
        "keys": ["[secret]", "[secret]", "Bearer [secret]"],
    }
    assert (library["event"], library["level"]) == ("[email] is late", "warning")
    assert library["logger"] == "tests.library"


def test_lines_for_people_hide_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(_logged(capsys, LogFormat.CONSOLE))
    assert "did not pay" in text
    assert "example.com" not in text
    assert "SECRET" not in text


def _logged(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> list[str]:
    """The lines that an error of ours and a warning of a library write."""
    logs.configure(log_format)
    secret = "bil_SECRET-1_2"
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        try:
            _fail("ada@example.com did not pay")
        except ValueError:
            structlog.get_logger().exception(
                "call_failed",
                url="postgresql://me:SECRET@db/billing",
                keys=[secret, "whsec_SECRET", f"Bearer {secret}"],
            )
    logging.getLogger("tests.library").warning("%s is late", "ada@example.com")
    written = capsys.readouterr()
    logs.configure()
    return [*written.out.splitlines(), *written.err.splitlines()]


def _fail(why: str) -> NoReturn:
    raise ValueError(why)

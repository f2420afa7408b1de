"""DBOS's warnings come seldom, its errors always."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from billing_app import logs


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

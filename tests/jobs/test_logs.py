"""DBOS's warnings come seldom, its errors always."""

import logging
from collections.abc import Iterator

import pytest

from billing_app import logs


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger, seldom = logging.getLogger("tests.seldom"), logs.Seldom()
    logger.addFilter(seldom)
    yield logger
    logger.removeFilter(seldom)


def test_a_warning_of_one_place_comes_once_in_a_while(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    for now in (0.0, 1.0, logs.SELDOM_SECONDS - 1, logs.SELDOM_SECONDS):
        logger.warning("no database, at %s", now)
    assert caplog.messages == ["no database, at 0.0", f"no database, at {logs.SELDOM_SECONDS}"]


def test_another_place_and_an_error_are_not_held_back(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    logger.warning("one")
    logger.warning("another")
    for _ in range(2):
        logger.error("failed")
    assert caplog.messages == ["one", "another", "failed", "failed"]

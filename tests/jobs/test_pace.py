"""The threads of DBOS rest until work is announced, and DBOS's own intervals are the fallback."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from billing_app.jobs import pace as pace_module
from billing_app.jobs.pace import QUEUE_THREAD, UPKEEP_THREAD, Pace

LONG_SECONDS = 60.0
SOON_SECONDS = 10.0
OWN_SECONDS = 0.01


class Looker:
    """A thread of DBOS: waits on the event that stops it, looks, and waits again."""

    def __init__(self, stop: threading.Event, name: str, own_seconds: float = OWN_SECONDS) -> None:
        self._looks = 0
        self._changed = threading.Condition()
        self._own_seconds = own_seconds
        self._stop = stop
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(timeout=self._own_seconds):
            with self._changed:
                self._looks += 1
                self._changed.notify_all()

    @property
    def looks(self) -> int:
        with self._changed:
            return self._looks

    def wait_for(self, looks: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._looks >= looks, SOON_SECONDS)

    def rests(self) -> int:
        """How often it has looked, once it does so no more."""
        deadline = time.monotonic() + SOON_SECONDS
        while (before := self.looks) != (time.sleep(OWN_SECONDS * 20), self.looks)[1]:
            assert time.monotonic() < deadline
        return before


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch, stop: threading.Event) -> Pace:
    """It hears, and rests for a minute at once after each announcement."""
    monkeypatch.setattr(pace_module, "LIVELY_SECONDS", 0.0)
    pace = Pace(LONG_SECONDS)
    pace.adopt(_dbos(stop))
    pace.hear(is_heard=True)
    return pace


@pytest.fixture
def start(stop: threading.Event) -> "Any":
    """Starts lookers, and ends them."""
    started: list[Looker] = []

    def start(name: str, own_seconds: float = OWN_SECONDS) -> Looker:
        looker = Looker(stop, name, own_seconds)
        looker.thread.start()
        started.append(looker)
        return looker

    yield start
    stop.set()
    for looker in started:
        looker.thread.join(SOON_SECONDS)
        assert not looker.thread.is_alive()


Start = Callable[..., Looker]


def _dbos(stop: threading.Event) -> Any:
    return SimpleNamespace(background_thread_stop_events=[stop], _background_jobs_stop_event=stop)


def test_queue_polls_when_its_job_is_announced(resting: Pace, start: Start) -> None:
    mail, webhooks = start(f"{QUEUE_THREAD}mail"), start(f"{QUEUE_THREAD}webhooks")
    before, unconcerned = mail.rests(), webhooks.rests()
    resting.announce("mail")
    mail.wait_for(before + 1)
    assert mail.rests() == before + 1
    assert webhooks.looks == unconcerned


def test_job_announced_during_a_poll_is_polled_next(resting: Pace, stop: threading.Event) -> None:
    resting.rest("mail", stop, OWN_SECONDS)
    resting.announce("mail")
    began_at = time.monotonic()
    resting.rest("mail", stop, OWN_SECONDS)
    assert time.monotonic() - began_at < SOON_SECONDS


def test_dbos_keeps_its_interval_after_an_announcement(
    monkeypatch: pytest.MonkeyPatch, resting: Pace, start: Start
) -> None:
    looker = start(f"{QUEUE_THREAD}mail")
    before = looker.rests()
    monkeypatch.setattr(pace_module, "LIVELY_SECONDS", LONG_SECONDS)
    resting.announce("mail")
    looker.wait_for(before + 5)


def test_interval_is_kept_while_the_listener_is_disconnected(resting: Pace, start: Start) -> None:
    looker = start(f"{QUEUE_THREAD}mail")
    before = looker.rests()
    resting.hear(is_heard=False)
    looker.wait_for(before + 5)
    resting.hear(is_heard=True)
    before = looker.rests()
    resting.hear(is_heard=True)
    looker.wait_for(before + 1)


def test_queue_polls_on_its_own_at_times(stop: threading.Event) -> None:
    pace = Pace(rest_seconds=0.1)
    pace.hear(is_heard=True)
    for _ in range(3):
        assert not pace.rest("mail", stop, OWN_SECONDS)


def test_upkeep_waits_outside_its_transaction(resting: Pace, start: Start) -> None:
    assert resting is not None
    assert start(UPKEEP_THREAD, own_seconds=0.0).rests() <= 1
    start(UPKEEP_THREAD, own_seconds=OWN_SECONDS).wait_for(5)


def test_other_threads_are_left_alone(resting: Pace, start: Start) -> None:
    assert resting is not None
    start("Thread-9 (dynamic_scheduler_loop)").wait_for(5)

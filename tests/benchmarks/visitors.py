"""Visitors without a session: what each visit leaves in the memory of the pages' process.

The baseline keeps every visitor's page state, as Reflex does by default for an hour.
"""

import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from reflex.state import State

from billing_app import routes
from billing_app.serving import build_pages
from tests.pages.sockets import connect, forged
from tests.processes import free_port, start_command, wait_until_ready

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

VISITS: Final = 20_000
QUICK_VISITS: Final = 2_000
BASELINE_VISITS: Final = 1_000
WARM_UP_VISITS: Final = 2_000
CLIENTS: Final = 8
MOST_KB_FOR_EACH: Final = 1.0
KEEP_ALL: Final = {"VISITOR_STATE_SECONDS": "3600", "VISITOR_STATES_MAX": "1000000"}


@dataclass(frozen=True, slots=True)
class Pages:
    base_url: str
    pid: int

    def memory_bytes(self) -> int:
        process = psutil.Process(self.pid)
        processes = [process, *process.children(recursive=True)]
        return max(each.memory_info().rss for each in processes)

    def visit(self, count: int) -> None:
        """Each with a token of its own, and one event."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda _: self._visit_once(), range(count)))

    def _visit_once(self) -> None:
        socket = connect(self, secrets.token_hex(16), {"Origin": self.base_url})
        socket.send("40/_event,")
        socket.receive()
        socket.receive()
        socket.send(forged(State, "set_is_hydrated", routes.SIGN_IN, value=False))
        socket.receive()
        socket.close()


def visitors(cases: "Cases") -> None:
    """Memory that is kept for each visit, beside that of a process that keeps every page state."""
    build_pages()
    is_quick = cases.plan.rounds == 1
    kept = _kilobytes_for_each(cases, QUICK_VISITS if is_quick else VISITS, {})
    before = _kilobytes_for_each(cases, BASELINE_VISITS, KEEP_ALL)
    cases.report.at_most("visitors: memory for each visit", kept, MOST_KB_FOR_EACH, " kB")
    cases.report.note(f"A visit left {kept:.2f} kB, and {before:.0f} kB when all states are kept.")


def _kilobytes_for_each(cases: "Cases", visits: int, settings: dict[str, str]) -> float:
    with _serving(cases, settings) as pages:
        pages.visit(WARM_UP_VISITS)
        time.sleep(2)
        before = pages.memory_bytes()
        pages.visit(visits)
        return max(0, pages.memory_bytes() - before) / 1024 / visits


@contextmanager
def _serving(cases: "Cases", settings: dict[str, str]) -> Iterator[Pages]:
    port = free_port()
    base_url = f"http://localhost:{port}"
    environment = {**os.environ, **cases.bed.environment, "PUBLIC_URL": base_url, **settings}
    with (
        tempfile.TemporaryDirectory() as directory,
        (Path(directory) / "pages.log").open("w") as log,
    ):
        process = start_command(environment, "serve", "--port", str(port), log=log)
        try:
            wait_until_ready(base_url, process)
            yield Pages(base_url, process.pid)
        finally:
            process.terminate()
            process.wait(timeout=20)

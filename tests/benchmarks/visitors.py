"""Visitors without a session: what each visit leaves in the memory of the pages' process.

The baseline keeps every visitor's page state, as Reflex does by default for an hour.
"""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from reflex.state import State

from billing_app import routes
from tests.benchmarks.other_build import serving_other_build
from tests.benchmarks.whole_app import WholeApp, serving_whole_app
from tests.pages.sockets import connect, forged

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

VISITS: Final = 20_000
QUICK_VISITS: Final = 2_000
BASELINE_VISITS: Final = 1_000
# Those that are kept for seconds, and the pools of the allocators, fill first.
WARM_UP_VISITS: Final = 2_000
CLIENTS: Final = 8
MOST_KB_FOR_EACH: Final = 1.0
KEEP_ALL: Final = {"VISITOR_STATE_SECONDS": "3600", "VISITOR_STATES_MAX": "1000000"}


def visitors(cases: "Cases") -> None:
    """Memory that is kept for each visit, beside that of a process that keeps every page state."""
    is_quick = cases.plan.rounds == 1
    kept = _kilobytes_for_each(cases, QUICK_VISITS if is_quick else VISITS, {})
    before = _kilobytes_for_each(cases, BASELINE_VISITS, KEEP_ALL)
    cases.report.at_most("visitors: memory for each visit", kept, MOST_KB_FOR_EACH, " kB")
    cases.report.note(f"A visit left {kept:.2f} kB, and {before:.0f} kB when all states are kept.")
    if cases.plan.baseline is not None:
        with serving_other_build(cases.bed, cases.plan.baseline) as other:
            left = _left_by_each(other, BASELINE_VISITS, warm_up=0)
        cases.report.note(f"In the baseline, a visit left {left:.0f} kB.")


def _kilobytes_for_each(cases: "Cases", visits: int, settings: dict[str, str]) -> float:
    with serving_whole_app(cases.bed, settings) as app:
        return _left_by_each(app, visits, warm_up=WARM_UP_VISITS)


def _left_by_each(app: WholeApp, visits: int, *, warm_up: int) -> float:
    _visit(app, warm_up)
    time.sleep(2)
    before = app.memory_bytes()
    _visit(app, visits)
    return max(0, app.memory_bytes() - before) / 1024 / visits


def _visit(app: WholeApp, count: int) -> None:
    """Each with a token of its own, and one event."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda _: _visit_once(app), range(count)))


def _visit_once(app: WholeApp) -> None:
    socket = connect(app, secrets.token_hex(16), {"Origin": app.base_url})
    socket.send("40/_event,")
    socket.receive()
    socket.receive()
    socket.send(forged(State, "set_is_hydrated", routes.SIGN_IN, value=False))
    socket.receive()
    socket.close()

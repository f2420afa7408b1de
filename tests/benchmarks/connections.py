"""Checks beside thousands of connections that ask for nothing, or take their time to ask."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tests.benchmarks import requests
from tests.benchmarks.crowd import Crowd, gathered
from tests.benchmarks.load import Load, Result
from tests.benchmarks.processes import send
from tests.benchmarks.whole_app import WholeApp, serving_whole_app

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

# idle, slow
CROWDS: Final = ((5_000, 500), (10_000, 0))
CLIENTS: Final = 16
WARM_UP_SECONDS: Final = 1.0
P99_MS: Final = 50.0


def connections(cases: "Cases") -> None:
    """p99 of checks through the whole app beside each crowd, and its memory."""
    results: defaultdict[str, list[Result]] = defaultdict(list)
    megabytes: defaultdict[str, list[float]] = defaultdict(list)
    with serving_whole_app(cases.bed, {}) as app:
        _check(cases, app)
        before = app.memory_bytes()
        for _ in range(cases.plan.rounds):
            results["alone"].append(_check(cases, app))
            for idle, slow in CROWDS:
                name = f"beside {idle:,} idle" + (f" and {slow:,} slow" if slow else "")
                crowd = Crowd(port=app.port, idle=idle, slow=slow, secret=cases.bed.secret)
                with gathered(crowd):
                    results[name].append(_check(cases, app))
                    megabytes[name].append((app.memory_bytes() - before) / 1024**2)
    for name, rounds in results.items():
        cell = cases.report.cell(f"check, whole app, {name}", rounds)
        if name in megabytes:
            cases.report.at_most(f"check {name}: p99", cell.p99_ms, P99_MS)
            cases.report.note(f"{name}: at most {max(megabytes[name]):.0f} MB more memory.")


def _check(cases: "Cases", app: WholeApp) -> Result:
    return send(
        Load(
            port=app.port,
            clients=CLIENTS,
            seconds=cases.plan.seconds,
            warm_up_seconds=WARM_UP_SECONDS,
            head=requests.check_head(cases.bed.secret),
            tails=requests.check_tails(cases.bed.many),
            kind="plain",
            server_pid=app.pid,
            database_pids=[cases.bed.postmaster_pid],
        )
    )

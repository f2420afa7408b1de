"""Checks beside thousands of connections that ask for nothing, or take their time to ask."""

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tests.benchmarks import requests
from tests.benchmarks.crowd import Crowd, gathered
from tests.benchmarks.load import Load, Result
from tests.benchmarks.other_build import serving_other_build
from tests.benchmarks.processes import BenchmarkError, send
from tests.benchmarks.whole_app import WholeApp, serving_whole_app

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

# idle, slow
CROWDS: Final = ((5_000, 500), (10_000, 0))
CLIENTS: Final = 16
WARM_UP_SECONDS: Final = 1.0
P99_MS: Final = 50.0
TRIALS: Final = 1_000


def connections(cases: "Cases") -> None:
    """p99 of checks through the whole app beside each crowd, and its memory."""
    _ours(cases)
    if cases.plan.baseline is not None:
        with serving_other_build(cases.bed, cases.plan.baseline) as other:
            cases.report.cell("check, baseline, alone", [_check(cases, other)])
            for idle, slow in CROWDS:
                cases.report.note(f"The baseline {_beside(cases, other, idle, slow)}")


def _beside(cases: "Cases", app: WholeApp, idle: int, slow: int) -> str:
    """What became of checks: an older build may answer none, or keep no such crowd."""
    crowd = Crowd(port=app.port, idle=idle, slow=slow, secret=app.secret)
    name, before = _name(idle, slow), app.memory_bytes()
    try:
        with gathered(crowd):
            found = _check(cases, app)
            more = (app.memory_bytes() - before) / 1024**2
    except BenchmarkError as error:
        return f"{name}: {error}"
    return f"{name}: p99 {found.p99_ms:.0f} ms, {more:.0f} MB more memory."


def _name(idle: int, slow: int) -> str:
    return f"beside {idle:,} idle" + (f" and {slow:,} slow" if slow else "")


def _ours(cases: "Cases") -> None:
    results: defaultdict[str, list[Result]] = defaultdict(list)
    megabytes: defaultdict[str, list[float]] = defaultdict(list)
    with serving_whole_app(cases.bed, {}) as app:
        _check(cases, app)
        before = app.memory_bytes()
        for _ in range(cases.plan.rounds):
            results["alone"].append(_check(cases, app))
            for idle, slow in CROWDS:
                name = _name(idle, slow)
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
    public = app.public_organization
    tails = requests.trial_tails(public, TRIALS) if public else requests.check_tails(cases.bed.many)
    return send(
        Load(
            port=app.port,
            clients=CLIENTS,
            seconds=cases.plan.seconds,
            warm_up_seconds=WARM_UP_SECONDS,
            head=requests.check_head(app.secret),
            tails=tails,
            kind="plain",
            server_pid=app.pid,
            database_pids=[cases.bed.postmaster_pid],
        )
    )

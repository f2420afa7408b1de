"""Reads over HTTP: how many a second, and what decisions notice of two hundred readers."""

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tests.benchmarks import requests
from tests.benchmarks.harness import HOT_ORGANIZATION
from tests.benchmarks.history import HEAVY_ORGANIZATION, History, made_history
from tests.benchmarks.load import Load, Result
from tests.benchmarks.processes import Server, begin, send, serving
from tests.benchmarks.table import Median

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

WARM_UP_SECONDS: Final = 1.0
CLIENTS: Final = 16
READERS: Final = 200
CONSUMERS: Final = 16
CURRENT: Final = "current plan"
YEAR: Final = "usage by day, 1 year"
MONTH: Final = "usage by day, 30 days"
# Of what the baseline answers a second.
TARGETS: Final = {CURRENT: 5, YEAR: 3, MONTH: 3}
SLOWER_BESIDE_READERS: Final = 3


def reads(cases: "Cases") -> None:
    """Current plan and usage by day, of an account with millions of events: one client, and many
    beside the baseline's."""
    with made_history(cases.bed, cases.plan.events) as history:
        cases.report.note(
            f"{history.events:,} events made in {history.fill_seconds:.0f} s; the account that is"
            f" read has {history.heavy_events:,} and {history.heavy_daily_rows:,} daily rows."
        )
        environment = {**cases.bed.environment, "DATABASE_URL": history.url}
        with _servers(cases, environment) as servers:
            for name, path in _paths(history).items():
                _read(cases, servers, history, name, path)
        sums = [history.sum_of_events_ms() for _ in range(cases.plan.rounds)]
    cases.report.note(f"The same sums from the events: {statistics.median(sums):,.0f} ms (p50).")


def _paths(history: History) -> dict[str, str]:
    usage = f"/billing/usage?organization_id={HEAVY_ORGANIZATION}&group_by=day&to={history.last}"
    return {
        CURRENT: f"/billing/plans/current?organization_id={HEAVY_ORGANIZATION}",
        YEAR: f"{usage}&from={history.first}",
        MONTH: f"{usage}&from={history.last - timedelta(days=29)}",
    }


@contextlib.contextmanager
def _servers(cases: "Cases", environment: dict[str, str]) -> Iterator[dict[str, Server]]:
    """Ours, and the baseline's when there is one."""
    with contextlib.ExitStack() as running:
        servers = {"ours": running.enter_context(serving("ours", cases.plan.server, environment))}
        if cases.plan.baseline is not None:
            other = serving("ours", cases.plan.server, environment, cases.plan.baseline)
            servers["baseline"] = running.enter_context(other)
        yield servers


def _read(
    cases: "Cases", servers: dict[str, Server], history: History, name: str, path: str
) -> None:
    head = requests.get_head(path, history.secret) + "\r\n"
    rounds: defaultdict[tuple[str, int], list[Result]] = defaultdict(list)
    for _ in range(cases.plan.rounds):
        for clients in (1, CLIENTS):
            for which, server in servers.items():
                load = _load(cases, server, clients=clients, heads=[head])
                rounds[which, clients].append(send(load))
    medians: dict[tuple[str, int], Median] = {}
    for (which, clients), results in rounds.items():
        medians[which, clients] = cases.report.cell(f"{name}, {clients} clients, {which}", results)
    cases.report.at_most(f"{name}: p50", medians["ours", 1].p50_ms, 20)
    if "baseline" in servers:
        pairs = zip(rounds["ours", CLIENTS], rounds["baseline", CLIENTS], strict=True)
        ratio = statistics.median(our.per_second / other.per_second for our, other in pairs)
        cases.report.at_least(f"{name}: against the baseline", ratio, TARGETS[name])


def readers(cases: "Cases") -> None:
    """Consume on the hot account, alone and beside readers of usage and history."""
    with _servers(cases, cases.bed.environment) as servers:
        for which, server in servers.items():
            alone: list[Result] = []
            beside: list[Result] = []
            for _ in range(cases.plan.rounds):
                alone.append(_consume(cases, server))
                reading = begin(_reading(cases, server))
                beside.append(_consume(cases, server))
                cases.report.cell(f"{READERS} readers, {which}", [reading()])
            name = f"consume, {CONSUMERS} clients, {which}"
            quiet = cases.report.cell(f"{name}, alone", alone)
            noisy = cases.report.cell(f"{name}, beside {READERS} readers", beside)
            if which == "ours":
                ratio = noisy.p99_ms / quiet.p99_ms
                what = f"consume: p99 beside {READERS} readers over alone"
                cases.report.at_most(what, ratio, SLOWER_BESIDE_READERS, "x")


def _consume(cases: "Cases", server: Server) -> Result:
    return cases.consume(server, "hot", CONSUMERS)


def _reading(cases: "Cases", server: Server) -> Load:
    """Begins before the consumers' window and ends after it."""
    paths = ("usage", "usage/events", "plans/history", "plans/current", "usage?group_by=workflow")
    joined = [f"/billing/{path}{'&' if '?' in path else '?'}" for path in paths]
    heads = [
        requests.get_head(f"{path}organization_id={HOT_ORGANIZATION}", cases.bed.secret) + "\r\n"
        for path in joined
    ]
    seconds = cases.plan.seconds + 4 * WARM_UP_SECONDS
    return _load(cases, server, clients=READERS, heads=heads, seconds=seconds)


def _load(
    cases: "Cases",
    server: Server,
    *,
    clients: int,
    heads: list[str],
    seconds: float | None = None,
) -> Load:
    return Load(
        port=server.port,
        clients=clients,
        seconds=seconds or cases.plan.seconds,
        warm_up_seconds=WARM_UP_SECONDS,
        head="",
        tails=heads,
        kind="plain",
        server_pid=server.pid,
        database_pids=[cases.bed.postmaster_pid],
    )

"""The cases: what is sent to what, how often, and what is concluded."""

import contextlib
import itertools
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Literal

import msgspec

from tests.benchmarks import alone, pgbench, requests
from tests.benchmarks.alerts import alerts
from tests.benchmarks.client import client
from tests.benchmarks.cluster import cluster
from tests.benchmarks.connections import connections
from tests.benchmarks.dashboards import dashboards
from tests.benchmarks.denials import denials
from tests.benchmarks.flood import flood
from tests.benchmarks.harness import HOT_ORGANIZATION, BenchmarkHarness
from tests.benchmarks.leases import leases
from tests.benchmarks.load import Load, Result
from tests.benchmarks.processes import BenchmarkError, Server, send, serving
from tests.benchmarks.reads import readers, reads
from tests.benchmarks.reconcile import reconcile
from tests.benchmarks.renewals import renewals
from tests.benchmarks.search import search
from tests.benchmarks.table import Report
from tests.benchmarks.tracing import tracing
from tests.benchmarks.visitors import visitors

NAIVE: Final = ("naive-async", "naive-sync")
TARGETS: Final = {("many", 64): 20, ("many", 256): 30, ("hot", 64): 35, ("hot", 256): 60}
WARM_UP_SECONDS: Final = 1.0
# A naive answer takes seconds under load: in a window no longer than that, nothing may come at all.
NAIVE_PATIENCE: Final = 3
BATCH_ITEMS: Final = 50
BATCH_CLIENTS: Final = 64
PGBENCH_CLIENTS: Final = (1, 8, 64)
ALONE_REQUESTS: Final = 1000

Accounts = Literal["many", "hot"]


class Plan(msgspec.Struct, frozen=True):
    """How long and how often; which ASGI server."""

    seconds: float
    rounds: int
    server: str
    events: int
    baseline: Path | None = None
    customers: int | None = None


class Cases:
    """Runs loads on one bed and counts what the database counted against what was answered."""

    def __init__(self, bed: BenchmarkHarness, plan: Plan, report: Report) -> None:
        self.bed = bed
        self.plan = plan
        self.report = report
        self._runs = itertools.count()
        self._tails: dict[tuple[str, str], list[str]] = {}

    def start(self, app: str) -> AbstractContextManager[Server]:
        return serving(app, self.plan.server, self.bed.environment)

    def consume(self, server: Server, accounts: Accounts, clients: int) -> Result:
        """Raises BenchmarkError when the plans' sum differs from the answers."""
        return self._counted(
            server,
            clients,
            head=requests.consume_head(self.bed.secret),
            tails=self._organizations(accounts, requests.consume_tails),
            kind="keyed",
        )

    def denied(self, server: Server, accounts: list[str], clients: int) -> Result:
        """Consumes of accounts that have nothing left."""
        return self._send(
            server,
            clients,
            head=requests.consume_head(self.bed.secret),
            tails=requests.consume_tails(accounts),
            kind="keyed",
            status=402,
        )

    def consume_batches(self, server: Server, accounts: Accounts) -> Result:
        return self._counted(
            server,
            BATCH_CLIENTS,
            head=requests.batch_head(self.bed.secret),
            tails=self._organizations(accounts, requests.batch_tails),
            kind="batch",
        )

    def check(self, server: Server, accounts: Accounts, clients: int) -> Result:
        return self._send(
            server,
            clients,
            head=requests.check_head(self.bed.secret),
            tails=self._organizations(accounts, requests.check_tails),
            kind="plain",
        )

    def _organizations(
        self, accounts: Accounts, make: Callable[[list[str]], list[str]]
    ) -> list[str]:
        return make(self.bed.many if accounts == "many" else [HOT_ORGANIZATION])

    def _counted(
        self,
        server: Server,
        clients: int,
        *,
        head: str,
        tails: list[str],
        kind: Literal["keyed", "batch"],
    ) -> Result:
        before = self.bed.executions_used()
        result = self._send(server, clients, head=head, tails=tails, kind=kind)
        counted = self.bed.executions_used() - before
        answered = result.accepted_in_all * (BATCH_ITEMS if kind == "batch" else 1)
        if server.app != "bare" and counted != answered:
            raise BenchmarkError(f"{server.app}: {answered} accepted, but {counted} counted.")
        return result

    def _send(
        self,
        server: Server,
        clients: int,
        *,
        head: str,
        tails: list[str],
        kind: Literal["keyed", "plain", "batch"],
        status: int = 200,
    ) -> Result:
        patience = NAIVE_PATIENCE if server.app in NAIVE else 1
        self.bed.settle()
        return send(
            Load(
                port=server.port,
                clients=clients,
                seconds=self.plan.seconds * patience,
                warm_up_seconds=WARM_UP_SECONDS * patience,
                head=head,
                tails=tails,
                kind=kind,
                batch_items=BATCH_ITEMS,
                status=status,
                run=f"r{next(self._runs)}",
                server_pid=server.pid,
                database_pids=[self.bed.postmaster_pid],
            )
        )


def consume(cases: Cases) -> None:
    """Our route against the naive ones and the bare one, on many accounts and on a hot one.

    In each round all of them are asked one right after another: a machine whose speed changes
    within minutes changes it for all.
    """
    grid: list[tuple[Accounts, int]] = [("many", 64), ("many", 256), ("hot", 64), ("hot", 256)]
    with contextlib.ExitStack() as running:
        servers = [running.enter_context(cases.start(app)) for app in (*NAIVE, "ours", "bare")]
        for accounts, clients in grid:
            rounds: defaultdict[str, list[Result]] = defaultdict(list)
            for _ in range(cases.plan.rounds):
                for server in servers:
                    rounds[server.app].append(cases.consume(server, accounts, clients))
            _conclude(cases.report, rounds, accounts, clients)


def _conclude(
    report: Report, rounds: dict[str, list[Result]], accounts: Accounts, clients: int
) -> None:
    where = f"{accounts}, {clients} clients"
    medians = {app: report.cell(f"{app}, {where}", rounds[app]) for app in rounds}
    ratios = {app: _ratio(rounds["ours"], rounds[app]) for app in (*NAIVE, "bare")}
    against_naive = min(ratios[app] for app in NAIVE)
    target = TARGETS[accounts, clients]
    report.at_least(f"{where}: against the faster naive route", against_naive, target)
    report.note(f"{where}: " + ", ".join(f"{ratios[app]:,.0f}x {app}" for app in NAIVE))
    report.at_least(f"{where}: of a bare route", ratios["bare"], 0.3)
    if clients == 64:
        report.at_most(f"{where}: p99", medians["ours"].p99_ms, 40)


def _ratio(ours: list[Result], others: list[Result]) -> float:
    """The median of what we answered a second over what the other did in the same round."""
    if not all(other.requests for other in others):
        raise BenchmarkError("A baseline answered nothing in a round; take longer --seconds.")
    pairs = zip(ours, others, strict=True)
    return statistics.median(our.per_second / other.per_second for our, other in pairs)


def sql(cases: Cases) -> None:
    """Our route against pgbench with its best number of clients, on the hot account."""
    ours: list[Result] = []
    found: defaultdict[int, list[float]] = defaultdict(list)
    with cases.start("ours") as server, tempfile.TemporaryDirectory() as directory:
        for _ in range(cases.plan.rounds):
            ours.append(cases.consume(server, "hot", 64))
            for clients in PGBENCH_CLIENTS:
                cases.bed.settle()
                per_second = pgbench.run(
                    cases.bed,
                    clients=clients,
                    seconds=cases.plan.seconds,
                    directory=Path(directory),
                )
                found[clients].append(per_second)
    medians = {clients: statistics.median(values) for clients, values in found.items()}
    cell = cases.report.cell("ours, hot, 64 clients (beside pgbench)", ours)
    best = max(medians.values())
    cases.report.at_least("hot: against pgbench at its best", cell.per_second / best, 3)
    per_clients = ", ".join(f"{n} clients {value:,.0f}/s" for n, value in medians.items())
    cases.report.note(f"pgbench, same statements, one transaction each: {per_clients}")


def lone(cases: Cases) -> None:
    """One client: the transaction and the bare route, and no waiting on top."""
    ours: list[Result] = []
    bare: list[Result] = []
    transactions_ms: list[float] = []
    with cases.start("ours") as our_server, cases.start("bare") as bare_server:
        for number in range(cases.plan.rounds):
            ours.append(cases.consume(our_server, "hot", 1))
            bare.append(cases.consume(bare_server, "hot", 1))
            transactions_ms.append(
                alone.transaction_ms(cases.bed, run=f"alone-{number}", count=ALONE_REQUESTS)
            )
    cell = cases.report.cell("ours, hot, 1 client", ours)
    floor = cases.report.cell("bare, 1 client", bare)
    transaction_ms = statistics.median(transactions_ms)
    ratio = cell.p50_ms / (transaction_ms + floor.p50_ms)
    cases.report.at_most("1 client: p50 over transaction + bare route", ratio, 1.25, "x")
    cases.report.note(f"A transaction with one request takes {transaction_ms:.2f} ms (p50).")


def batch(cases: Cases) -> None:
    """Batches of 50 against single requests, per execution."""
    for accounts in ("many", "hot"):
        singles: list[Result] = []
        batches: list[Result] = []
        with cases.start("ours") as server:
            for _ in range(cases.plan.rounds):
                singles.append(cases.consume(server, accounts, 64))
                batches.append(cases.consume_batches(server, accounts))
        single = cases.report.cell(f"single, {accounts}, 64 clients", singles)
        name = f"batches of {BATCH_ITEMS}, {accounts}, {BATCH_CLIENTS} clients"
        cell = cases.report.cell(name, batches)
        ratio = cell.per_second * BATCH_ITEMS / single.per_second
        cases.report.at_least(f"{accounts}: batch of {BATCH_ITEMS} per execution", ratio, 4)


def check(cases: Cases) -> None:
    """mode=check, which locks and changes nothing."""
    for accounts in ("many", "hot"):
        with cases.start("ours") as server:
            results = [cases.check(server, accounts, 64) for _ in range(cases.plan.rounds)]
        cases.report.cell(f"check, {accounts}, 64 clients", results)


ALL: Final[dict[str, Callable[[Cases], None]]] = {
    "consume": consume,
    "sql": sql,
    "lone": lone,
    "batch": batch,
    "check": check,
    "reads": reads,
    "readers": readers,
    "search": search,
    "dashboards": dashboards,
    "visitors": visitors,
    "connections": connections,
    "renewals": renewals,
    "reconcile": reconcile,
    "client": client,
    "leases": leases,
    "flood": flood,
    "cluster": cluster,
    "alerts": alerts,
    "tracing": tracing,
    "denials": denials,
}

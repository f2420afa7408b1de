"""Decisions through leases against our own consume over HTTP, on the same two cores."""

import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec

from tests.benchmarks.harness import HOT_ORGANIZATION
from tests.benchmarks.lease_load import Kind, LeaseLoad, LeaseResult
from tests.benchmarks.processes import LOAD_SECONDS, BenchmarkError, Server

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

PROCESSES: Final = 2
TARGETS: Final[dict[Kind, tuple[str, float]]] = {
    "decide": ("decisions through leases over consume, 64 clients", 100),
    "run": ("whole runs through leases over consume", 20),
    "flushed": ("decisions on disk before each answer over consume", 3),
}
P99_US: Final = 50.0


def leases(cases: "Cases") -> None:
    """In each round the consume and every kind of decision are measured one after another; consume
    uses both cores (server, database, load), and so do two services, each with a lease of its own.

    Keys are remembered, and the journal is on.
    """
    ratios: defaultdict[Kind, list[float]] = defaultdict(list)
    found: defaultdict[str, list[float]] = defaultdict(list)
    with cases.start("ours") as server:
        for _ in range(cases.plan.rounds):
            result = cases.consume(server, "hot", 64)
            consumed = result.per_second
            found["consume"].append(consumed)
            spent = result.server_cpu_seconds + result.database_cpu_seconds + result.own_cpu_seconds
            found["consume_cpu"].append(spent / result.requests * 1e6)
            for kind in TARGETS:
                per_second, cpu_us = _measure(cases, server, kind)
                found[kind].append(per_second)
                found[f"{kind}_cpu"].append(cpu_us)
                ratios[kind].append(per_second / consumed)
            (one,) = _run(cases, server, "latency", 1)
            found["p50"].append(one.p50_us)
            found["p99"].append(one.p99_us)
    for kind, (what, target) in TARGETS.items():
        cases.report.at_least(what, statistics.median(ratios[kind]), target)
    p99_us = statistics.median(found["p99"])
    cases.report.at_most("p99 of a decision through a lease", p99_us, P99_US, " µs")
    medians = {name: statistics.median(values) for name, values in found.items()}
    cases.report.note(
        f"A second: {medians['consume']:,.0f} consumes over HTTP with 64 clients; in"
        f" {PROCESSES} processes {medians['decide']:,.0f} decisions, {medians['run']:,.0f} runs,"
        f" {medians['flushed']:,.0f} decisions on disk before the answer. One decision takes"
        f" {medians['p50']:.1f} µs (p50). Every decision was counted by the database."
    )
    cases.report.note(
        f"CPU, which other work on the machine does not change: {medians['consume_cpu']:,.0f} µs a"
        f" consume (server, database and load), {medians['decide_cpu']:.2f} µs a decision,"
        f" {medians['run_cpu']:.1f} µs a run, {medians['flushed_cpu']:.1f} µs a flushed decision."
    )


def _measure(cases: "Cases", server: Server, kind: Kind) -> tuple[float, float]:
    """Decisions a second of all processes, and CPU µs for each.

    Raises BenchmarkError when the plans' sum differs.
    """
    before = cases.bed.executions_used()
    results = _run(cases, server, kind, PROCESSES)
    counted = cases.bed.executions_used() - before
    allowed = sum(result.allowed for result in results)
    if counted != allowed:
        raise BenchmarkError(f"{kind}: {allowed} allowed, but {counted} counted.")
    spent = sum(result.cpu_seconds for result in results)
    per_second = sum(result.allowed / result.seconds for result in results)
    return per_second, spent / allowed * 1e6


def _run(cases: "Cases", server: Server, kind: Kind, processes: int) -> list[LeaseResult]:
    cases.bed.settle()
    with tempfile.TemporaryDirectory() as journal:
        load = LeaseLoad(
            url=f"http://127.0.0.1:{server.port}",
            key=cases.bed.secret,
            organization_id=HOT_ORGANIZATION,
            journal=journal,
            kind=kind,
            seconds=cases.plan.seconds,
        )
        running = [_begin(load) for _ in range(processes)]
        return [_result(process) for process in running]


def _begin(load: LeaseLoad) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.lease_load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(load))
    process.stdin.close()
    process.stdin = None
    return process


def _result(process: "subprocess.Popen[bytes]") -> LeaseResult:
    output, _ = process.communicate(timeout=LOAD_SECONDS)
    if process.returncode:
        raise BenchmarkError(f"The leases' process ended with {process.returncode}.")
    return msgspec.json.decode(output, type=LeaseResult)

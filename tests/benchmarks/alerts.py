"""Consume with three rules of its own on every account, in turns with another checkout."""

import contextlib
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tests.benchmarks.load import Result
from tests.benchmarks.processes import BenchmarkError, serving

if TYPE_CHECKING:
    from tests.benchmarks.cases import Accounts, Cases

TARGET: Final = 0.97
CLIENTS: Final = 64
# Each pair is two windows, one right after the other.
PAIRS: Final = 3
RULES: Final = """
INSERT INTO alert_rules (account_id, rules, updated_by, updated_at)
SELECT id, '[{"kind": "remaining_share", "value": 50}, {"kind": "remaining_share", "value": 20},
             {"kind": "remaining_number", "value": 1000}]', 'benchmark', now()
FROM accounts ON CONFLICT DO NOTHING
"""


def alerts(cases: "Cases") -> None:
    """Ours with alerts against the baseline: decisions a second, and CPU for each."""
    if cases.plan.baseline is None:
        raise BenchmarkError("--only alerts needs --baseline, a checkout without alerts.")
    cases.bed.execute(RULES)
    environment, server = cases.bed.environment, cases.plan.server
    with contextlib.ExitStack() as running:
        ours = running.enter_context(cases.start("ours"))
        base = running.enter_context(serving("ours", server, environment, cases.plan.baseline))
        grid: list[Accounts] = ["many", "hot"]
        for accounts in grid:
            rounds: defaultdict[str, list[Result]] = defaultdict(list)
            for number in range(PAIRS * cases.plan.rounds):
                turn = [("alerts", ours), ("baseline", base)]
                for name, each in turn if number % 2 else turn[::-1]:
                    rounds[name].append(cases.consume(each, accounts, CLIENTS))
            _conclude(cases, accounts, rounds)
    raised = cases.bed.scalar("SELECT count(*) FROM alerts")
    cases.report.note(f"{raised} alerts were raised: no plan came near its thresholds.")


def _conclude(cases: "Cases", accounts: str, rounds: dict[str, list[Result]]) -> None:
    for name, results in rounds.items():
        cases.report.cell(f"{name}, {accounts}, {CLIENTS} clients", results)
    pairs = list(zip(rounds["alerts"], rounds["baseline"], strict=True))
    ratio = statistics.median(ours.per_second / base.per_second for ours, base in pairs)
    cases.report.at_least(f"{accounts}: with alerts, of the baseline", ratio, TARGET)
    for name, seconds in (
        ("database", [(a.database_cpu_seconds, b.database_cpu_seconds) for a, b in pairs]),
        ("app", [(a.server_cpu_seconds, b.server_cpu_seconds) for a, b in pairs]),
    ):
        each = [
            (ours / max(1, a.requests)) / (base / max(1, b.requests))
            for (ours, base), (a, b) in zip(seconds, pairs, strict=True)
        ]
        cases.report.note(
            f"{accounts}: CPU of the {name} for each request, of the baseline's:"
            f" {statistics.median(each):.3f}x"
        )

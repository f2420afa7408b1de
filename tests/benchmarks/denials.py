"""What a denial costs: beside an accepted consume, and beside a denial that does not say what comes
next."""

import statistics
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from tests.benchmarks.load import Result

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

CLIENTS: Final = 256
EMPTY: Final = 1_000
MOST: Final = 2.0
EMPTIED: Final = """
UPDATE plans SET used = executions, ended_at = now(), ended_because = 'depleted'
FROM accounts WHERE accounts.id = account_id AND organization_id BETWEEN '{}' AND '{}'
"""
ACCEPTED, DENIED, WITHOUT = "accepted", "denied", "denied, without what comes next"


def denials(cases: "Cases") -> None:
    """CPU of the app and the database together, one right after another in each round."""
    empty = cases.bed.many[:EMPTY]
    cases.bed.execute(EMPTIED.format(empty[0], empty[-1]))
    with ExitStack() as running:
        ours, plain = (running.enter_context(cases.start(app)) for app in ("ours", "unexplained"))
        for where, accounts in (("hot", empty[:1]), ("many", empty)):
            rounds: defaultdict[str, list[Result]] = defaultdict(list)
            for _ in range(cases.plan.rounds):
                rounds[ACCEPTED].append(cases.consume(ours, "hot", CLIENTS))
                rounds[DENIED].append(cases.denied(ours, accounts, CLIENTS))
                rounds[WITHOUT].append(cases.denied(plain, accounts, CLIENTS))
            for name, results in rounds.items():
                cases.report.cell(f"{name}, {where}, {CLIENTS} clients", results)
            ratio = _ratio(rounds[DENIED], rounds[ACCEPTED])
            cases.report.at_most(f"denied, {where}: CPU, of a consume", ratio, MOST, "x")
            added = _ratio(rounds[DENIED], rounds[WITHOUT])
            cases.report.note(f"denied, {where}: CPU {added:.2f}x of without what comes next")


def _ratio(these: list[Result], others: list[Result]) -> float:
    """The median of what one took over what the other took in the same round."""
    pairs = zip(these, others, strict=True)
    return statistics.median(_cpu(this) / _cpu(other) for this, other in pairs)


def _cpu(result: Result) -> float:
    return (result.server_cpu_seconds + result.database_cpu_seconds) / max(1, result.requests)

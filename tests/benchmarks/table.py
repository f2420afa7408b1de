"""What was measured, against what, and whether the target is met; printed as tables."""

import statistics
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from tests.benchmarks.load import Result


class Median(msgspec.Struct, frozen=True):
    """Medians over the rounds of one cell; CPU is microseconds for each request."""

    per_second: float
    p50_ms: float
    p99_ms: float
    app_cpu_us: float
    database_cpu_us: float
    load_cpu_us: float

    @classmethod
    def of(cls, results: Sequence[Result]) -> "Median":
        def middle(values: list[float]) -> float:
            return statistics.median(values)

        counts = [max(1, result.requests) for result in results]
        pairs = list(zip(results, counts, strict=True))
        return cls(
            per_second=middle([result.per_second for result in results]),
            p50_ms=middle([result.p50_ms for result in results]),
            p99_ms=middle([result.p99_ms for result in results]),
            app_cpu_us=middle([r.server_cpu_seconds / n * 1e6 for r, n in pairs]),
            database_cpu_us=middle([r.database_cpu_seconds / n * 1e6 for r, n in pairs]),
            load_cpu_us=middle([r.own_cpu_seconds / n * 1e6 for r, n in pairs]),
        )


class Verdict(msgspec.Struct, frozen=True):
    """One target: the words, the measured value, and whether it is enough."""

    what: str
    measured: str
    target: str
    is_met: bool


class Report:
    """Collects cells and verdicts as the cases run; prints each cell at once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.verdicts: list[Verdict] = []
        self._cells: list[tuple[str, Median]] = []
        self._notes: list[str] = []

    def cell(self, name: str, results: Sequence[Result]) -> Median:
        median = Median.of(results)
        self._cells.append((name, median))
        return median

    def note(self, text: str) -> None:
        self._notes.append(text)

    def at_least(self, what: str, value: float, target: float, unit: str = "x") -> None:
        text = f"{value:,.2f}{unit}" if value < 10 else f"{value:,.0f}{unit}"
        self.verdicts.append(Verdict(what, text, f">= {target:g}{unit}", value >= target))

    def at_most(self, what: str, value: float, target: float, unit: str = " ms") -> None:
        text = f"{value:,.2f}{unit}"
        self.verdicts.append(Verdict(what, text, f"<= {target:g}{unit}", value <= target))

    def print(self) -> None:
        cells = Table(title="Measured (medians)", title_justify="left")
        cells.add_column("case")
        for heading in ("per second", "p50 ms", "p99 ms", "app µs", "database µs", "load µs"):
            cells.add_column(heading, justify="right")
        for name, median in self._cells:
            cells.add_row(name, f"{median.per_second:,.0f}", *_cell_numbers(median))
        targets = Table(title="Targets", title_justify="left")
        for heading in ("target", "measured", "wanted", ""):
            targets.add_column(heading)
        for verdict in self.verdicts:
            mark = "[green]met[/]" if verdict.is_met else "[red]missed[/]"
            targets.add_row(verdict.what, verdict.measured, verdict.target, mark)
        self.console.print(*([cells] if self._cells else []), targets)
        for note in self._notes:
            self.console.print(note)


def _cell_numbers(median: Median) -> list[str]:
    numbers = (
        median.p50_ms,
        median.p99_ms,
        median.app_cpu_us,
        median.database_cpu_us,
        median.load_cpu_us,
    )
    return [f"{number:,.1f}" for number in numbers]

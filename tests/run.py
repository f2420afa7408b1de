"""Runs the whole suite, both halves at the same time: `python -m tests.run [PYTEST OPTIONS]`.

Browser tests have a run of their own: Playwright brings an event loop that pytest-asyncio refuses.
Prints each half's lines as they come, then its failures, the total, and the slowest tests.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as Xml

ROOT: Final = Path(__file__).resolve().parent.parent
SLOWEST: Final = 15
# Where it is set, each of some hundred interpreters would compile the app anew.
UNCACHED: Final = "PYTHONDONTWRITEBYTECODE"
HALVES: Final = {
    "services": [
        "tests",
        "--ignore=tests/pages",
        "--ignore=tests/benchmarks",
        "--numprocesses=2",
        "--dist=loadscope",
    ],
    "browser": [
        "tests/pages",
        *("-p", "no:asyncio"),
        *("-o", "addopts=-q"),
        *("-p", "no:schemathesis"),
        *("-W", "ignore::pytest.PytestConfigWarning"),
    ],
}


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    seconds: float
    outcome: str


class Half:
    """One pytest process and what it printed."""

    def __init__(self, name: str, arguments: list[str], directory: Path) -> None:
        self.name = name
        self._report = directory / f"{name}.xml"
        self._lines: list[str] = []
        command = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={self._report}"]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != UNCACHED},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait(self) -> int:
        self._reader.join()
        return self._process.wait()

    def cases(self) -> list[Case]:
        if not self._report.exists():
            return []
        return [_case(element) for element in Xml.parse(self._report).iter("testcase")]  # noqa: S314 - our own file

    def output(self) -> str:
        return "".join(self._lines)

    def _read(self) -> None:
        assert self._process.stdout is not None
        is_failing = False
        for line in self._process.stdout:
            self._lines.append(line)
            is_failing |= line.startswith(("====", "!!!!"))
            if line.strip() and not is_failing:
                print(f"{self.name:>8} | {line}", end="", flush=True)


def _case(element: Xml.Element) -> Case:
    outcomes = {"failure": "failed", "error": "error", "skipped": "skipped"}
    outcome = next((outcomes[child.tag] for child in element if child.tag in outcomes), "passed")
    name = f"{element.get('classname', '')}::{element.get('name', '')}"
    return Case(name, float(element.get("time", "0")), outcome)


def main() -> int:
    started_at = time.monotonic()
    options = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="billing-run-") as directory:
        halves = [
            Half(name, [*arguments, *options], Path(directory))
            for name, arguments in HALVES.items()
        ]
        statuses = [half.wait() for half in halves]
        cases = [case for half in halves for case in half.cases()]
    for half, status in zip(halves, statuses, strict=True):
        print(f"\n{half.name}: exit status {status}")
        print(half.output() if status else half.output().strip().splitlines()[-1])
    _print_summary(cases, time.monotonic() - started_at)
    return max(statuses)


def _print_summary(cases: list[Case], seconds: float) -> None:
    print(f"\nThe {SLOWEST} slowest tests (with their fixtures)")
    for case in sorted(cases, key=lambda case: -case.seconds)[:SLOWEST]:
        print(f"{case.seconds:8.2f} s  {case.name}")
    counts = {case.outcome: 0 for case in cases} | {"passed": 0}
    for case in cases:
        counts[case.outcome] += 1
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    print(f"\n===== {told} in {seconds:.2f}s ({seconds / 60:.1f} minutes) =====")


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.benchmarks`: run the cases one after another and print the tables."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from tests.benchmarks import cases
from tests.benchmarks.harness import ACCOUNTS, made_bed
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.serve import SERVERS
from tests.benchmarks.table import Report

EVENTS: Final = 10_000_000
QUICK_EVENTS: Final = 500_000
TABLE_WIDTH: Final = 100


def main() -> int:
    arguments = _arguments()
    plan = cases.Plan(
        seconds=arguments.seconds or (1.5 if arguments.quick else 3.0),
        rounds=1 if arguments.quick else arguments.rounds,
        server=arguments.server,
        events=arguments.events or (QUICK_EVENTS if arguments.quick else EVENTS),
        baseline=arguments.baseline,
        customers=arguments.customers,
    )
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    report = Report(console)
    started_at = time.monotonic()
    load_before = os.getloadavg()[0]
    status = 0
    try:
        with made_bed() as bed:
            ground = cases.Cases(bed, plan, report)
            for name in arguments.only or cases.ALL:
                console.print(f"{time.monotonic() - started_at:4.0f} s  {name}")
                cases.ALL[name](ground)
    except BenchmarkError as error:
        console.print(f"[red]{error}[/]")
        status = 1
    report.note(
        f"{ACCOUNTS:,} accounts, {plan.server} with one worker, {plan.rounds} rounds of"
        f" {plan.seconds:g} s, {os.cpu_count()} cores shared with the load."
        f" Load average before: {load_before:.1f}."
    )
    report.print()
    return status


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, fewer events")
    parser.add_argument("--only", action="append", choices=list(cases.ALL), metavar="NAME")
    parser.add_argument("--seconds", type=float, help="of each measured window")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", choices=SERVERS, default="granian")
    parser.add_argument("--events", type=int, help="of the database that reads look at")
    parser.add_argument("--customers", type=int, help="that reconciliation walks through")
    parser.add_argument(
        "--baseline", type=Path, help="another checkout with the same schema, read beside this one"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

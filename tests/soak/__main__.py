"""`python -m tests.soak`: mixed load with faults, then what is true at the end, as Markdown; with
`--only rolling` an upgrade under load."""

import argparse
import sys
from pathlib import Path
from typing import Final

from tests.deploy.caddy import MissingCaddyError
from tests.deploy.compose import ROOT
from tests.soak import mixed, report, rolling
from tests.soak.scene import MissingProgramError

MINUTES: Final = 20.0
LAST_RELEASE: Final = "9e18d1d"
EVENTS: Final = 10_000_000
REPORT: Final = ROOT / "docs" / "soak.md"


def main() -> int:
    arguments = _arguments()
    try:
        if arguments.only == "rolling":
            problems = rolling.run(arguments.commit, arguments.events)
        else:
            problems = _mixed(arguments.minutes * 60, arguments.report)
    except (MissingProgramError, MissingCaddyError) as error:
        print(error, file=sys.stderr)
        return 2
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _mixed(seconds: float, path: Path) -> list[str]:
    outcome = mixed.run(seconds)
    report.write(outcome, path)
    print(path.read_text())
    return outcome.problems


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--only", choices=["mixed", "rolling"], default="mixed")
    parser.add_argument("--from", dest="commit", default=LAST_RELEASE, help="upgrade from there")
    parser.add_argument("--events", type=int, default=EVENTS, help="before the upgrade")
    parser.add_argument("--report", type=Path, default=REPORT)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

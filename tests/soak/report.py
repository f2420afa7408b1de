"""docs/soak.md, written by `make soak`."""

import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.soak import scene
from tests.soak.mixed import Outcome
from tests.soak.tally import NO_ANSWER, Seen

HEAD: Final = """# Soak test

Written by `make soak` on {day}, after {minutes:.0f} minutes on one machine with {cores} cores.

- The processes of `compose.yaml` (two API servers, two page servers, two workers) run behind \
Caddy, with Redis, the Stripe sandbox, and PostgreSQL on a file system of {megabytes} MB.
- {services} services, {customers} paying customers and {tabs} open pages use them. Services \
repeat each request with its key until it is acknowledged. The load is bounded: it shows what \
stays true, not how fast it is ([benchmarks](how-to/develop.md#benchmarks)).
- Meanwhile one thing after another fails.

**{verdict}** {events:,} events were acknowledged.
"""


def write(outcome: Outcome, path: Path) -> None:
    parts = [_head(outcome), _checks(outcome), _faults(outcome), _load(outcome)]
    parts += [_money(outcome), _memory(outcome)]
    path.write_text("\n".join(parts))


def _head(outcome: Outcome) -> str:
    return HEAD.format(
        day=datetime.now(UTC).date(),
        minutes=outcome.seconds / 60,
        megabytes=scene.DISK_MEGABYTES,
        cores=os.cpu_count(),
        services=scene.SERVICES,
        customers=scene.CUSTOMERS,
        tabs=scene.TABS,
        verdict="Failed." if outcome.problems else "Passed.",
        events=outcome.events,
    )


def _checks(outcome: Outcome) -> str:
    rows = [[name, said.replace("\n", " ") or "yes"] for name, said in outcome.checks.items()]
    unexpected = "; ".join(outcome.tally.unexpected[:3]).replace("\n", " ")
    rows.append(
        ["no answer but success, a refusal with a reason, or one to retry", unexpected or "yes"]
    )
    return _section("What was true at the end", ["check", "result"], rows)


def _faults(outcome: Outcome) -> str:
    rows = [
        [each.name, f"skipped: {each.skipped}", "", ""]
        if each.skipped
        else [
            each.name,
            f"{each.seconds:.0f} s",
            _answers(each.answers),
            f"{each.until_answered_seconds:.1f} s",
        ]
        for each in outcome.happened
    ]
    columns = ["fault", "lasted", "answers meanwhile, of all requests", "until the next consume"]
    return _section("Faults", columns, rows)


def _load(outcome: Outcome) -> str:
    rows = [[name, _answers(seen)] for name, seen in sorted(outcome.tally.answers.items())]
    note = (
        "409 and 402 are refusals with a reason, such as a change that loses value or another one"
        " under way. 502 and 503 say that nothing was decided, or that the effect is unclear.\n"
    )
    return _section("Load", ["operation", "answers"], rows) + "\n" + note


def _money(outcome: Outcome) -> str:
    rows = [[name, f"{count:,}"] for name, count in outcome.money]
    return _section("Money and jobs", ["what", "how many"], rows)


def _memory(outcome: Outcome) -> str:
    rows = [
        [each.name, f"{each.begin:.0f} MB", f"{each.end:.0f} MB", "yes" if each.was_killed else ""]
        for each in outcome.memory
    ]
    columns = ["process", "at the begin", "at the end", "was killed meanwhile"]
    return _section("Memory", columns, rows)


def _answers(seen: Counter[Seen]) -> str:
    ordered = sorted(seen.items(), key=lambda each: (each[0] == NO_ANSWER, str(each[0])))
    return ", ".join(f"{answer}: {count:,}" for answer, count in ordered) or "none"


def _section(title: str, columns: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"## {title}", "", _row(columns), _row(["---"] * len(columns)), *map(_row, rows), ""]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

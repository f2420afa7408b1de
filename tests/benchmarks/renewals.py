"""Requests to Stripe for what happens to a subscription, beside those of another checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.processes import BenchmarkError

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

SCENE: Final = Path(__file__).with_name("renewal_scene.py")
ROOT: Final = Path(__file__).resolve().parents[2]
HISTORIES: Final = (1, 60)
RENEWALS: Final = 3
TARGET: Final = 0.4
SCENE_SECONDS: Final = 900

Requests = dict[str, float]


def renewals(cases: "Cases") -> None:
    """A purchase, renewals, a plan change, a refund and a dispute, with one invoice and with 60
    behind the account."""
    for invoices in HISTORIES:
        ours = _played(cases, ROOT, invoices)
        before = _played(cases, cases.plan.baseline, invoices) if cases.plan.baseline else {}
        for act, requests in ours.items():
            _conclude(cases, f"{act}, {invoices} invoices", requests, before.get(act))


def _played(cases: "Cases", checkout: Path, invoices: int) -> dict[str, Requests]:
    """Requests of each act, by operation."""
    numbers = (str(invoices), str(RENEWALS))
    done = subprocess.run(
        [sys.executable, "-P", str(SCENE), cases.bed.server_url, *numbers],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        timeout=SCENE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"The scene failed in {checkout}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _conclude(cases: "Cases", name: str, ours: Requests, before: Requests | None) -> None:
    total, words = sum(ours.values()), _words(ours)
    if before is None:
        cases.report.note(f"{name}: {total:g} requests to Stripe ({words})")
        return
    earlier = sum(before.values())
    cases.report.note(
        f"{name}: {total:g} requests ({words}), {earlier:g} before ({_words(before)})"
    )
    ratio, what = total / max(earlier, 1), f"{name}: requests to Stripe, of the baseline's"
    if name.startswith("renewal"):
        cases.report.at_most(what, ratio, TARGET, "x")
    else:
        cases.report.note(f"{what}: {ratio:.2f}x")


def _words(requests: Requests) -> str:
    return ", ".join(f"{number:.3g} {name}" for name, number in sorted(requests.items()))

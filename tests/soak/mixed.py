"""Everything at once: all loads, faults one after another, and what is true at the end."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import psutil

from tests.processes import run_command
from tests.soak.faults import FAULTS, Fault
from tests.soak.ledger import differences
from tests.soak.scene import Scene, opened
from tests.soak.tally import Seen, Tally

WARM_UP_SECONDS: Final = 15.0
RECOVERS_WITHIN_SECONDS: Final = 120.0
SETTLES_WITHIN_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.1
MEGABYTE: Final = 1024**2
UNSETTLED: Final = """
SELECT (SELECT count(*) FROM webhook_events WHERE state NOT IN ('processed', 'dead'))
     + (SELECT count(*) FROM dbos.workflow_status
        WHERE status IN ('ENQUEUED', 'PENDING') AND queue_name IS NOT NULL)
"""
DEAD: Final = "SELECT count(*) FROM webhook_events WHERE state = 'dead'"
MONEY: Final = """
SELECT 'invoices, ' || billing_reason, count(*) FROM invoices WHERE status = 'paid' GROUP BY 1
UNION ALL SELECT 'plans, ' || source, count(*) FROM plans WHERE source <> 'contract' GROUP BY 1
UNION ALL SELECT 'subscriptions', count(*) FROM subscriptions
UNION ALL SELECT 'webhooks processed', count(*) FROM webhook_events WHERE state = 'processed'
UNION ALL SELECT 'jobs begun again', count(*) FROM dbos.workflow_status WHERE recovery_attempts > 1
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault: the answers while it lasted, and how long until a check was answered again."""

    name: str
    seconds: float
    answers: Counter[Seen]
    until_answered_seconds: float
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident megabytes of a replica's processes."""

    name: str
    begin: float
    end: float
    was_killed: bool


@dataclass
class Outcome:
    seconds: float
    tally: Tally
    happened: list[Happened]
    memory: list[Memory]
    events: int
    money: list[tuple[str, int]]
    checks: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def problems(self) -> list[str]:
        found = [f"{name}: {said}" for name, said in self.checks.items() if said]
        return found + self.tally.unexpected[:20]


def run(seconds: float) -> Outcome:
    """Raises MissingProgramError where it cannot run."""
    with opened() as scene:
        started_at = time.monotonic()
        with scene.loaded():
            time.sleep(WARM_UP_SECONDS)
            begin = _memory(scene)
            happened = _all_faults(scene, started_at + seconds)
            end = _memory(scene)
        checks = _checks(scene)
        return Outcome(
            seconds=time.monotonic() - started_at,
            tally=scene.tally,
            happened=happened,
            memory=[
                Memory(name, begin[name], end[name], was_killed=name.endswith(" 1"))
                for name in begin
            ],
            events=len(scene.acknowledged.events),
            money=[(str(name), int(str(count))) for name, count in scene.rows(MONEY)],
            checks=checks,
        )


def _all_faults(scene: Scene, ends_at: float) -> list[Happened]:
    """In turn, evenly over the time; over and over in a long run."""
    pause = max(3.0, min(30.0, (ends_at - time.monotonic()) / (len(FAULTS) + 1) - 15))
    happened: list[Happened] = []
    while True:
        for fault in FAULTS:
            time.sleep(pause)
            happened.append(_one(scene, fault))
            print(_line(happened[-1]), flush=True)
        if time.monotonic() + len(FAULTS) * (pause + 15) > ends_at:
            time.sleep(max(0.0, ends_at - time.monotonic()))
            return happened


def _line(happened: Happened) -> str:
    said = happened.skipped or f"{happened.seconds:.0f} s, {dict(happened.answers)}"
    return f"{happened.name}: {said}"


def _one(scene: Scene, fault: Fault) -> Happened:
    if reason := fault.missing(scene):
        return Happened(fault.name, 0, Counter(), 0, skipped=reason)
    before, began_at = scene.tally.total(), time.monotonic()
    fault.act(scene)
    ended_at = time.monotonic()
    _until_answered(scene)
    answers = scene.tally.total() - before
    return Happened(fault.name, ended_at - began_at, answers, time.monotonic() - ended_at)


def _until_answered(scene: Scene) -> None:
    consumed = scene.tally.answers["consume"][200]
    deadline = time.monotonic() + RECOVERS_WITHIN_SECONDS
    while scene.tally.answers["consume"][200] == consumed:
        if time.monotonic() > deadline:
            raise AssertionError("nothing is acknowledged any more")
        time.sleep(LOOK_SECONDS)


def _memory(scene: Scene) -> dict[str, float]:
    return {name: _megabytes(replica.pid) for name, replica in scene.replicas().items()}


def _megabytes(pid: int) -> float:
    process = psutil.Process(pid)
    processes = [process, *process.children(recursive=True)]
    return sum(each.memory_info().rss for each in processes) / MEGABYTE


def _checks(scene: Scene) -> dict[str, str]:
    """What must be true once all has settled; each says what is wrong, or ""."""
    checks = {"jobs and webhooks are done": _settle(scene)}
    accounts = [holder.account_number for holder in scene.holders]
    lines = differences(scene.url, accounts, scene.acknowledged)
    checks["each acknowledged answer is in the ledger once"] = "; ".join(lines)
    verified = run_command(scene.site.migration, "verify")
    checks["`verify` finds no difference"] = verified.stdout if verified.returncode else ""
    first = run_command(scene.site.migration, "reconcile", timeout_seconds=300)
    again = run_command(scene.site.migration, "reconcile", timeout_seconds=300)
    clean = "Differences: 0 found" in again.stdout
    checks["`reconcile` ends clean"] = "" if clean else first.stdout + again.stdout + again.stderr
    checks["each invoice was charged once"] = _charged(scene)
    violations = scene.stripe.process.take_violations()
    checks["requests to Stripe keep its contract"] = str(violations[:3]) if violations else ""
    return checks


def _charged(scene: Scene) -> str:
    stripe = scene.stripe.process.client()
    charges = [each for each in stripe.v1.charges.list().auto_paging_iter() if each.paid]
    invoices = list(stripe.v1.invoices.list().auto_paging_iter())
    charged = sum(each.amount for each in charges)
    billed = sum(each.amount_paid for each in invoices)
    return "" if charged == billed else f"{charged} charged, {billed} on paid invoices"


def _settle(scene: Scene) -> str:
    deadline = time.monotonic() + SETTLES_WITHIN_SECONDS
    while (left := scene.rows(UNSETTLED)[0][0]) != 0:
        if time.monotonic() > deadline:
            return f"{left} are left"
        time.sleep(1)
    dead = scene.rows(DEAD)[0][0]
    return f"{dead} dead letters" if dead else ""

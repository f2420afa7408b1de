"""Eight processes race across thresholds, and some are killed: one alert for each crossing."""

import json
import subprocess
import sys
import time
from typing import Any, Final

from billing_app.billing.alerts.rules import Rule
from billing_app.billing.executions.verification import verify
from billing_app.db.engine import Database
from tests.billing.alerts.rows import NUMBER, SHARE, alerts, events, own_rules
from tests.factories import Holder, connect, organization

PROCESSES: Final = 8
EACH: Final = 60
RULES: Final = (Rule(SHARE, 75), Rule(NUMBER, 200), Rule(SHARE, 10))
COMMAND: Final = [sys.executable, "-m", "tests.billing.consumer_process"]


def start() -> "subprocess.Popen[str]":
    return subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def prepare(process: "subprocess.Popen[str]", url: str, holder: Holder, name: int) -> None:
    """Give it its job, and wait until it is ready."""
    item = {"organization_id": holder.organization_id, "executions": 1}
    groups = [[{**item, "key": f"{name}-{number}"}] for number in range(EACH)]
    job: dict[str, Any] = {"url": url, "groups": groups, "at_once": 4, "alerts": True}
    _write(process, json.dumps(job | {"warm": holder.organization_id}))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def go(process: "subprocess.Popen[str]") -> None:
    _write(process, "go")


def results(process: "subprocess.Popen[str]") -> list[str]:
    """The code of each."""
    assert process.stdout is not None
    return [each["code"] for each in json.loads(process.stdout.readline())["results"]]


def _write(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


async def test_8_processes_raise_each_alert_once_though_some_are_killed(
    own_database_url: str,
) -> None:
    url = own_database_url
    total = PROCESSES * EACH
    holder = organization(url, total)
    own_rules(url, holder, *RULES)
    processes = [start() for _ in range(PROCESSES)]
    for name, process in enumerate(processes):
        prepare(process, url, holder, name)
    for process in processes:
        go(process)
    _wait_until_used(url, 40)
    for process in processes[:3]:
        process.kill()
        process.communicate()
    for process in processes[3:]:
        assert set(results(process)) == {""}
        process.communicate(timeout=20)
    for name in range(3):
        again = start()
        prepare(again, url, holder, name)
        go(again)
        assert set(results(again)) == {""}
        again.communicate(timeout=20)
    raised = [(rule, figures["executions_left"]) for rule, figures, _ in alerts(url, holder)]
    assert raised == [
        ("remaining_share:75", total * 75 // 100),
        ("remaining_number:200", 200),
        ("remaining_share:10", total // 10),
    ]
    types = [row[0] for row in events(url, holder)]
    assert types.count("balance.low") == len(RULES)
    assert types.count("plan.ended") == 1
    assert types.count("balance.depleted") == 1
    database = Database(url)
    assert await verify(database) == []
    await database.dispose()


def _wait_until_used(url: str, executions: int) -> None:
    deadline = time.monotonic() + 60
    with connect(url) as connection:
        while time.monotonic() < deadline:
            row = connection.execute("SELECT used FROM plans").fetchone()
            if row is not None and row[0] >= executions:
                return
            time.sleep(0.01)
    raise AssertionError("nothing was used")

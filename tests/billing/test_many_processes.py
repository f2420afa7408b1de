"""Several concurrent processes, each with its own lanes: exact counts, no deadlock."""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from billing_app.billing.executions.verification import verify
from billing_app.db.engine import Database
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import connect, organization, public_organization

PROCESSES = 4
Item = dict[str, Any]
Processes = list["subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    command = [sys.executable, "-m", "tests.billing.consumer_process"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    yield started
    for process in started:
        process.communicate(timeout=20)


@pytest.fixture
def url(own_database_url: str) -> str:
    public_organization(own_database_url)
    return own_database_url


async def test_2000_concurrent_consumes_of_500_executions_accept_exactly_500(
    processes: Processes, url: str
) -> None:
    holder = organization(url, 300, 200)
    groups = [
        [[_item(holder.organization_id, f"{process}-{n}")] for n in range(500)]
        for process in range(PROCESSES)
    ]
    outputs = _run(processes, url, groups, at_once=8)
    codes = Counter(result["code"] for output in outputs for result in output["results"])
    assert codes == {"": 500, "insufficient_executions": 1500}
    assert _rows(url, "SELECT sequence, used, ended_because FROM plans ORDER BY 1") == [
        (1, 300, "depleted"),
        (2, 200, "depleted"),
    ]
    assert _rows(url, "SELECT count(*), sum(executions) FROM execution_events") == [(500, 500)]
    assert _rows(url, "SELECT sum(used) FROM daily_usage") == [(500,)]
    assert _rows(url, "SELECT sum(denied) FROM daily_denials") == [(1500,)]
    assert await _differences(url) == []


async def test_200_concurrent_requests_with_one_key_count_once(
    processes: Processes, url: str
) -> None:
    holder = organization(url, 500)
    groups = [[[_item(holder.organization_id, "one", 3)]] * 50 for _ in range(PROCESSES)]
    results = [result for output in _run(processes, url, groups) for result in output["results"]]
    assert len(results) == 200
    assert {result["code"] for result in results} == {""}
    assert len({result["answer"] for result in results}) == 1
    assert sum(not result["replayed"] for result in results) == 1
    assert _rows(url, "SELECT count(*), sum(executions) FROM execution_events") == [(1, 3)]
    assert _rows(url, "SELECT used FROM plans") == [(3,)]
    assert await _differences(url) == []


async def test_concurrent_new_users_get_one_trial_each(processes: Processes, url: str) -> None:
    warm = organization(url, 1)
    users = [f"new-{n}" for n in range(120)]
    groups: list[list[list[Item]]] = []
    for process in range(PROCESSES):
        items = [_item(PUBLIC, f"{process}-{user}", user_id=user) for user in users]
        random.Random(process).shuffle(items)  # noqa: S311 - the same each run
        groups.append([items[n : n + 5] for n in range(0, len(items), 5)])
    outputs = _run(processes, url, groups, warm=warm.organization_id)
    assert {result["code"] for output in outputs for result in output["results"]} == {""}
    trials = "SELECT count(*), count(DISTINCT account_id), sum(executions), sum(used) FROM plans"
    total = len(users) * TRIAL_EXECUTIONS
    assert _rows(url, f"{trials} WHERE type = 'trial'") == [
        (len(users), len(users), total, PROCESSES * len(users))
    ]
    assert _rows(url, "SELECT count(*) FROM accounts WHERE kind = 'user'") == [(len(users),)]
    assert _rows(url, "SELECT count(*) FROM memberships") == [(len(users),)]
    assert _deadlocks(url) == 0
    assert await _differences(url) == []


async def test_batches_with_the_same_accounts_never_deadlock(
    processes: Processes, url: str
) -> None:
    holders = [organization(url, 10_000) for _ in range(8)]
    groups: list[list[list[Item]]] = []
    for process in range(PROCESSES):
        shuffle = random.Random(process).shuffle  # noqa: S311 - the same each run
        batches: list[list[Item]] = []
        for number in range(60):
            batch = [_item(h.organization_id, f"{process}-{number}") for h in holders]
            shuffle(batch)
            batches.append(batch)
        groups.append(batches)
    outputs = _run(processes, url, groups, at_once=2)
    codes = Counter(result["code"] for output in outputs for result in output["results"])
    assert codes == {"": PROCESSES * 60 * len(holders)}
    assert [output["troubles"] for output in outputs] == [[]] * PROCESSES
    assert _deadlocks(url) == 0
    assert await _differences(url) == []


def _item(organization_id: str, key: str, executions: int = 1, user_id: str = "") -> Item:
    return {
        "organization_id": organization_id,
        "user_id": user_id,
        "key": key,
        "executions": executions,
    }


def _run(
    processes: Processes,
    url: str,
    groups: list[list[list[Item]]],
    *,
    warm: str = "",
    at_once: int = 1000,
) -> list[dict[str, Any]]:
    """Each process decides its groups, up to `at_once` concurrently; all start together."""
    warm = warm or groups[0][0][0]["organization_id"]
    for process, own in zip(processes, groups, strict=True):
        job = {"url": url, "warm": warm, "groups": own, "at_once": at_once}
        _tell(process, json.dumps(job))
    for process in processes:
        assert _line(process) == "ready\n"
    for process in processes:
        _tell(process, "go")
    return [json.loads(_line(process)) for process in processes]


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


def _deadlocks(url: str) -> int:
    rows = _rows(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return rows[0][0]


async def _differences(url: str) -> list[Any]:
    database = Database(url)
    try:
        return list(await verify(database))
    finally:
        await database.dispose()

"""`kill -9` under load: nothing that was acknowledged is lost, nothing is counted twice."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from billing_app.billing.executions.verification import verify
from billing_app.db import migrations
from billing_app.db.embedded import start_embedded
from billing_app.db.engine import Database
from billing_app.routes import CHECK_EXECUTIONS
from tests.api.server import ApiServer
from tests.databases import create_database
from tests.factories import Holder, api_key, connect, organization

CLIENTS = 12
KEYS_PER_CLIENT = 30
TOTAL = CLIENTS * KEYS_PER_CLIENT
KILL_AFTER = TOTAL // 4
MAX_ATTEMPTS = 1000


@dataclass
class Load:
    """Clients that retry each consume with its key until it is acknowledged."""

    url: str
    secret: str
    organization_id: str
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    statuses: Counter[int | str] = field(default_factory=Counter)

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.secret}"}
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(
            base_url=self.url, headers=headers, limits=limits, timeout=15
        ) as client:
            await asyncio.gather(*[self._client(client, number) for number in range(CLIENTS)])

    async def reached(self, count: int) -> None:
        while len(self.acknowledged) < count:  # noqa: ASYNC110 - any client may be the one
            await asyncio.sleep(0.002)

    async def _client(self, client: httpx.AsyncClient, number: int) -> None:
        for place in range(KEYS_PER_CLIENT):
            key = f"{number}-{place}"
            self.acknowledged[key] = await self._until_acknowledged(client, key)

    async def _until_acknowledged(self, client: httpx.AsyncClient, key: str) -> bytes:
        body = {"organization_id": self.organization_id, "mode": "consume", "executions": 2}
        for _ in range(MAX_ATTEMPTS):
            try:
                answer = await client.post(
                    CHECK_EXECUTIONS, json=body, headers={"Idempotency-Key": key}
                )
            except httpx.TransportError:
                self.statuses["no answer"] += 1
            else:
                self.statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    return answer.content
            await asyncio.sleep(0.1)
        raise AssertionError(f"{key} was never acknowledged")


async def test_killing_the_api_neither_loses_nor_doubles_executions(own_database_url: str) -> None:
    holder = organization(own_database_url, TOTAL, TOTAL)
    server = ApiServer(own_database_url)
    load = Load(server.url, api_key(own_database_url), holder.organization_id)
    await asyncio.to_thread(server.start)
    try:
        running = asyncio.create_task(load.run())
        await _either(load.reached(KILL_AFTER), running)
        server.kill()
        await asyncio.to_thread(server.start)
        await running
        before = dict(load.acknowledged)
        await load.run()  # every client sends its keys once more
    finally:
        server.stop()
    assert load.statuses["no answer"], "the kill met no request"
    assert set(load.statuses) == {200, "no answer"}
    assert load.acknowledged == before
    await _assert_counted_once(own_database_url, holder, load)


@pytest.fixture
def mortal_database() -> Iterator[tuple[Path, str]]:
    """A PostgreSQL server of this test, with a migrated database."""
    directory = Path(tempfile.mkdtemp(prefix="billing-mortal-"))
    directory.chmod(0o755)
    server_url = start_embedded(directory / "postgres")
    url = create_database(server_url, "billing")
    migrations.upgrade(url)
    yield directory / "postgres", url
    _kill_postgresql(directory / "postgres")
    shutil.rmtree(directory, ignore_errors=True)


async def test_killing_postgresql_allows_nothing_and_loses_nothing(
    mortal_database: tuple[Path, str],
) -> None:
    directory, url = mortal_database
    holder = organization(url, TOTAL, TOTAL)
    server = ApiServer(url)
    load = Load(server.url, api_key(url), holder.organization_id)
    await asyncio.to_thread(server.start)
    try:
        first_pid = server.pid
        running = asyncio.create_task(load.run())
        await _either(load.reached(KILL_AFTER), running)
        await asyncio.to_thread(_kill_postgresql, directory)
        await asyncio.sleep(0.1)  # let responses in flight arrive
        acknowledged = len(load.acknowledged)
        await _either(_first(lambda: load.statuses[503] >= CLIENTS), running)
        await _assert_503_everywhere(load, holder)
        assert len(load.acknowledged) == acknowledged
        await asyncio.to_thread(start_embedded, directory)
        await running
        assert server.is_running()
        assert server.pid == first_pid
        before = dict(load.acknowledged)
        await load.run()
    finally:
        server.stop()
    assert set(load.statuses) <= {200, 503}, load.statuses
    assert load.acknowledged == before
    await _assert_counted_once(url, holder, load)


async def _assert_503_everywhere(load: Load, holder: Holder) -> None:
    """For uncached keys and for cached ones that have expired, too."""
    asked = {"organization_id": holder.organization_id}
    async with httpx.AsyncClient(base_url=load.url, timeout=30) as client:
        for secret in (load.secret, "bil_never_seen"):
            headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "down"}
            for mode in ("check", "consume", "reserve"):
                answer = await client.post(
                    CHECK_EXECUTIONS, json={**asked, "mode": mode}, headers=headers
                )
                _assert_cannot_decide(answer)
            batch = {"items": [{**asked, "mode": "consume", "idempotency_key": "b"}]}
            answer = await client.post(f"{CHECK_EXECUTIONS}/batch", json=batch, headers=headers)
            if answer.status_code == 200:
                assert answer.json()["results"][0]["status"] == 503
            else:
                _assert_cannot_decide(answer)
            for path in ("/billing/plans/current", "/billing/usage", "/billing/usage/events"):
                _assert_cannot_decide(await client.get(path, params=asked, headers=headers))
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"] == "unreachable"


def _assert_cannot_decide(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["code"] == "cannot_decide"
    assert answer.json().get("allowed") is not True


async def _assert_counted_once(url: str, holder: Holder, load: Load) -> None:
    assert len(load.acknowledged) == TOTAL
    with connect(url) as connection:
        rows: list[Any] = connection.execute(
            "SELECT idempotency_key, sum(executions) FROM execution_events"
            " WHERE account_id = %s GROUP BY 1",
            [holder.account_number],
        ).fetchall()
        answers: list[Any] = connection.execute(
            "SELECT substr(key, 3), answer FROM idempotency_keys WHERE account_id = %s",
            [holder.account_number],
        ).fetchall()
        used = connection.execute(
            "SELECT sum(used) FROM plans WHERE account_id = %s", [holder.account_number]
        ).fetchone()
    assert dict(rows) == dict.fromkeys(load.acknowledged, 2)
    assert dict(answers) == load.acknowledged
    assert used == (TOTAL * 2,)
    database = Database(url)
    assert await verify(database) == []
    await database.dispose()


async def _either(wanted: Any, running: "asyncio.Task[None]") -> None:
    """Wait for a condition; fail when the load fails or ends first."""
    waiting = asyncio.ensure_future(wanted)
    await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    assert waiting.done(), "the load was over before the kill"
    await waiting


async def _first(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - any client may be the one
        await asyncio.sleep(0.005)


def _kill_postgresql(directory: Path) -> None:
    """SIGKILL the postmaster and its children, as in a power failure."""
    pid_file = directory / "postmaster.pid"
    if not pid_file.exists():
        return
    try:
        postmaster = psutil.Process(int(pid_file.read_text().split()[0]))
    except psutil.NoSuchProcess:
        return
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(family, timeout=10)

"""A server that is told to stop answers every request that it was sent."""

import asyncio
import threading
import time
from collections import Counter

import httpx
import psycopg

from billing_app.db.enums import Scope
from tests.conftest import server_environment
from tests.factories import api_key, organization
from tests.processes import free_port, start_command, wait_until_ready

CLIENTS = 32
CHECK = "/billing/plans/check-executions"
USAGE = "/billing/usage"


class KeepAliveClients:
    """Each sends one consume after another on one connection, until the server closes it."""

    def __init__(self, port: int, key: str, organization_id: str) -> None:
        self._port = port
        body = f'{{"organization_id": "{organization_id}", "mode": "consume"}}'
        self._request = (
            f"POST {CHECK} HTTP/1.1\r\nHost: billing.test\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: %d-%d\r\n\r\n"
        )
        self._body = body
        self.fates: Counter[str] = Counter()

    async def run(self) -> None:
        await asyncio.gather(*(self._ask_on(number) for number in range(CLIENTS)))

    async def _ask_on(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        is_open, asked = True, 0
        while is_open:
            asked += 1
            try:
                writer.write((self._request % (number, asked) + self._body).encode())
                is_open = await self._read_answer(reader)
            except (asyncio.IncompleteReadError, OSError) as error:
                self.fates[repr(error)] += 1
                break
        writer.close()

    async def _read_answer(self, reader: asyncio.StreamReader) -> bool:
        """Whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length: ")[2].partition("\r\n")[0]
        await reader.readexactly(int(length))
        self.fates[head.split()[1]] += 1
        return "connection: close" not in head


def test_busy_keep_alive_clients_lose_no_request(own_database_url: str) -> None:
    port = free_port()
    environment = server_environment(own_database_url, DRAIN_SECONDS="3")
    process = start_command(environment, "api", "--port", str(port))
    wait_until_ready(f"http://127.0.0.1:{port}", process)
    holder = organization(own_database_url, 10_000_000)
    key = api_key(own_database_url, Scope.EXECUTIONS)
    clients = KeepAliveClients(port, key, holder.organization_id)

    async def ask_while_it_stops() -> None:
        asking = asyncio.create_task(clients.run())
        await asyncio.sleep(0.7)
        process.terminate()
        assert await asyncio.to_thread(_last_state, port) == ("stopping", "close")
        await asyncio.wait_for(asking, 30)

    asyncio.run(ask_while_it_stops())
    assert process.wait(20) == 0
    assert set(clients.fates) == {"200"}
    with psycopg.connect(own_database_url) as connection:
        row = connection.execute("SELECT sum(used)::bigint FROM plans").fetchone()
    assert row == (clients.fates["200"],)


def test_long_request_is_answered_before_the_end(own_database_url: str) -> None:
    port = free_port()
    process = start_command(server_environment(own_database_url), "api", "--port", str(port))
    wait_until_ready(f"http://127.0.0.1:{port}", process)
    holder = organization(own_database_url, 10)
    headers = {"Authorization": f"Bearer {api_key(own_database_url, Scope.PLANS_READ)}"}
    statuses: list[int] = []

    def ask() -> None:
        url = f"http://127.0.0.1:{port}{USAGE}?organization_id={holder.organization_id}"
        statuses.append(httpx.get(url, headers=headers, timeout=30).status_code)

    with psycopg.connect(own_database_url) as blocking:
        blocking.execute("LOCK TABLE daily_usage IN ACCESS EXCLUSIVE MODE")
        asking = threading.Thread(target=ask)
        asking.start()
        _wait_until_blocked(own_database_url)
        process.terminate()
        time.sleep(6)  # longer than workers once had
        assert process.poll() is None
    asking.join(30)
    assert statuses == [200]
    assert process.wait(20) == 0


def _last_state(port: int) -> tuple[str, str | None]:
    """What `/readyz` says once it is no longer ready, and about its connection."""
    while True:
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=20)
        if answer.status_code == 503:
            return answer.json()["status"], answer.headers.get("connection")
        time.sleep(0.05)


def _wait_until_blocked(url: str) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'daily_usage'::regclass"
    deadline = time.monotonic() + 20
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = connection.execute(query).fetchone()
            if row and row[0]:
                return
            time.sleep(0.05)
    raise AssertionError("no request waits for the lock")

"""An upgrade from an earlier commit under load: old processes count while `migrate` runs, then they
are replaced one by one. Nothing is lost or doubled, and checks go on being answered."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import httpx

from billing_app import routes
from billing_app.db.enums import Scope
from tests.deploy.caddy import find_caddy, proxy
from tests.deploy.compose import ROOT
from tests.factories import Holder, api_key, connect, organization
from tests.postgres import OwnServer, own_server
from tests.processes import free_port
from tests.soak.tally import NO_ANSWER, RETRYABLE, Seen, Tally

PASSWORD: Final = "password"
SERVER_SETTINGS: Final = {
    "max_wal_size": "8GB",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "512MB",
}
API_SERVERS: Final = 2
CLIENTS: Final = 8
PAUSE_SECONDS: Final = 0.02
RETRY_SECONDS: Final = 0.1
STEADY_SECONDS: Final = 15.0
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
EXECUTIONS: Final = 1_000_000_000
ACCOUNTS: Final = 1_000
DAYS: Final = 365
COUNTED: Final = """
SELECT idempotency_key, sum(executions)::int FROM execution_events WHERE account_id = %s GROUP BY 1
"""
# Balances, daily rows and ledger agree, so that `verify` has all of it to check.
FILL: Final = """
CREATE TEMPORARY TABLE made AS
SELECT n, 'org_' || n AS org, (random() * 4e18)::bigint + 1 AS account
FROM generate_series(0, {accounts} - 1) AS n;
ALTER TABLE made ADD PRIMARY KEY (n);
ANALYZE made;
INSERT INTO organizations (id, name, created_at) SELECT org, org, now() FROM made;
INSERT INTO accounts (id, kind, organization_id, created_at)
SELECT account, 'organization', org, now() FROM made;
ALTER TABLE execution_events DROP CONSTRAINT pk_execution_events;
INSERT INTO execution_events (
    account_id, number, plan_sequence, kind, executions, plan_used_after, remaining_after,
    workflow, user_id, idempotency_key, reason, occurred_at)
SELECT account, number, 1, 'consume', 1, (i + {accounts} - 1) / {accounts}, 0,
       'workflow-' || i % 4, '', 'key-' || i, '', to_timestamp(number / 1e6)
FROM (
    SELECT i, i % {accounts} AS n,
           (extract(epoch FROM current_date - {days}) * 1000000)::bigint
           + (i * ({days} * 86400e6 / ({events} + 1)))::bigint AS number
    FROM generate_series(1::bigint, {events}) AS i
) AS event JOIN made USING (n);
ALTER TABLE execution_events ADD CONSTRAINT pk_execution_events
    PRIMARY KEY (account_id, number, plan_sequence);
INSERT INTO daily_usage (account_id, day, workflow, user_id, used, refunded)
SELECT account_id, (occurred_at AT TIME ZONE 'UTC')::date, workflow, user_id, sum(executions), 0
FROM execution_events GROUP BY 1, 2, 3, 4;
INSERT INTO plans (account_id, sequence, type, name, source, executions, used, held,
                   starts_at, ends_at, began_at, created_at)
SELECT account_id, 1, 'paid', 'Soak', 'contract', 1000000000, sum(used), 0,
       now() - interval '2 years', NULL, now() - interval '1 year', now()
FROM daily_usage GROUP BY account_id;
"""


@dataclass
class Phase:
    """What clients saw in a part of the upgrade; latencies in seconds, from first try to answer."""

    name: str
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list[float])
    tally: Tally = field(default_factory=Tally)

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[int((len(ordered) - 1) * share)] * 1000 if ordered else 0.0

    def line(self) -> str:
        answers = dict(self.tally.total())
        return (
            f"{self.name}: {self.seconds:.1f} s, {len(self.latencies):,} requests,"
            f" p50 {self.percentile_ms(0.5):.0f} ms, p99 {self.percentile_ms(0.99):.0f} ms,"
            f" longest {self.percentile_ms(1):.0f} ms, {answers}"
        )


class Clients:
    """Services that check and consume in turn, and repeat until they are answered."""

    def __init__(self, url: str, secret: str, holder: Holder) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._holder = holder
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run_all()))
        self.acknowledged: dict[str, int] = {}
        self.phase = Phase("nothing")

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._thread.join()

    @contextmanager
    def during(self, name: str) -> Iterator[Phase]:
        phase = self.phase = Phase(name)
        began_at = time.monotonic()
        yield phase
        phase.seconds = time.monotonic() - began_at
        print(phase.line(), flush=True)

    async def _run_all(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=CLIENTS)
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=20, limits=limits
        ) as client:
            await asyncio.gather(*[self._run(client, number) for number in range(CLIENTS)])

    async def _run(self, client: httpx.AsyncClient, number: int) -> None:
        place = 0
        while not self._is_over.is_set():
            key, executions = f"new-{number}-{place}", 1 + place % 3
            mode = "consume" if place % 2 else "check"
            body = {
                "organization_id": self._holder.organization_id,
                "mode": mode,
                "executions": executions,
            }
            began_at, phase = time.monotonic(), self.phase
            await self._until_answered(client, key, body, phase)
            phase.latencies.append(time.monotonic() - began_at)
            if mode == "consume":
                self.acknowledged[key] = executions
            place += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _until_answered(
        self, client: httpx.AsyncClient, key: str, body: dict[str, object], phase: Phase
    ) -> None:
        while True:
            seen: Seen = NO_ANSWER
            try:
                answer = await client.post(
                    routes.CHECK_EXECUTIONS, json=body, headers={"Idempotency-Key": key}
                )
                seen = answer.status_code
                if seen != 200 and seen not in RETRYABLE:
                    phase.tally.refuse("check", answer)
            except httpx.TransportError:
                pass
            phase.tally.count("check", seen)
            if seen == 200:
                return
            await asyncio.sleep(RETRY_SECONDS)


class Release:
    """A checkout of the code, whose commands run as processes."""

    def __init__(self, checkout: Path, url: str, log: IO[str]) -> None:
        self._checkout = checkout
        self._log = log
        self._environment = {
            **os.environ,
            "DATABASE_URL": url,
            "TRIAL_PLAN_EXECUTIONS": "100",
            "PUBLIC_ORG_ID": "public",
        }

    def run(self, *arguments: str) -> str:
        """Raises subprocess.CalledProcessError, after its output."""
        done = subprocess.run(
            self._command(*arguments),
            cwd=self._checkout,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self._command(*arguments),
            cwd=self._checkout,
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
        )

    def start_api(self, port: int) -> "subprocess.Popen[bytes]":
        """Returns once it is ready."""
        process = self.start("api", "--port", str(port))
        deadline = time.monotonic() + READY_SECONDS
        while not _is_ready(port):
            assert process.poll() is None, "the API server ended"
            assert time.monotonic() < deadline, "the API server is not ready"
            time.sleep(0.1)
        return process

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "billing_app", *arguments]


def run(commit: str, events: int) -> list[str]:
    """Prints a line for each part; gives what went wrong."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billing-rolling-")))
        checkout = stack.enter_context(_checkout(commit, folder / "old"))
        server = stack.enter_context(own_server(PASSWORD, SERVER_SETTINGS))
        log = stack.enter_context((folder / "log").open("w"))
        url = _database(server)
        old, new = Release(checkout, url, log), Release(ROOT, url, log)
        print(old.run("migrate").strip(), flush=True)
        _fill(url, events)
        return _upgrade(stack, old, new, url)


def _upgrade(stack: ExitStack, old: Release, new: Release, url: str) -> list[str]:
    ports = [free_port() for _ in range(API_SERVERS)]
    running = {port: old.start_api(port) for port in ports}
    running[0] = old.start("worker")
    stack.callback(lambda: [_stop(process) for process in running.values()])
    address = stack.enter_context(proxy(find_caddy(), api=ports, pages=ports))
    holder = organization(url, EXECUTIONS)
    clients = Clients(address, api_key(url, Scope.EXECUTIONS), holder)
    phases: list[Phase] = []
    with clients.running():
        with clients.during("before") as phase:
            time.sleep(STEADY_SECONDS)
        phases.append(phase)
        with clients.during("while migrate runs") as phase:
            print(new.run("migrate").strip(), flush=True)
        phases.append(phase)
        with clients.during("old processes on the new schema") as phase:
            time.sleep(STEADY_SECONDS)
        phases.append(phase)
        with clients.during("while processes are replaced") as phase:
            for port, process in list(running.items()):
                _stop(process)
                running[port] = new.start_api(port) if port else new.start("worker")
        phases.append(phase)
        with clients.during("after") as phase:
            time.sleep(STEADY_SECONDS)
        phases.append(phase)
    return _problems(new, url, holder, clients, phases)


def _problems(
    new: Release, url: str, holder: Holder, clients: Clients, phases: list[Phase]
) -> list[str]:
    with connect(url) as connection:
        counted = dict(connection.execute(COUNTED, [holder.account_number]).fetchall())  # pyright: ignore[reportArgumentType, reportCallIssue]
    problems = [line for phase in phases for line in phase.tally.unexpected]
    if counted != clients.acknowledged:
        problems.append(f"{len(clients.acknowledged)} acknowledged, {len(counted)} counted")
    print(new.run("verify").strip(), flush=True)
    return problems


@contextmanager
def _checkout(commit: str, folder: Path) -> Iterator[Path]:
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def _database(server: OwnServer) -> str:
    with connect(server.url()) as connection:
        connection.execute("CREATE DATABASE billing")
    return server.url("billing")


def _fill(url: str, events: int) -> None:
    began_at = time.monotonic()
    with connect(url) as connection:
        statements = FILL.format(accounts=ACCOUNTS, days=DAYS, events=events)
        connection.execute(statements)  # pyright: ignore[reportArgumentType, reportCallIssue]
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
    print(f"{events:,} events made in {time.monotonic() - began_at:.0f} s", flush=True)


def _is_ready(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{routes.READY}", timeout=5)
    except httpx.TransportError:
        return False
    return answer.status_code == 200


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(STOP_SECONDS)

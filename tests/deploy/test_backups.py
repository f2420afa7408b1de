"""What docs/how-to/backups.md describes: a base backup and archived WAL bring back a chosen moment,
and `pg_dump` its own. What was acknowledged before is there; nothing is from afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest

from billing_app import routes
from billing_app.db.enums import Scope
from tests.conftest import server_environment
from tests.factories import Holder, api_key, connect, organization
from tests.payments.billing_harness import BillingHarness
from tests.payments.database_copies import Copies
from tests.postgres import OwnServer, own_server
from tests.processes import api_process, run_command
from tests.stripe_sandbox.running import KEY, Sandbox, free_port

PASSWORD: Final = "password"
CLIENTS: Final = 4
EXECUTIONS: Final = 1_000_000
ENOUGH: Final = 100
MAX_LOOKS: Final = 6_000
ARCHIVE_SECONDS: Final = 60.0
KEYS: Final = "SELECT idempotency_key FROM execution_events WHERE account_id = %s"
SETTINGS: Final = {"archive_mode": "on", "archive_command": "cp %p {archive}/%f"}


@dataclass
class Clients:
    """Services that consume; `sent` and `acknowledged` are keys in the order of time."""

    url: str
    secret: str
    holder: Holder
    sent: list[str] = field(default_factory=list[str])
    acknowledged: list[str] = field(default_factory=list[str])
    is_over: bool = False

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._run(number)) for number in range(CLIENTS)]
        try:
            yield
        finally:
            self.is_over = True
            await asyncio.gather(*tasks)

    async def more(self) -> None:
        wanted = len(self.acknowledged) + ENOUGH
        for _ in range(MAX_LOOKS):
            if len(self.acknowledged) >= wanted:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nothing is acknowledged any more")

    async def _run(self, number: int) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=20) as client:
            place = 0
            while not self.is_over:
                key = f"{number}-{place}"
                self.sent.append(key)
                if (await self.post(client, key)).status_code == 200:
                    self.acknowledged.append(key)
                place += 1

    async def post(self, client: httpx.AsyncClient, key: str) -> httpx.Response:
        return await client.post(
            routes.CHECK_EXECUTIONS,
            json={"organization_id": self.holder.organization_id, "mode": "consume"},
            headers={"Authorization": f"Bearer {self.secret}", "Idempotency-Key": key},
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """The database's time, what was acknowledged before it, and what had been sent by then."""

    at: str
    acknowledged: frozenset[str]
    sent: frozenset[str]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Anyone may write there: PostgreSQL runs as a user of its own."""
    folder = tmp_path / "archive"
    folder.mkdir()
    folder.chmod(0o777)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        if parent.owner() == tmp_path.owner():
            parent.chmod(parent.stat().st_mode | 0o011)
    return folder


@pytest.fixture
def server(archive: Path) -> Iterator[OwnServer]:
    settings = {name: value.format(archive=archive) for name, value in SETTINGS.items()}
    with own_server(PASSWORD, settings) as started:
        yield started


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    running = Sandbox(free_port())
    yield running
    assert running.take_violations() == []
    running.stop()


def environment(url: str, sandbox: Sandbox) -> dict[str, str]:
    return server_environment(url, STRIPE_SECRET_KEY=KEY, STRIPE_API_BASE=sandbox.url)


def new_database(server: OwnServer) -> str:
    with connect(server.url()) as connection:
        connection.execute("CREATE DATABASE billing")
    url = server.url("billing")
    assert run_command(server_environment(url), "migrate").returncode == 0
    return url


def counted(url: str, holder: Holder) -> set[str]:
    with connect(url) as connection:
        return {key for (key,) in connection.execute(KEYS, [holder.account_number]).fetchall()}


async def moment_of(clients: Clients, url: str) -> Moment:
    acknowledged = frozenset(clients.acknowledged)
    with connect(url) as connection:
        row = connection.execute("SELECT clock_timestamp()::text").fetchone()
    assert row is not None
    return Moment(str(row[0]), acknowledged, frozenset(clients.sent))


def archive_all(server: OwnServer) -> None:
    """Until the WAL that is written is in the archive."""
    with connect(server.url()) as connection:
        row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        deadline = time.monotonic() + ARCHIVE_SECONDS
        while connection.execute(
            "SELECT coalesce(last_archived_wal, '') < %s FROM pg_stat_archiver", [row[0]]
        ).fetchone() != (False,):
            assert time.monotonic() < deadline, "the WAL is not archived"
            time.sleep(0.05)


def recovered(backup: Path, archive: Path, at: str) -> OwnServer:
    """A server on the base backup, with the WAL until a moment; it takes writes."""
    settings = {
        "archive_mode": "off",
        "recovery_target_time": at,
        "recovery_target_action": "promote",
    }
    server = OwnServer(backup, PASSWORD, settings)
    server.recover_from_backup(f"cp {archive}/%f %p")
    server.start()
    deadline = time.monotonic() + ARCHIVE_SECONDS
    with connect(server.url()) as connection:
        while connection.execute("SELECT pg_is_in_recovery()").fetchone() != (False,):
            assert time.monotonic() < deadline, "the recovery does not end"
            time.sleep(0.05)
    return server


async def test_recovery_to_a_moment_has_all_of_before_and_nothing_of_after(
    server: OwnServer, archive: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    url = new_database(server)
    backup = tmp_path / "backup"
    backup.mkdir()
    shop = await BillingHarness(sandbox, url).open()
    await shop.subscribed("starter")
    holder = organization(url, EXECUTIONS)
    with api_process(environment(url, sandbox)) as base_url:
        clients = Clients(base_url, api_key(url, Scope.EXECUTIONS), holder)
        async with clients.consuming():
            await clients.more()
            await asyncio.to_thread(server.base_backup, backup)
            await clients.more()
            moment = await moment_of(clients, url)
            await clients.more()
            await shop.change("growth")  # paid after the moment: Stripe goes on knowing it
            with connect(url) as connection:
                connection.execute("DROP TABLE api_keys CASCADE")
        archive_all(server)
    await shop.close()
    server.kill()

    after = recovered(backup, archive, moment.at)
    try:
        again = after.url("billing")
        settings = environment(again, sandbox)
        assert run_command(settings, "verify").returncode == 0
        there = counted(again, holder)
        assert moment.acknowledged <= there <= moment.sent
        await answers_again(settings, clients, min(moment.acknowledged))
        comes_back_to_stripe(settings, again, shop)
    finally:
        after.stop()


async def answers_again(settings: dict[str, str], clients: Clients, key: str) -> None:
    """A retry of a recovered decision is a retry; one that was lost is decided anew, once."""
    lost = clients.acknowledged[-1]
    with api_process(settings) as base_url:
        async with httpx.AsyncClient(base_url=base_url, timeout=20) as client:
            for each, is_replayed in ((key, True), (lost, False), (lost, True)):
                answer = await clients.post(client, each)
                assert answer.status_code == 200
                assert ("Idempotency-Replayed" in answer.headers) is is_replayed


def comes_back_to_stripe(settings: dict[str, str], url: str, shop: BillingHarness) -> None:
    """It writes nothing there until it is adopted; then what was paid meanwhile is there."""
    plans = (
        "SELECT name FROM plans WHERE account_id = %s AND ended_at IS NULL"
        " AND source = 'subscription'"
    )
    assert run_command(settings, "reconcile", "--dry-run").returncode == 0
    assert run_command(settings, "adopt").returncode == 0
    run_command(settings, "reconcile")
    clean = run_command(settings, "reconcile")
    assert clean.stdout.endswith("Differences: 0 found, 0 repaired, 0 left.\n"), clean.stdout
    with connect(url) as connection:
        account = [shop.holder.account_number]
        assert connection.execute(plans, account).fetchall() == [("Growth",)]
    assert run_command(settings, "verify").returncode == 0


async def test_dump_taken_under_load_has_all_of_before_and_nothing_of_after(
    server_url: str, own_database_url: str
) -> None:
    holder = organization(own_database_url, EXECUTIONS)
    with api_process(server_environment(own_database_url)) as base_url:
        clients = Clients(base_url, api_key(own_database_url, Scope.EXECUTIONS), holder)
        async with clients.consuming():
            await clients.more()
            before = frozenset(clients.acknowledged)
            restored = await asyncio.to_thread(Copies(server_url).restored, own_database_url)
            sent = frozenset(clients.sent)
            await clients.more()
    assert before <= counted(restored, holder) <= sent
    assert run_command(server_environment(restored), "verify").returncode == 0

"""Leases of the client: decided in memory, settled exactly, and what happens in an outage."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from billing_app.client import (
    AsyncBilling,
    Billing,
    DeniedError,
    Lease,
    LeaseTerms,
    UnavailableError,
)
from billing_app.client.journal import MAX_LINES, Journal, JournalBusyError, JournalFullError, Line
from tests.api.server import ApiServer
from tests.client.conftest import IMPATIENT
from tests.client.faulty import Fault, FaultyServer
from tests.client.test_retries import used
from tests.factories import Holder, connect, organization


def terms(directory: Path, executions: int = 20, **more: Any) -> LeaseTerms:
    return LeaseTerms(directory, **({"executions": executions, "settle_seconds": 0.1} | more))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_decided_in_memory_and_settled_on_closing(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    with Billing(server.url, key, leases=terms(tmp_path, settle_seconds=600)) as billing:
        lease = billing.lease(holder.organization_id)
        assert used(client_database_url, holder) == (0, 20)
        assert lease.consume(3, workflow="triage", user_id="ada", idempotency_key="a")
        assert lease.consume(3, workflow="triage", user_id="ada", idempotency_key="a")
        assert lease.consume(2)
        with pytest.raises(ValueError, match="used for 3"):
            lease.consume(2, idempotency_key="a")
        with pytest.raises(ValueError, match="0 executions"):
            lease.consume(0)
        assert not lease.consume(16)
        assert used(client_database_url, holder) == (0, 20)
    assert used(client_database_url, holder) == (5, 0)
    assert list(tmp_path.iterdir()) == []
    assert lines(client_database_url, holder) == [("", "", 2), ("triage", "ada", 3)]


def lines(url: str, holder: Holder) -> list[tuple[str, str, int]]:
    with connect(url) as connection:
        return connection.execute(  # pyright: ignore[reportReturnType]
            "SELECT workflow, user_id, used FROM daily_usage WHERE account_id = %s ORDER BY 1, 2",
            [holder.account_number],
        ).fetchall()


@pytest.mark.parametrize("fsync", [False, True])
def test_threads_use_up_the_whole_plan_through_refills(
    server: ApiServer,
    key: str,
    holder: Holder,
    client_database_url: str,
    tmp_path: Path,
    fsync: bool,
) -> None:
    allowed = threading.Semaphore(0)

    def work(lease: Any) -> int:
        done = 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and used(client_database_url, holder)[0] + 1 < 101:
            if lease.consume():
                done += 1
                allowed.release()
            else:
                time.sleep(0.01)
            if used(client_database_url, holder)[0] == 100:
                break
        return done

    with Billing(server.url, key, leases=terms(tmp_path, 10, fsync=fsync)) as billing:
        lease = billing.lease(holder.organization_id)
        with ThreadPoolExecutor(4) as pool:
            done = sum(pool.map(lambda _: work(lease), range(4)))
        assert done == 100
    assert used(client_database_url, holder) == (100, 0)


def test_runs_are_decided_by_the_lease(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    with Billing(server.url, key, outage="lease", leases=terms(tmp_path)) as billing:
        with billing.run(holder.organization_id, executions=4, workflow="triage") as run:
            run.use(3)
        assert run.decision is None
        for _ in range(2):
            with billing.run(holder.organization_id, executions=2, idempotency_key="once"):
                pass
        with (
            pytest.raises(RuntimeError),
            billing.run(holder.organization_id, executions=5),
        ):
            raise RuntimeError
        # More than a lease holds: the server decides.
        with billing.run(holder.organization_id, executions=60) as run:
            assert run.decision is not None
        with pytest.raises(DeniedError), billing.run(holder.organization_id, executions=90):
            pytest.fail("the run started")
    assert used(client_database_url, holder) == (65, 0)


def test_async_runs_and_leases(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    async def play() -> None:
        leases = terms(tmp_path, fsync=True)
        async with AsyncBilling(server.url, key, outage="lease", leases=leases) as billing:

            async def run() -> None:
                async with billing.run(holder.organization_id, workflow="triage"):
                    await asyncio.sleep(0)

            await asyncio.gather(*[run() for _ in range(10)])
            lease = await billing.lease(holder.organization_id)
            found = await asyncio.gather(*[lease.consume_async() for _ in range(5)])
            assert found == [True] * 5

    asyncio.run(play())
    assert used(client_database_url, holder) == (15, 0)


def test_an_outage_denies_when_the_lease_is_empty(
    faulty: FaultyServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    leases = terms(tmp_path, 5)
    with Billing(faulty.url, key, retries=IMPATIENT, outage="lease", leases=leases) as billing:
        with billing.run(holder.organization_id):
            pass
        faulty.plan([], then=Fault.DROP)
        for _ in range(3):
            with billing.run(holder.organization_id):
                pass
        lease = billing.lease(holder.organization_id)
        while lease.consume():
            pass
        with pytest.raises(UnavailableError), billing.run(holder.organization_id):
            pytest.fail("the run started")
        faulty.plan([])
        until(lambda: lease.left > 0)
    total, held = used(client_database_url, holder)
    assert held == 0
    assert 5 <= total <= 15


def test_what_a_process_left_behind_is_settled_by_the_next(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    first = Billing(server.url, key, leases=terms(tmp_path, settle_seconds=600))
    lease = first.lease(holder.organization_id)
    assert lease.consume(7, workflow="triage")
    assert lease.segment is not None
    # As when the process ends: the file stays, without its lock.
    assert first._keeper is not None
    first._keeper.stop()
    lease.segment.journal.close()
    with Billing(server.url, key, leases=terms(tmp_path)) as second:
        second.lease(holder.organization_id)
        until(lambda: used(client_database_url, holder) == (7, 20))
    assert used(client_database_url, holder) == (7, 0)


def test_an_idle_lease_gives_back_what_it_holds(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    with Billing(server.url, key, leases=terms(tmp_path)) as billing:
        lease = billing.lease(holder.organization_id)
        assert lease.consume()
        until(lambda: used(client_database_url, holder)[0] == 1)
        # As after an hour.
        until(lambda: _is_idle(lease) and used(client_database_url, holder) == (1, 0))
        until(lease.consume)
    assert used(client_database_url, holder) == (2, 0)


def _is_idle(lease: Lease) -> bool:
    lease._active_at = float("-inf")
    return True


def test_no_lease_is_asked_for_again_and_again(
    faulty: FaultyServer,
    key: str,
    client_database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("billing_app.client.leases.REOPEN_SECONDS", 600)
    poor = organization(client_database_url)
    with Billing(faulty.url, key, outage="lease", leases=terms(tmp_path)) as billing:
        with pytest.raises(DeniedError):
            billing.lease(poor.organization_id)
        for _ in range(3):
            with pytest.raises(DeniedError), billing.run(poor.organization_id):
                pytest.fail("the run started")
        asked = [each.path for each in faulty.received]
    assert asked.count("/billing/leases") == 1
    assert asked.count("/billing/plans/check-executions") == 3


def test_a_forked_process_has_leases_of_its_own(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    with Billing(server.url, key, leases=terms(tmp_path)) as billing:
        lease = billing.lease(holder.organization_id)
        assert lease.consume(3)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.write(writer, b"n" if lease.segment is None and not lease.consume() else b"y")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 1) == b"n"
        assert lease.consume(2)
    assert used(client_database_url, holder) == (5, 0)


def test_keys_are_remembered_with_their_executions(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    with Billing(server.url, key, leases=terms(tmp_path, remember_keys=1)) as billing:
        lease = billing.lease(holder.organization_id)
        for _ in range(2):
            assert lease.consume(3, idempotency_key="three")
            assert lease.consume(idempotency_key="one")
            lease._rotate_keys()
        with pytest.raises(ValueError, match="used for 3"):
            lease.consume(1, idempotency_key="three")
        with pytest.raises(ValueError, match="used for 1"):
            lease.consume(3, idempotency_key="one")
        assert lease.consume(lease.left)
        assert lease.consume(3, idempotency_key="three")
        assert not lease.consume(100, idempotency_key="other")
    assert used(client_database_url, holder)[0] <= 100


def test_two_owners_never_share_a_file(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    with pytest.raises(JournalBusyError):
        Journal(journal.path, is_new=False)
    assert list(Journal.abandoned(tmp_path)) == []
    today = Line("a", "b", datetime.now(UTC).date())
    journal.counts[journal.slot(today)] += 5
    journal.write_text(0, b"request")
    journal.close()
    (found,) = Journal.abandoned(tmp_path)
    assert (found.totals(), found.read_text(0), found.read_text(1)) == ({today: 5}, b"request", b"")
    found.remove()


def test_a_full_journal_refuses_another_line(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path)
    day = date(2026, 1, 1)
    for number in range(MAX_LINES):
        journal.slot(Line(str(number), "", day))
    with pytest.raises(JournalFullError):
        journal.slot(Line("one more", "", day))
    assert journal.slot(Line("7", "", day)) == 7
    journal.remove()


def test_leases_need_terms(server: ApiServer, key: str) -> None:
    with pytest.raises(ValueError, match="LeaseTerms"):
        Billing(server.url, key, outage="lease")
    with Billing(server.url, key) as billing, pytest.raises(ValueError, match="LeaseTerms"):
        billing.lease("acme")


@pytest.mark.parametrize(
    "wrong", [{"executions": 0}, {"executions": 1_000_001}, {"seconds": 9}, {"refill_share": 1.0}]
)
def test_terms_that_cannot_be(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LeaseTerms(tmp_path, **wrong)


def test_without_a_journal_the_server_decides(
    server: ApiServer, key: str, holder: Holder, client_database_url: str, tmp_path: Path
) -> None:
    directory = tmp_path / "no directory"
    directory.write_text("")
    with Billing(server.url, key, outage="lease", leases=terms(directory)) as billing:
        with billing.run(holder.organization_id) as run:
            assert run.decision is not None
        with pytest.raises(OSError, match="no directory"):
            billing.lease(holder.organization_id)
    assert used(client_database_url, holder) == (1, 0)

"""`kill -9` of a service: what it acknowledged is counted in the end, and nothing twice."""

import asyncio
import random
import subprocess
import sys
import time
from pathlib import Path

from billing_app.billing.executions.verification import Difference, verify
from billing_app.client import Billing, LeaseTerms
from billing_app.db.engine import Database
from tests.api.server import ApiServer
from tests.client.test_leases import until
from tests.client.test_retries import used
from tests.factories import Holder, organization

THREADS = 3
PLAN = 50_000
KILLS = 8


def killed(server: ApiServer, key: str, holder: Holder, journal: Path, seconds: float) -> int:
    """How many counts a process acknowledged before it was killed."""
    arguments = [server.url, key, holder.organization_id, str(journal), str(THREADS)]
    command = [sys.executable, "-m", "tests.client.leasing_process", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        time.sleep(seconds)
        process.kill()
        return len(first) + len(process.stdout.read())


def test_killed_services_lose_nothing(
    server: ApiServer, key: str, client_database_url: str, tmp_path: Path
) -> None:
    holder = organization(client_database_url, PLAN)
    chance = random.Random(7)  # noqa: S311
    acknowledged = sum(
        killed(server, key, holder, tmp_path, chance.uniform(0, 0.5)) for _ in range(KILLS)
    )
    with Billing(server.url, key, leases=LeaseTerms(tmp_path)) as billing:
        billing.lease(holder.organization_id)
        until(lambda: len(list(tmp_path.iterdir())) == 1)
    counted, held = used(client_database_url, holder)
    # A thread may have been killed between its count and its byte; runs that the server decided
    # while a lease was filled up may still be reserved.
    assert acknowledged <= counted <= acknowledged + THREADS * KILLS
    assert held <= THREADS * KILLS
    differences = asyncio.run(_verify(client_database_url))
    assert [each for each in differences if each.account_id == holder.account_id] == []


async def _verify(url: str) -> list[Difference]:
    database = Database(url)
    try:
        return await verify(database)
    finally:
        await database.dispose()


def test_a_server_that_is_killed_while_leases_are_settled(
    server_url: str, database_template: str, tmp_path: Path
) -> None:
    from billing_app.db.enums import Scope
    from tests.databases import create_database
    from tests.factories import api_key

    url = create_database(server_url, f"killed_{time.time_ns()}", database_template)
    own_key = api_key(url, Scope.EXECUTIONS)
    holder = organization(url, PLAN)
    server = ApiServer(url)
    server.start()
    try:
        terms = LeaseTerms(tmp_path, executions=2_000, settle_seconds=0.01)
        with Billing(server.url, own_key, leases=terms) as billing:
            lease = billing.lease(holder.organization_id)
            done = 0
            for _ in range(4):
                deadline = time.monotonic() + 0.3
                while time.monotonic() < deadline:
                    done += lease.consume()
                    time.sleep(0.0005)
                server.kill()
                done += lease.consume()
                server.start()
        assert used(url, holder) == (done, 0)
    finally:
        server.stop()

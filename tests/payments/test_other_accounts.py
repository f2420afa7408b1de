"""Another Stripe account or mode is noticed: at the start and before each write."""

import asyncio
import subprocess
import sys
import uuid
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.subscriptions.account_runs import AccountsFailedError
from billing_app.billing.subscriptions.adoption import SameProviderAccountError
from billing_app.billing.subscriptions.installation import (
    ProviderNotAdoptedError,
)
from billing_app.composition import Services
from billing_app.payments.reconciliation import reconcile
from tests.conftest import server_environment
from tests.factories import OPERATOR
from tests.payments.billing_harness import HOUR, BillingHarness, accepted
from tests.payments.database_copies import Copies, services_on
from tests.payments.test_installation import adopt_here, running_low
from tests.payments.test_overage import SOFT
from tests.processes import run_command
from tests.stripe_sandbox.running import KEY, Sandbox, free_port

ONE_LINE = "python -m billing_app adopt"


@pytest.fixture
async def low(harness: BillingHarness) -> BillingHarness:
    return await running_low(harness)


async def test_other_account_refuses_every_write(
    low: BillingHarness, other_sandbox: Sandbox
) -> None:
    moved = services_on(low, low.url, other_sandbox)
    with pytest.raises(ProviderNotAdoptedError) as refused:
        await moved.provider.require_writable()
    assert refused.value.is_other_account
    assert await moved.top_ups.run(low.now) == 0
    with pytest.raises(ProviderNotAdoptedError):
        await reconcile_with(moved, low)
    assert await moved.installation.advice() == str(refused.value)
    await moved.close()
    assert [each["method"] for each in other_sandbox.requests() if each["method"] != "GET"] == []


async def reconcile_with(services: Services, harness: BillingHarness) -> Any:
    return await reconcile(
        services.database,
        services.provider,
        services.subscriptions,
        now=harness.now,
        dry_run=False,
    )


def command(harness: BillingHarness, sandbox: Sandbox, *arguments: str, key: str = KEY) -> Any:
    keys = {"STRIPE_SECRET_KEY": key, "STRIPE_API_BASE": sandbox.url}
    return run_command(server_environment(harness.url, **keys), *arguments)


async def test_start_on_another_account_is_refused_with_one_line(
    low: BillingHarness, other_sandbox: Sandbox
) -> None:
    ((ours,),) = low.rows("SELECT provider_account_id FROM provider_identity")
    for name in ("serve", "api", "worker"):
        done = command(low, other_sandbox, name)
        assert done.returncode == 2, done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert f"{ours} (test mode)" in line
        assert f"{ONE_LINE} --new-stripe-account" in line
        assert KEY not in line


async def test_start_in_another_mode_is_refused(low: BillingHarness) -> None:
    low.rows("UPDATE provider_identity SET is_live = true RETURNING 1")
    done = command(low, low.sandbox, "worker")
    assert done.returncode == 2
    assert "(live mode)" in done.stderr
    assert "(test mode)" in done.stderr


async def test_database_moves_to_another_account(
    low: BillingHarness, other_sandbox: Sandbox
) -> None:
    plain = command(low, other_sandbox, "adopt")
    assert (plain.returncode, len(plain.stderr.strip().splitlines())) == (2, 1)
    wanted = ("adopt", "--new-stripe-account")
    dry = command(low, other_sandbox, *wanted, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "Would detach customers and their cards: 1\n" in dry.stdout
    assert low.rows("SELECT count(*) FROM provider_customers") == [(1,)]
    done = command(low, other_sandbox, *wanted)
    assert done.returncode == 0, done.stderr
    assert low.rows("SELECT count(*) FROM provider_customers") == [(0,)]
    moved = services_on(low, low.url, other_sandbox)
    await low.services.close()
    low.services, low.sandbox = moved, other_sandbox
    low.client = other_sandbox.client(max_network_retries=2)
    assert (await low.current()).executions_total == 5_000
    low._seen = set()
    assert (await low.subscribed("growth")).offer.code == "growth"
    assert low.charged_minor() == 7_900
    assert await low.reconcile() == []
    with pytest.raises(SameProviderAccountError):
        await adopt_here(low, new_account=True)
    assert other_sandbox.take_violations() == []


async def test_move_bills_no_overage_again(harness: BillingHarness, other_sandbox: Sandbox) -> None:
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    await harness.subscribed("soft")
    harness.skip(120)
    accepted(await harness.use(1_500))
    harness.sandbox.fault(kind="status", status=400, path="/v1/billing/meter_events", times=9)
    with pytest.raises(AccountsFailedError):
        await harness.services.subscriptions.reports.run(harness.now)
    moved = services_on(harness, harness.url, other_sandbox)
    await harness.services.close()
    first, harness.services = harness.sandbox, moved
    harness.sandbox, harness.client = other_sandbox, other_sandbox.client()
    await adopt_here(harness, new_account=True)
    harness._seen = set()
    await harness.subscribed("starter")
    other_sandbox.control("clock", advance_seconds=40 * 24 * HOUR)
    harness.skipped_seconds += 40 * 24 * HOUR
    await harness.deliver()
    assert await harness.services.subscriptions.reports.run(harness.now) == 0
    assert await harness.services.settlements.run(harness.now) == 0
    harness.sandbox = first


def start_check(database_url: str, stripe: str) -> "subprocess.CompletedProcess[str]":
    """What `serve`, `api` and `worker` do before they start."""
    code = (
        "from billing_app.cli.running import run;"
        "from billing_app.cli.adopting import require_own_account;"
        "run(require_own_account)"
    )
    keys = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": stripe}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=server_environment(database_url, **keys),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_start_records_the_account(sandbox: Sandbox, own_database_url: str) -> None:
    assert start_check(own_database_url, sandbox.url).returncode == 0
    with psycopg.connect(own_database_url) as connection:
        rows = connection.execute("SELECT provider_account_id FROM provider_identity").fetchall()
    assert rows == [(sandbox.client().v1.accounts.retrieve_current().id,)]


def test_start_does_not_wait_for_stripe(own_database_url: str) -> None:
    done = start_check(own_database_url, f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stderr


async def test_copy_starts_and_says_that_it_does_not_write(
    low: BillingHarness, copies: Copies
) -> None:
    copy = await copies.of(low)
    done = start_check(copy.url, low.sandbox.url)
    assert done.returncode == 0
    (line,) = done.stderr.strip().splitlines()
    assert ONE_LINE in line


async def test_first_write_asks_stripe_that_was_down(harness: BillingHarness) -> None:
    harness.sandbox.fault(kind="status", status=503, path="/v1/account", times=3)
    with pytest.raises(BillingError):
        await harness.begin("starter")
    assert harness.rows("SELECT count(*) FROM provider_identity") == [(0,)]
    await harness.begin("starter")
    assert harness.rows("SELECT count(*) FROM provider_identity") == [(1,)]


async def test_restricted_key_is_compared_by_mode_alone(harness: BillingHarness) -> None:
    error = {"type": "invalid_request_error", "message": "no"}
    harness.sandbox.fault(kind="status", status=403, path="/v1/account", error=error)
    await harness.begin("starter")
    found = harness.rows("SELECT provider_account_id, is_live FROM provider_identity")
    assert found == [(None, False)]


async def test_server_that_tells_nothing_is_no_reason_to_stop(
    low: BillingHarness,
) -> None:
    """A role without the rights sees only the database's oid."""
    role = f"plain_{uuid.uuid4().hex[:8]}"
    parts = urlsplit(low.url)
    with psycopg.connect(low.url, autocommit=True) as connection:
        name = sql.Identifier(role)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(name))
        connection.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public TO {}").format(name))
        for function in ("pg_control_system()", "pg_walfile_name(pg_lsn)"):
            statement = f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"
            connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
    query = parts.query
    url = f"postgresql://{role}:x@{parts.netloc.rpartition('@')[2]}{parts.path}?{query}"
    services = services_on(low, url)
    try:
        _, place = await services.installation.read()
        assert (place.system_identifier, place.timeline) == (None, None)
        assert await services.installation.advice() == ""
        await services.provider.require_writable()
    finally:
        await services.close()
        with psycopg.connect(low.url, autocommit=True) as connection:
            for function in ("pg_control_system()", "pg_walfile_name(pg_lsn)"):
                statement = f"GRANT EXECUTE ON FUNCTION {function} TO PUBLIC"
                connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
            connection.execute(sql.SQL("DROP OWNED BY {0}").format(name))
            connection.execute(sql.SQL("DROP ROLE {0}").format(name))


async def test_first_use_by_many_processes_writes_one_mark(harness: BillingHarness) -> None:
    several = [services_on(harness, harness.url) for _ in range(5)]
    marks = await asyncio.gather(*(each.installation.permit() for each in several))
    assert len(set(marks)) == 1
    for each in several:
        await each.close()

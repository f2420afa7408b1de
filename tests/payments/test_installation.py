"""Whose Stripe it is: a copied database writes nothing, another account is noticed."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.staff.repairs.provider_driver import record_failure
from billing_app.billing.subscriptions.account_runs import AccountsFailedError
from billing_app.billing.subscriptions.adoption import SameProviderAccountError, adopt
from billing_app.billing.subscriptions.installation import (
    ProviderNotAdoptedError,
)
from billing_app.billing.subscriptions.provider_errors import (
    ProviderKeyConflictError,
)
from billing_app.composition import Services
from billing_app.db.enums import When
from billing_app.payments.reconciliation import reconcile
from tests.conftest import server_environment
from tests.factories import OPERATOR
from tests.payments.billing_harness import HOUR, BillingHarness, accepted
from tests.payments.database_copies import Copies, services_on
from tests.payments.test_overage import SOFT
from tests.payments.test_top_ups import order
from tests.processes import run_command
from tests.stripe_sandbox.running import KEY, Sandbox, free_port

ONE_LINE = "python -m billing_app adopt"


@pytest.fixture(scope="module")
def other_sandbox() -> Iterator[Sandbox]:
    """Another Stripe account."""
    running = Sandbox(free_port())
    yield running
    running.stop()


@pytest.fixture
async def copies(server_url: str) -> AsyncIterator[Copies]:
    made = Copies(server_url)
    yield made
    await made.close()


@pytest.fixture
async def low(harness: BillingHarness) -> BillingHarness:
    """Subscribed with a card, 500 executions left, and top-up ordered."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    accepted(await harness.use(4_500))
    await order(harness)
    return harness


async def adopt_here(
    harness: BillingHarness, *, new_account: bool = False, dry_run: bool = False
) -> Any:
    services = harness.services
    return await adopt(
        services.database,
        services.installation,
        record_failure,
        new_account=new_account,
        dry_run=dry_run,
        now=harness.now,
    )


def written(harness: BillingHarness) -> int:
    """Requests that the sandbox got which were no reads."""
    requests = harness.sandbox.requests()
    return sum(each["method"] != "GET" for each in requests)


async def test_copy_buys_nothing_and_the_original_goes_on(
    low: BillingHarness, copies: Copies
) -> None:
    copy = await copies.of(low)
    before = written(low)
    assert await copy.services.top_ups.run(copy.now) == 0
    assert written(low) == before
    assert copy.rows("SELECT stopped_because FROM top_ups") == [(None,)]
    assert await low.services.top_ups.run(low.now) == 1
    assert low.charged_minor() == 1_900 + 2_500


async def test_copy_counts_but_every_write_is_refused(low: BillingHarness, copies: Copies) -> None:
    copy = await copies.of(low)
    accepted(await copy.use(10))
    assert (await copy.live()).status == "active"
    before = written(low)
    live = (await copy.live()).id
    services = copy.services
    portal = services.subscriptions.portal_url(
        OPERATOR, copy.holder.account_id, return_url="http://x", now=copy.now
    )
    for write in (
        copy.begin("pack"),
        copy.change("growth"),
        services.subscriptions.cancel(OPERATOR, live, when=When.NOW, now=copy.now),
        portal,
        services.provider.expire_checkout("cs_test_1"),
        services.provider.report_usage(
            customer_id=copy.customer_id(), executions=1, identifier="x", at=copy.now
        ),
    ):
        with pytest.raises(ProviderNotAdoptedError) as refused:
            await write
        assert ONE_LINE in str(refused.value)
        assert ONE_LINE not in refused.value.detail
    assert written(low) == before
    assert copy.rows("SELECT count(*) FROM provider_writes WHERE state = 'pending'") == [(0,)]
    assert (await low.change("growth")).offer.code == "growth"


async def test_restored_dump_does_not_write(low: BillingHarness, copies: Copies) -> None:
    restored = await copies.of(low, copies.restored(low.url))
    assert await restored.services.top_ups.run(restored.now) == 0
    assert ONE_LINE in await restored.services.installation.advice()
    assert await low.services.installation.advice() == ""


async def test_copy_corrects_no_overage(harness: BillingHarness, copies: Copies) -> None:
    """The original bills 5.00; the copy, which counted 0.50, would credit 4.50 of it."""
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    found = await harness.subscribed("soft")
    harness.skip(120)
    accepted(await harness.use(1_100))
    copy = await copies.of(harness)
    accepted(await harness.use(900))
    await harness.services.subscriptions.reports.run(harness.now)
    harness.skip((found.period_end - harness.now).total_seconds() + 60)
    await harness.deliver()
    harness.skip(2 * HOUR)
    await harness.deliver()
    harness.skip(HOUR)
    copy.skipped_seconds = harness.skipped_seconds
    await copy.reconcile()
    assert await copy.services.subscriptions.reports.run(copy.now) == 0
    assert await copy.services.settlements.run(copy.now) == 0
    assert copy.rows("SELECT count(*) FROM overage_settlements") == [(0,)]
    assert await harness.services.settlements.run(harness.now) == 0
    assert harness.charged_minor() == 1_000 + 500 + 1_000
    pending: Any = {"customer": harness.customer_id(), "pending": True}
    assert harness.client.v1.invoice_items.list(pending).data == []


async def test_reconcile_says_that_a_copy_is_not_adopted(
    low: BillingHarness, copies: Copies
) -> None:
    copy = await copies.of(low)
    (found,) = [each for each in await copy.reconcile() if each.what == "installation"]
    assert (found.healed, found.theirs) == (False, "not adopted")
    assert [each for each in await low.reconcile() if each.what == "installation"] == []


async def test_interrupted_request_of_a_copy_waits(low: BillingHarness, copies: Copies) -> None:
    low.sandbox.fault(kind="reset", method="POST", path="/v1/subscriptions/*", times=9)
    with pytest.raises(BillingError):
        await low.change("growth")
    low.sandbox.http.delete("/_sandbox/faults")
    copy = await copies.of(low)
    low.skip(HOUR)
    copy.skipped_seconds = low.skipped_seconds
    await copy.reconcile()
    pending = "SELECT count(*) FROM provider_writes WHERE state = 'pending'"
    assert copy.rows(pending) == [(1,)]
    await low.reconcile()
    assert low.rows(pending) == [(0,)]


async def test_adopted_copy_goes_on_under_its_own_mark(low: BillingHarness, copies: Copies) -> None:
    copy = await copies.of(low)
    ((mark,),) = low.rows("SELECT mark FROM provider_identity")
    assert (await adopt_here(copy, dry_run=True)).was_copy
    assert await copy.services.top_ups.run(copy.now) == 0
    assert (await adopt_here(copy)).was_copy
    ((new_mark, earlier),) = copy.rows("SELECT mark, earlier_marks FROM provider_identity")
    assert new_mark != mark
    assert earlier == [mark]
    assert await copy.services.top_ups.run(copy.now) == 1
    keys = [each["idempotency_key"] for each in low.sandbox.requests() if each["method"] == "POST"]
    assert keys[-1].startswith(f"{new_mark}:")
    await copy.deliver()
    assert await copy.reconcile() == []
    done = await adopt_here(copy)
    assert (done.was_copy, done.detached) == (False, None)


async def test_marks_are_in_keys_and_metadata(low: BillingHarness) -> None:
    ((mark,),) = low.rows("SELECT mark FROM provider_identity")
    assert mark
    customer = low.client.v1.customers.retrieve(low.customer_id())
    assert customer.metadata is not None
    assert customer.metadata["billing_installation"] == mark
    ours = [each for each in low.sandbox.requests() if each["path"] == "/v1/customers"]
    assert ours[0]["idempotency_key"] == f"{mark}:customer-{low.holder.account_id}"


async def test_installations_on_one_account_leave_each_other_alone(
    low: BillingHarness, copies: Copies
) -> None:
    """A second installation's customers are no differences, and their keys never meet."""
    metadata = {"billing_account": low.holder.account_id, "billing_installation": "another"}
    low.client.v1.customers.create({"name": "Elsewhere", "metadata": metadata})
    await low.deliver()
    assert await low.reconcile() == []


async def test_upgrade_in_place_keeps_keys_of_what_is_pending(
    harness: BillingHarness, own_database_url: str
) -> None:
    """What an older installation sent without an answer is repeated under the same key."""
    harness.services.provider.ask_before_writing(_no_mark)  # pyright: ignore[reportAttributeAccessIssue]
    await harness.subscribed("starter")
    fault = {"kind": "reset", "method": "POST", "times": 3}
    harness.sandbox.control("faults", **fault, when="after", path="/v1/checkout/sessions")
    with pytest.raises(BillingError):
        await harness.begin("pack")
    harness.sandbox.control("faults", **fault, when="before", path="/v1/subscriptions/*")
    with pytest.raises(BillingError):
        await harness.change("growth")
    upgraded = services_on(harness, own_database_url)
    await harness.services.close()
    harness.services = upgraded
    assert (await harness.change("growth")).offer.code == "growth"
    await harness.begin("pack")
    assert harness.rows("SELECT mark FROM provider_identity") == [("",)]
    assert harness.charged_minor() == 1_900 + 7_900 - 1_900
    assert len(harness.client.v1.coupons.list().data) == 1
    sessions = harness.client.v1.checkout.sessions.list({"status": "open"}).data
    assert len(sessions) == 1
    await harness.deliver()
    assert await harness.reconcile() == []


async def _no_mark() -> str:
    return ""


async def test_conflicting_key_is_the_matter_of_one_account(
    low: BillingHarness, sandbox: Sandbox
) -> None:
    """Its report is stuck, and staff see that; the next account's is sent."""
    await low.services.top_ups.switch_off(OPERATOR, low.holder.account_id)
    await publish_offer(low.services.database, OPERATOR, code="soft", terms=SOFT, now=low.now)
    holders = sorted(
        [await BillingHarness(sandbox, low.url).open_beside(low) for _ in range(2)],
        key=lambda each: each.holder.account_number,
    )
    for each in holders:
        await each.subscribed("soft")
    for each in holders:
        each.skipped_seconds = low.skipped_seconds
    low.skip(120)
    for each in holders:
        each.skipped_seconds = low.skipped_seconds
        accepted(await each.use(1_100))
    first = holders[0]
    await _take_key_of_report(first)
    with pytest.raises(AccountsFailedError) as failed:
        await low.services.subscriptions.reports.run(low.now)
    assert failed.value.accounts == {first.holder.account_id: "provider_key_conflict"}
    assert failed.value.done == 1
    states = dict(low.rows("SELECT account_id, state FROM meter_reports"))
    assert states[first.holder.account_number] == "pending"
    assert states[holders[1].holder.account_number] == "done"
    low.skip(3 * HOUR)
    (found,) = [each for each in await low.reconcile() if each.what == "overage"]
    assert found.account_id == first.holder.account_id
    for each in holders:
        await each.close()


async def _take_key_of_report(harness: BillingHarness) -> None:
    plan = harness.rows(
        "SELECT sequence FROM plans WHERE source = 'overage' AND used > 0 AND account_id ="  # noqa: S608
        f" {harness.holder.account_number}"
    )[0][0]
    day = f"{harness.now:%Y%m%d}"
    identifier = f"overage-{harness.holder.account_id}-{plan}-{day}-1"
    await harness.services.provider.report_usage(
        customer_id=harness.customer_id(), executions=7, identifier=identifier, at=harness.now
    )


async def test_conflict_is_no_outage(low: BillingHarness) -> None:
    provider = low.services.provider
    await provider.create_customer(account_id="acc_1", name="A", email=None, key="one")
    with pytest.raises(ProviderKeyConflictError):
        await provider.create_customer(account_id="acc_2", name="B", email=None, key="one")


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

"""`python -m billing_app reconcile` lists each difference, repairs, and reports the rest."""

import subprocess

from tests.conftest import server_environment
from tests.payments.billing_harness import HOUR, BillingHarness, type_card
from tests.processes import run_command
from tests.stripe_sandbox.running import KEY


def reconcile(harness: BillingHarness, *arguments: str) -> subprocess.CompletedProcess[str]:
    keys = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": harness.sandbox.url}
    done = run_command(server_environment(harness.url, **keys), "reconcile", *arguments)
    assert KEY not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.strip().splitlines()[-1]


async def test_one_run_syncs_the_database_with_stripe(harness: BillingHarness) -> None:
    type_card((await harness.begin("starter")).checkout_url)
    told = reconcile(harness, "--dry-run")
    lines = told.stdout.strip().splitlines()
    count = len(lines) - 1
    assert (told.returncode, lines[-1]) == (
        0,
        f"Differences: {count} found, 0 repaired, {count} left.",
    )
    kinds = {line.split(":")[0].split()[-2] for line in lines[:-1]}
    assert kinds >= {"subscription", "invoice", "checkout", "event"}
    assert harness.plans() == []
    done = reconcile(harness)
    assert done.returncode == 0, done.stderr
    assert last_line(done) == f"Differences: {count} found, {count} repaired, 0 left."
    assert [plan["executions"] for plan in harness.plans()] == [5_000]
    assert last_line(reconcile(harness)) == "Differences: 0 found, 0 repaired, 0 left."


async def test_remaining_difference_is_reported_and_fails_the_run(harness: BillingHarness) -> None:
    mark = {"billing_account": "acc_0123456789abcdef"}
    harness.client.v1.customers.create({"name": "Elsewhere", "metadata": mark})
    done = reconcile(harness)
    assert (done.returncode, last_line(done)) == (1, "Differences: 1 found, 0 repaired, 1 left.")


async def test_invoice_missing_at_stripe_is_reported_and_kept(harness: BillingHarness) -> None:
    await harness.subscribed()
    harness.rows("UPDATE invoices SET provider_id = 'in_gone' RETURNING 1")
    found = {each.provider_id: each for each in await harness.reconcile()}
    assert (found["in_gone"].theirs, found["in_gone"].healed) == ("missing", False)
    assert harness.rows("SELECT count(*) FROM invoices WHERE provider_id = 'in_gone'") == [(1,)]
    assert await harness.denied() == ""


async def test_subscription_missing_at_stripe_is_replaced_by_the_live_one(
    harness: BillingHarness,
) -> None:
    await harness.subscribed()
    harness.rows("UPDATE subscriptions SET provider_id = 'sub_gone' RETURNING 1")
    found = {each.provider_id: each for each in await harness.reconcile()}
    assert found["sub_gone"].theirs == "missing"
    assert all(each.healed for each in found.values())
    ((status, ended),) = harness.rows(
        "SELECT status, ended_at IS NOT NULL FROM subscriptions WHERE provider_id = 'sub_gone'"
    )
    assert (status, ended) == ("canceled", True)
    assert (await harness.live()).status == "active"
    assert await harness.denied() == ""
    assert await harness.reconcile() == []


async def test_failing_customer_does_not_stop_the_others(harness: BillingHarness) -> None:
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    await harness.begin("starter")
    end = (await harness.live()).period_end
    other = await BillingHarness(harness.sandbox, harness.url).open_beside(harness)
    await other.begin("growth")
    other.use_card("pm_card_visa")
    await other.begin("growth")
    harness.skip((end - harness.now).total_seconds() + 2 * HOUR)
    harness.sandbox.fault(kind="status", status=400, method="GET", path="/v1/subscriptions")
    found = await harness.reconcile()
    broken = [each for each in found if each.what == "customer"]
    assert [(each.theirs, each.healed) for each in broken] == [("payment_provider_failed", False)]
    assert {each.what for each in found if each.healed} >= {"subscription", "invoice"}
    await harness.reconcile()
    assert await harness.reconcile() == []


async def test_stripe_outage_is_reported_in_plain_words(harness: BillingHarness) -> None:
    await harness.begin("starter")
    harness.sandbox.fault(kind="status", status=503, path="/v1/*", times=100)
    done = reconcile(harness)
    assert done.returncode == 2
    assert "is not responding" in done.stderr


def test_missing_key_is_reported(own_database_url: str) -> None:
    done = run_command(server_environment(own_database_url), "reconcile")
    assert done.returncode == 2
    assert "STRIPE_SECRET_KEY is missing" in done.stderr

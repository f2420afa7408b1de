"""Reconciliation walks through all customers in parts: it goes on where it stopped, however that
was, and one customer's trouble stops no other."""

import os
import signal
import subprocess
from datetime import datetime
from typing import Any, Final

import pytest

from billing_app.billing import ids
from billing_app.billing.subscriptions.provider import OurCustomers, ProviderEvent
from billing_app.jobs.operating_figures import FiguresReader
from billing_app.payments.comparison import Difference
from billing_app.payments.reconcile_walks import KEEP_EACH, Extent
from billing_app.payments.reconciled_customers import ReconciledCustomers
from billing_app.payments.reconciliation import reconcile
from tests.conftest import server_environment
from tests.factories import connect
from tests.payments.billing_harness import DAY, BillingHarness, until
from tests.processes import run_command, start_command
from tests.stripe_sandbox.running import KEY

CUSTOMERS: Final = 40
LOST: Final = "in_lost"
RESUMED: Final = Extent(resumes=True)
AT_ONCE: Final = Extent(resumes=True, seconds=0.0)
FILL: Final = """
    WITH made AS (SELECT n, 'org_walk' || n AS org FROM generate_series(1, {number}) AS n),
         organizations AS (INSERT INTO organizations (id, name, created_at)
                           SELECT org, org, now() FROM made RETURNING id),
         accounts AS (INSERT INTO accounts (id, kind, organization_id, created_at)
                      SELECT 1000 + n, 'organization', org, now() FROM made RETURNING id)
    SELECT count(*) FROM organizations, accounts
"""


class Interrupted(BaseException):
    """What no part of a run catches."""


def fill(harness: BillingHarness, number: int = CUSTOMERS) -> list[str]:
    """Customers here and at Stripe, by account; returns their ids."""
    harness.rows(FILL.format(number=number))
    customers: list[str] = []
    with connect(harness.url) as connection:
        for each in range(1, number + 1):
            mark: Any = {"billing_account": ids.encode_account(1000 + each)}
            params: Any = {"name": f"org_walk{each}", "metadata": mark}
            customers.append(harness.client.v1.customers.create(params).id)
            connection.execute(
                "INSERT INTO provider_customers (account_id, customer_id, created_at)"
                " VALUES (%s, %s, now())",
                [1000 + each, customers[-1]],
            )
    return customers


def lose(harness: BillingHarness, customer_id: str) -> None:
    """Let Stripe not know an invoice of a customer, who is deleted there."""
    with connect(harness.url) as connection:
        connection.execute(
            "INSERT INTO invoices (account_id, provider_id, number, status, billing_reason,"
            " currency, amount_due_minor, amount_paid_minor, page_url, pdf_url, issued_at,"
            " synced_at) SELECT account_id, %s, '', 'paid', '', 'USD', 1, 1, '', '', now(), now()"
            " FROM provider_customers WHERE customer_id = %s",
            [LOST, customer_id],
        )
    harness.client.v1.customers.delete(customer_id)


async def walk(harness: BillingHarness, extent: Extent = RESUMED) -> list[Difference]:
    services = harness.services
    return await reconcile(
        services.database,
        services.provider,
        services.subscriptions,
        now=harness.now,
        dry_run=False,
        extent=extent,
    )


def positions(harness: BillingHarness) -> dict[str, str]:
    return dict(harness.rows("SELECT kind, position FROM reconcile_walks"))


def walked_since(harness: BillingHarness) -> list[Any]:
    rows = harness.rows("SELECT whole_since FROM reconciliations ORDER BY began_at")
    return [row[0] for row in rows]


class Visits:
    """Which customers were compared, in order; one of them can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.stops_at = 0
        compare = ReconciledCustomers._customer_or_note  # pyright: ignore[reportPrivateUsage]

        async def noted(run: ReconciledCustomers, customer: Any) -> None:
            if self.stops_at and len(self.seen) == self.stops_at:
                raise Interrupted
            self.seen.append(customer.customer_id)
            await compare(run, customer)

        monkeypatch.setattr(ReconciledCustomers, "_customer_or_note", noted)


async def test_walk_goes_on_where_it_was_interrupted(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers, visits = fill(harness), Visits(monkeypatch)
    visits.stops_at, began_at = 17, harness.now
    with pytest.raises(Interrupted):
        await walk(harness)
    assert positions(harness)["customers"] == "1017"
    visits.stops_at = 0
    await walk(harness)
    assert visits.seen == customers
    assert walked_since(harness)[-1] >= began_at
    await walk(harness)
    assert visits.seen == [*customers, *customers]


async def test_time_budget_stops_a_walk(harness: BillingHarness) -> None:
    fill(harness, 3)
    assert await walk(harness, AT_ONCE) == []
    assert walked_since(harness) == [None]
    assert "GET /v1/subscriptions" not in {
        f"{each['method']} {each['path']}" for each in harness.sandbox.requests()
    }
    began_at = harness.rows("SELECT min(began_at) FROM reconcile_walks")[0][0]
    harness.skip(DAY)
    await walk(harness)
    assert walked_since(harness)[-1] == began_at


async def test_age_of_the_whole_walk_is_shown_before_the_first_one_ends(
    harness: BillingHarness,
) -> None:
    fill(harness, 1)
    await walk(harness, AT_ONCE)
    harness.skip(3 * DAY)
    await walk(harness, AT_ONCE)
    figures = await FiguresReader().read(harness.services.database, harness.now)
    assert figures is not None
    assert figures.reconciliation_age_seconds is not None
    assert figures.reconciliation_walk_age_seconds is not None
    assert figures.reconciliation_age_seconds < DAY < 3 * DAY
    assert figures.reconciliation_walk_age_seconds >= 3 * DAY


async def test_deleted_and_broken_customers_stop_no_other(harness: BillingHarness) -> None:
    customers = fill(harness, 6)
    lose(harness, customers[1])
    harness.sandbox.fault(
        kind="status", status=400, method="GET", path="/v1/subscriptions", skip=4, times=1
    )
    found = await walk(harness)
    about = {each.provider_id: each.theirs for each in found}
    assert about == {LOST: "missing", customers[3]: "payment_provider_failed"}
    assert {each.provider_id for each in await walk(harness)} == {LOST}


async def test_customers_created_meanwhile_are_compared_in_the_next_walk(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(harness, 12)
    visits = Visits(monkeypatch)
    visits.stops_at = 11
    with pytest.raises(Interrupted):
        await walk(harness)
    visits.stops_at = 0
    await harness.begin("starter")  # an account with a number after the others'
    await walk(harness)
    assert len(visits.seen) == 13
    await walk(harness)
    assert len(visits.seen) == 26


async def test_differences_of_earlier_parts_stay_listed(harness: BillingHarness) -> None:
    customers = fill(harness, 4)
    lose(harness, customers[0])
    assert [each.provider_id for each in await walk(harness)] == [LOST]
    harness.skip(60)
    assert await walk(harness, AT_ONCE) == []
    [(differences, healed, found)] = harness.rows(
        "SELECT differences, healed, found FROM reconciliations ORDER BY began_at DESC LIMIT 1"
    )
    assert (differences, healed, found[0]["provider_id"]) == (1, 0, LOST)
    harness.skip(60)
    await walk(harness, Extent())
    assert len(harness.rows("SELECT 1 FROM reconciliations WHERE differences = 1")) == 3


async def test_walk_through_stripes_customers_begins_anew_when_its_place_is_gone(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers = fill(harness, 5)
    pages: list[str | None] = []
    provider = harness.services.provider
    read = provider.our_customers

    async def small(after: str | None) -> OurCustomers:
        pages.append(after)
        page = await read(after)
        if after is None:
            return OurCustomers(page.customers[:2], page.customers[1].customer_id, has_more=True)
        return page

    monkeypatch.setattr(provider, "our_customers", small)
    harness.rows(
        "INSERT INTO reconcile_walks (kind, position, began_at)"
        " VALUES ('customers_at_provider', 'cus_gone', now()) RETURNING kind"
    )
    await walk(harness)
    assert pages == ["cus_gone", None, customers[3]]
    assert positions(harness)["customers_at_provider"] == ""


async def test_dry_run_walks_everything_and_moves_no_walk(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers, visits = fill(harness, 12), Visits(monkeypatch)
    visits.stops_at = 11
    with pytest.raises(Interrupted):
        await walk(harness)
    visits.seen, visits.stops_at = [], 0
    before = positions(harness)
    assert await harness.reconcile(dry_run=True) == []
    assert (visits.seen, positions(harness)) == (customers, before)


async def test_run_whose_walk_another_run_began_anew_keeps_nothing(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(harness, 2 * KEEP_EACH)
    visits = Visits(monkeypatch)
    visits.stops_at = KEEP_EACH + 1
    with pytest.raises(Interrupted):
        await walk(harness)
    visits.seen, visits.stops_at = [], 2
    compare = ReconciledCustomers.ours

    async def beside(run: ReconciledCustomers, walk_: Any) -> bool:
        with connect(harness.url) as connection:
            connection.execute(
                "UPDATE reconcile_walks SET began_at = now(), position = '1003'"
                " WHERE kind = 'customers'"
            )
        return await compare(run, walk_)

    monkeypatch.setattr(ReconciledCustomers, "ours", beside)
    with pytest.raises(Interrupted):
        await walk(harness)
    assert positions(harness)["customers"] == "1003"


def command(harness: BillingHarness, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(environment(harness), "reconcile", *arguments)


def environment(harness: BillingHarness) -> dict[str, str]:
    keys = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": harness.sandbox.url}
    return server_environment(harness.url, **keys)


async def test_killed_command_resumes(harness: BillingHarness) -> None:
    customers = fill(harness)
    stop = CUSTOMERS // 2 + KEEP_EACH // 2
    harness.sandbox.fault(
        kind="hang", method="GET", path="/v1/subscriptions", skip=stop, seconds=60.0
    )
    process = start_command(environment(harness), "reconcile")
    kept = str(1000 + stop // KEEP_EACH * KEEP_EACH)
    until(lambda: positions(harness).get("customers") == kept, 60)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    harness.sandbox.http.delete("/_sandbox/faults")
    done = command(harness, "--resume")
    assert done.returncode == 0, done.stderr
    compared = [each for each in harness.sandbox.requests() if each["path"] == "/v1/subscriptions"]
    assert len(customers) <= len(compared) <= len(customers) + KEEP_EACH + 1
    assert positions(harness)["customers"] == ""


async def test_command_walks_everything_unless_told_otherwise(harness: BillingHarness) -> None:
    customers = fill(harness, 3)
    lose(harness, customers[0])
    harness.rows(
        "INSERT INTO reconcile_walks (kind, position, began_at)"
        " VALUES ('customers', '1001', now()) RETURNING kind"
    )
    assert "1 found" in command(harness, "--dry-run").stdout
    assert "1 found" in command(harness).stdout


async def test_more_events_than_a_statement_takes_parameters(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month of a large customer base."""
    at = harness.now
    many = [ProviderEvent(f"evt_{n}", "ping", "", "", at, {}) for n in range(65_536)]
    provider = harness.services.provider

    async def events(since: datetime) -> list[ProviderEvent]:
        return many

    monkeypatch.setattr(provider, "events_since", events)
    assert await harness.reconcile(dry_run=True) == []

"""Importing from Stripe counts each subscription once, wherever it is interrupted."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import ForbiddenError
from billing_app.billing.executions.verification import verify
from billing_app.billing.imports.balances import open_importer
from billing_app.billing.imports.price_plans import PriceMap
from billing_app.billing.imports.runs import ImportRun, survey_account
from billing_app.billing.imports.subscription_plans import Keys, SubscriptionPlan, plan_subscription
from billing_app.billing.imports.subscriptions import SubscriptionImporter
from billing_app.billing.imports.taken_offers import read_price_plans, take_prices
from billing_app.composition import Services
from billing_app.db.enums import StaffRole
from billing_app.payments import importing
from tests.factories import OPERATOR
from tests.payments.billing_harness import BillingHarness, until
from tests.payments.old_shop import OldShop, adopt, balances, environment, run, settled
from tests.processes import start_command


@pytest.fixture
def shop(harness: BillingHarness) -> OldShop:
    return OldShop(harness)


async def test_killed_run_goes_on_and_takes_each_once(
    harness: BillingHarness, shop: OldShop
) -> None:
    count = 40
    price = shop.price("Team")
    for number in range(count):
        metadata = {"executions_used": str(number + 1)}
        shop.subscribe(shop.customer(f"org-{number}"), price, metadata=metadata)
    charges = shop.charges()
    process = start_command(environment(harness), "import", "stripe", "--apply")
    begun = "SELECT count(*) FROM provider_customers"
    until(lambda: harness.rows(begun)[0][0] > 8)
    process.kill()
    process.communicate(timeout=20)
    done = run(harness, "--apply")
    assert done.returncode == 0, done.stdout
    expected = {(f"org-{number}", "Team", 3_000, number + 1) for number in range(count)}
    assert set(balances(harness)) == expected
    assert len(balances(harness)) == count
    assert shop.charges() == charges
    marked = shop.api.customers.list({"limit": 100}).auto_paging_iter()
    accounts = [each.metadata["billing_account"] for each in marked if each.metadata]
    assert len(set(accounts)) == count
    assert f"Here before: {count}\n" in run(harness, "--apply").stdout
    assert await verify(harness.services.database) == []


def importer_of(services: Services) -> SubscriptionImporter:
    account: Any = services.provider
    syncing, executions = services.subscriptions.syncing, services.executions
    return SubscriptionImporter(
        services.database, account, syncing, executions, services.terms, OPERATOR, "Test"
    )


async def planned(harness: BillingHarness) -> SubscriptionPlan:
    """Of the only subscription, with its offer made."""
    services = harness.services
    account: Any = services.provider
    survey = await survey_account(account, Keys(), lambda _: None)
    prices = await read_price_plans(services.database, account, survey, PriceMap())
    prices = await take_prices(
        services.database, OPERATOR, prices, shows=False, reason="Test", now=harness.now
    )
    page = await account.live_subscriptions(None)
    return plan_subscription(page.subscriptions[0], prices, survey, PriceMap())


@pytest.mark.parametrize(
    "broken", ["_begin", "account.claim_customer", "syncing.customer", "_finish"]
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_interrupted_anywhere_it_goes_on(
    harness: BillingHarness,
    shop: OldShop,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    when: str,
) -> None:
    shop.subscribe(shop.customer("acme"), shop.price("Team"), metadata={"executions_used": "7"})
    plan, importer = await planned(harness), importer_of(harness.services)
    *path, name = broken.split(".")
    kind = type(getattr(importer, path[0]) if path else importer)
    original = getattr(kind, name)

    async def breaking(*arguments: Any) -> None:
        if when == "after":
            await original(*arguments)
        raise RuntimeError(broken)

    with monkeypatch.context() as patched:
        patched.setattr(kind, name, breaking)
        with pytest.raises(RuntimeError, match=broken):
            await importer.take(plan, harness.now)
    for _ in range(2):
        await importer.take(plan, harness.now)
    assert balances(harness) == [("acme", "Team", 3_000, 7)]
    adopt(harness, "acme")
    assert len(harness.rows("SELECT 1 FROM execution_events")) == 1
    await settled(harness)


async def test_taken_twice_at_once_it_counts_once(harness: BillingHarness, shop: OldShop) -> None:
    shop.subscribe(shop.customer("acme"), shop.price("Team"), metadata={"executions_used": "7"})
    plan, importer = await planned(harness), importer_of(harness.services)
    await asyncio.gather(*(importer.take(plan, harness.now) for _ in range(4)))
    assert balances(harness) == [("acme", "Team", 3_000, 7)]
    assert await verify(harness.services.database) == []


async def test_accounts_of_several_pages(
    harness: BillingHarness, shop: OldShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PAGE_SIZE", 2)
    several = shop.customer("several")
    for customer in (several, *(shop.customer(f"org-{number}") for number in range(3)), several):
        shop.subscribe(customer, shop.price("Team"))
    services = harness.services
    account: Any = services.provider
    survey = await survey_account(account, Keys(), lambda _: None)
    assert survey.subscriptions == 5
    prices = await read_price_plans(services.database, account, survey, PriceMap())
    assert min(plan.code for plan in prices.values()) == "team"
    assert len({plan.code for plan in prices.values()}) == 5
    importer = importer_of(services)
    run = ImportRun(importer, survey, prices, PriceMap(), applies=False, clock=lambda: harness.now)
    pages = [page async for page in run.pages()]
    assert [len(page) for page in pages] == [2, 2, 1]
    found = [outcome.plan.external_id for page in pages for outcome in page if not outcome.problem]
    assert sorted(found) == ["org-0", "org-1", "org-2"]


async def test_only_operators_import(harness: BillingHarness) -> None:
    services, admin = harness.services, StaffActor("usr_ana", "Ana", StaffRole.ADMIN)
    importer = replace(importer_of(services), actor=admin)
    nothing: Any = None
    with pytest.raises(ForbiddenError):
        await importer.check(nothing)
    with pytest.raises(ForbiddenError):
        await importer.take(nothing, harness.now)
    with pytest.raises(ForbiddenError):
        await open_importer(
            services.database, services.terms, admin, reason="Test", dry_run=True
        ).__aenter__()

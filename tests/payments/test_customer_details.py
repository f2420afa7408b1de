"""Stripe's customer has the account's name and e-mail address, and in the end the newest."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from billing_app.billing.accounts import billing_details
from billing_app.billing.accounts.billing_details import DetailsQueue
from billing_app.billing.actors import UserActor
from billing_app.billing.subscriptions import customer_details
from billing_app.billing.subscriptions.customer_details import DetailsChangingError, send_details
from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.composition import build_services
from billing_app.db.engine import Database
from billing_app.db.enums import Role
from billing_app.db.tables import ProviderCustomer
from billing_app.jobs import webhooks
from billing_app.jobs.customers import DbosDetailsQueue
from tests.factories import connect, membership, organization, person
from tests.payments.billing_harness import PUBLIC_URL, BillingHarness, payment_settings, until
from tests.payments.database_copies import Copies
from tests.payments.storefront import Storefront
from tests.payments.test_gone import portal


@pytest.fixture
async def copies(server_url: str) -> AsyncIterator[Copies]:
    made = Copies(server_url)
    yield made
    await made.close()


@pytest.fixture
def owner(harness: BillingHarness) -> UserActor:
    made = person(harness.url, "Ada")
    membership(harness.url, harness.holder.organization_id, made.user_id, Role.OWNER)
    return made


def at_stripe(harness: BillingHarness) -> tuple[str | None, str | None]:
    theirs = harness.client.v1.customers.retrieve(harness.customer_id())
    return theirs.name, theirs.email


async def rename(
    harness: BillingHarness, owner: UserActor, name: str, queue: DetailsQueue | None = None
) -> None:
    """Here alone; `queue` has Stripe told."""
    await billing_details.change_billing_name(
        harness.services.database,
        queue,
        owner,
        harness.holder.account_id,
        name=name,
        now=harness.now,
    )


async def send(harness: BillingHarness) -> None:
    services = harness.services
    await send_details(services.database, services.provider, harness.holder.account_number)


async def test_new_customer_of_an_organization_has_its_owners_address(
    harness: BillingHarness, owner: UserActor
) -> None:
    await portal(harness)
    assert at_stripe(harness) == ("Acme", owner.email)


async def test_organization_without_an_address(harness: BillingHarness) -> None:
    await portal(harness)
    assert at_stripe(harness) == ("Acme", None)
    await send(harness)
    assert await harness.reconcile() == []


async def test_details_that_come_back_are_sent_again(
    harness: BillingHarness, owner: UserActor
) -> None:
    """No key of an earlier request is used: Stripe would answer without doing anything."""
    await portal(harness)
    for name in ("Shelley Ltd", "Acme", "Shelley Ltd", "Acme"):
        await rename(harness, owner, name)
        await send(harness)
        assert at_stripe(harness)[0] == name


async def test_stripe_away_is_no_loss(harness: BillingHarness, owner: UserActor) -> None:
    await portal(harness)
    await rename(harness, owner, "Shelley Ltd")
    harness.sandbox.fault(kind="status", status=503, path="/v1/customers/*", times=9)
    with pytest.raises(PaymentProviderUnavailableError):
        await send(harness)
    harness.sandbox.http.delete("/_sandbox/faults")
    await send(harness)
    assert at_stripe(harness)[0] == "Shelley Ltd"


async def test_deleted_customer_is_replaced_by_one_with_the_newest_details(
    harness: BillingHarness, owner: UserActor
) -> None:
    await portal(harness)
    harness.client.v1.customers.delete(harness.customer_id())
    await rename(harness, owner, "Shelley Ltd")
    await send(harness)
    await portal(harness)
    assert at_stripe(harness) == ("Shelley Ltd", owner.email)


async def test_account_without_a_customer_has_nothing_to_send(harness: BillingHarness) -> None:
    await send(harness)
    assert [each for each in harness.sandbox.requests() if each["method"] == "POST"] == []


class Meanwhile:
    """The provider, but something happens right after each of its first calls."""

    def __init__(
        self, harness: BillingHarness, method: str, *happen: Callable[[], Awaitable[Any]]
    ) -> None:
        self._provider = harness.services.provider
        self._method = method
        self._happen = list(happen)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._provider, name)
        if name != self._method:
            return real

        async def call(*args: Any, **options: Any) -> Any:
            done = await real(*args, **options)
            if self._happen:
                await self._happen.pop(0)()
            return done

        return call


async def test_details_that_change_while_they_are_sent(
    harness: BillingHarness, owner: UserActor
) -> None:
    await portal(harness)
    await rename(harness, owner, "First")
    provider: Any = Meanwhile(
        harness,
        "update_customer",
        lambda: rename(harness, owner, "Second"),
        lambda: rename(harness, owner, "Third"),
    )
    await send_details(harness.services.database, provider, harness.holder.account_number)
    assert at_stripe(harness)[0] == "Third"


async def test_details_that_never_rest_are_tried_again_later(
    harness: BillingHarness, owner: UserActor
) -> None:
    await portal(harness)
    changes = [
        lambda name=name: rename(harness, owner, name)
        for name in map(str, range(customer_details.ATTEMPTS))
    ]
    provider: Any = Meanwhile(harness, "update_customer", *changes)
    await rename(harness, owner, "First")
    number = harness.holder.account_number
    with pytest.raises(DetailsChangingError):
        await send_details(harness.services.database, provider, number)


async def test_details_that_change_while_the_customer_is_created(
    harness: BillingHarness, owner: UserActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job finds no customer yet, so whoever creates it looks again."""

    async def change_and_run_the_job() -> None:
        await rename(harness, owner, "Shelley Ltd")
        await send(harness)

    provider: Any = Meanwhile(harness, "create_customer", change_and_run_the_job)
    monkeypatch.setattr(harness.services.subscriptions, "_provider", provider)
    await portal(harness)
    assert at_stripe(harness) == ("Shelley Ltd", owner.email)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_details_that_change_after_an_interrupted_creation(
    harness: BillingHarness, owner: UserActor, when: str
) -> None:
    """The same key with other details is a conflict at Stripe; still, there is one customer."""
    harness.sandbox.fault(
        kind="status", status=500, method="POST", path="/v1/customers", when=when, times=3
    )
    with pytest.raises(PaymentProviderUnavailableError):
        await portal(harness)
    harness.sandbox.http.delete("/_sandbox/faults")
    await rename(harness, owner, "Shelley Ltd")
    await portal(harness)
    assert at_stripe(harness) == ("Shelley Ltd", owner.email)
    assert len(harness.client.v1.customers.list().data) == 1


# Purchase-order number


async def order(harness: BillingHarness, owner: UserActor, number: str) -> None:
    """Here alone."""
    await billing_details.change_purchase_order(
        harness.services.database,
        None,
        owner,
        harness.holder.account_id,
        purchase_order=number,
        now=harness.now,
    )


def fields_at_stripe(harness: BillingHarness) -> list[tuple[str, str]]:
    settings = harness.client.v1.customers.retrieve(harness.customer_id()).invoice_settings
    found = (settings and settings.custom_fields) or []
    return [(field.name, field.value) for field in found]


async def test_purchase_order_is_on_invoices_beside_other_fields(
    harness: BillingHarness, owner: UserActor
) -> None:
    await portal(harness)
    harness.client.v1.customers.update(
        harness.customer_id(),
        {"invoice_settings": {"custom_fields": [{"name": "Cost centre", "value": "12"}]}},
    )
    await rename(harness, owner, "Shelley Ltd")
    await send(harness)
    assert fields_at_stripe(harness) == [("Cost centre", "12")]
    await order(harness, owner, "PO 4711")
    await send(harness)
    both = [("Purchase order", "PO 4711"), ("Cost centre", "12")]
    assert fields_at_stripe(harness) == both
    made = harness.client.v1.invoices.create({"customer": harness.customer_id()})
    assert [(each.name, each.value) for each in made.custom_fields or []] == both
    await order(harness, owner, "")
    await send(harness)
    assert fields_at_stripe(harness) == [("Cost centre", "12")]


async def test_new_customer_has_the_purchase_order(
    harness: BillingHarness, owner: UserActor
) -> None:
    await order(harness, owner, "PO 4711")
    await portal(harness)
    assert fields_at_stripe(harness) == [("Purchase order", "PO 4711")]


async def test_reconciliation_heals_the_purchase_order(
    harness: BillingHarness, owner: UserActor
) -> None:
    await portal(harness)
    await order(harness, owner, "PO 4711")
    (found,) = await harness.reconcile()
    assert (found.what, found.theirs, found.ours, found.healed) == (
        "details",
        f"Acme, {owner.email}, purchase order none",
        f"Acme, {owner.email}, purchase order PO 4711",
        True,
    )
    assert fields_at_stripe(harness) == [("Purchase order", "PO 4711")]
    assert await harness.reconcile() == []


# Reconciliation


async def test_reconciliation_heals_what_differs(harness: BillingHarness, owner: UserActor) -> None:
    await portal(harness)
    assert await harness.reconcile() == []
    await rename(harness, owner, "Shelley Ltd")
    (found,) = await harness.reconcile(dry_run=True)
    assert (found.what, found.healed) == ("details", False)
    assert at_stripe(harness)[0] == "Acme"
    (found,) = await harness.reconcile()
    assert (found.what, found.provider_id, found.theirs, found.ours, found.healed) == (
        "details",
        harness.customer_id(),
        f"Acme, {owner.email}",
        f"Shelley Ltd, {owner.email}",
        True,
    )
    assert at_stripe(harness)[0] == "Shelley Ltd"
    assert [each for each in await harness.reconcile() if each.what == "details"] == []


async def test_details_that_stripe_refuses_are_reported(
    harness: BillingHarness, owner: UserActor
) -> None:
    await portal(harness)
    await rename(harness, owner, "Shelley Ltd")
    harness.sandbox.fault(kind="status", status=400, method="POST", path="/v1/customers/*", times=9)
    (found,) = await harness.reconcile()
    assert (found.what, found.healed) == ("details", False)


async def test_copied_database_reports_and_sends_nothing(
    harness: BillingHarness, owner: UserActor, copies: Copies
) -> None:
    await portal(harness)
    copy = await copies.of(harness)
    await rename(copy, owner, "Copied Ltd")
    (found,) = [each for each in await copy.reconcile() if each.what == "details"]
    assert (found.healed, at_stripe(harness)[0]) == (False, "Acme")


# The jobs of a running site


async def test_worker_tells_stripe_though_it_was_away(storefront: Storefront) -> None:
    holder, owner = organization(storefront.url), person(storefront.url, "Ada")
    membership(storefront.url, holder.organization_id, owner.user_id, Role.OWNER)
    services = build_services(payment_settings(storefront.sandbox), storefront.url)
    queue, now = DbosDetailsQueue(webhooks.client(storefront.url)), datetime.now(UTC)
    database, account_id = services.database, holder.account_id
    try:
        await services.subscriptions.portal_url(owner, account_id, return_url=PUBLIC_URL, now=now)
        storefront.sandbox.fault(
            kind="status", status=503, method="POST", path="/v1/customers/*", times=4
        )
        for name in ("One", "Two", "Three"):
            await billing_details.change_billing_name(
                database, queue, owner, account_id, name=name, now=now
            )
        async with database.reading() as session:
            customer_id = (
                await session.get_one(ProviderCustomer, holder.account_number)
            ).customer_id
    finally:
        await services.close()
    retrieve = storefront.stripe.v1.customers.retrieve
    until(lambda: retrieve(customer_id).name == "Three", 60.0)


async def test_change_that_is_rolled_back_queues_nothing(storefront: Storefront) -> None:
    database = Database(storefront.url)
    queue = DbosDetailsQueue(webhooks.client(storefront.url))
    number = organization(storefront.url).account_number
    try:
        async with database.transaction() as session:
            await queue.customer_details(session, number)
            await session.rollback()
    finally:
        await database.dispose()
    with connect(storefront.url) as connection:
        found = connection.execute(
            "SELECT 1 FROM dbos.workflow_status WHERE queue_partition_key = %s", [str(number)]
        ).fetchall()
    assert found == []

"""Events in any order, repeated, late or missing: the database ends up the same."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from billing_app.payments import webhooks
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, type_card

Step = Callable[[BillingHarness], Awaitable[object]]


async def _checkout(harness: BillingHarness) -> None:
    type_card((await harness.begin("starter")).checkout_url)


async def _pack(harness: BillingHarness) -> None:
    type_card((await harness.begin("pack")).checkout_url)


async def _renew(harness: BillingHarness) -> None:
    (found,) = harness.subscriptions("active")
    end = found["items"].data[0].current_period_end
    harness.skip(end - harness.now.timestamp() + 2 * HOUR)


async def _bad_card(harness: BillingHarness) -> None:
    harness.use_card("pm_card_chargeCustomerFail")


async def _good_card_pays(harness: BillingHarness) -> None:
    harness.skip(2 * DAY)
    harness.use_card("pm_card_visa")
    for invoice in harness.invoices():
        if invoice.status == "open":
            harness.client.v1.invoices.pay(str(invoice.id))


async def _refund(harness: BillingHarness) -> None:
    harness.client.v1.refunds.create({"charge": harness.charges()[0].id})


async def _dispute(harness: BillingHarness) -> None:
    harness.use_card("pm_card_createDispute")


def _at_stripe(change: dict[str, Any]) -> Step:
    async def step(harness: BillingHarness) -> None:
        params: Any = change
        harness.client.v1.subscriptions.update(harness.subscriptions("active")[0].id, params)

    return step


async def _gone(harness: BillingHarness) -> None:
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[0].id)


SCENARIOS: dict[str, list[Step]] = {
    "pays, renews, fails, pays, cancels": [
        _checkout,
        _renew,
        _bad_card,
        _renew,
        _good_card_pays,
        _at_stripe({"cancel_at_period_end": True}),
    ],
    "pack, pays, is refunded, is cancelled": [_pack, _checkout, _refund, _gone],
    "pays, fails and is given up": [_checkout, _bad_card, _renew],
    "pays and disputes a renewal": [_checkout, _dispute, _renew],
}


async def _play(
    harness: BillingHarness, steps: list[Step], deliver: Callable[[int], Awaitable[None]]
) -> None:
    for number, step in enumerate(steps):
        await step(harness)
        await deliver(number)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_shuffled_doubled_and_late_events_have_the_same_result(
    harness: BillingHarness, name: str
) -> None:
    """Events are held back, shuffled and repeated at random; in the end all have arrived. Then the
    rows are deleted and the events applied again in order: the same rows."""
    generator = random.Random(name)  # noqa: S311
    kept: list[Any] = []

    async def some(number: int) -> None:
        kept.extend(harness.missed())
        generator.shuffle(kept)
        is_last = number == len(SCENARIOS[name]) - 1
        count = len(kept) if is_last else generator.randrange(len(kept) // 2 + 1)
        now = [kept.pop() for _ in range(count)]
        await harness.deliver_each(now + generator.sample(now, len(now) // 3))

    await _play(harness, SCENARIOS[name], some)
    shuffled = harness.snapshot()
    _forget(harness)
    harness._seen.clear()
    await harness.deliver_each(harness.missed())
    assert harness.snapshot() == shuffled
    assert shuffled["plans"]
    assert harness.rows("SELECT count(*) FROM webhook_events WHERE state <> 'processed'") == [(0,)]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_one_reconciliation_repairs_a_week_without_webhooks(
    harness: BillingHarness, name: str
) -> None:
    async def nothing(_: int) -> None:
        return None

    await _play(harness, SCENARIOS[name], nothing)
    before = harness.snapshot()
    told = await harness.reconcile(dry_run=True)
    assert told
    assert not any(difference.healed for difference in told)
    assert harness.snapshot() == before, "a dry run changes nothing"
    assert harness.rows("SELECT count(*) FROM webhook_events") == [(0,)]
    found = await harness.reconcile()
    assert {each.what for each in found} == {each.what for each in told}
    assert all(difference.healed for difference in found), found
    healed = harness.snapshot()
    assert await harness.reconcile() == [], "one run is enough"
    _forget(harness)
    await harness.deliver_each(harness.missed())
    assert harness.snapshot() == healed
    assert harness.rows("SELECT count(*) FROM webhook_events WHERE state <> 'processed'") == [(0,)]


async def test_unknown_event_type_is_stored_and_ignored(harness: BillingHarness) -> None:
    await harness.subscribed()
    events = dict(harness.rows("SELECT type, state FROM webhook_events"))
    assert "payment_intent.succeeded" in events
    assert "payment_intent.succeeded" not in webhooks.REFETCH
    assert set(events.values()) == {"processed"}


async def test_foreign_customers_are_ignored(harness: BillingHarness) -> None:
    price = harness.client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Another product"},
        }
    )
    stranger = harness.client.v1.customers.create(
        {"name": "Not ours", "email": "ada@example.com"}
    ).id
    method = harness.client.v1.payment_methods.attach("pm_card_visa", {"customer": stranger}).id
    harness.client.v1.subscriptions.create(
        {"customer": stranger, "items": [{"price": price.id}], "default_payment_method": method}
    )
    await harness.deliver()
    assert (harness.plans(), harness.rows("SELECT * FROM invoices")) == ([], [])
    assert await harness.reconcile() == []


async def test_reconciliation_reports_customers_with_our_metadata(
    harness: BillingHarness,
) -> None:
    """Created just before a crash: adopted. Of an unknown account: only reported."""
    mark = {"billing_account": harness.holder.account_id}
    ours = harness.client.v1.customers.create({"name": "Acme", "metadata": mark}).id
    other = {"billing_account": "acc_0123456789abcdef"}
    theirs = harness.client.v1.customers.create({"name": "Elsewhere", "metadata": other}).id
    found = {each.provider_id: each.healed for each in await harness.reconcile()}
    assert found == {ours: True, theirs: False}
    assert harness.customer_id() == ours
    await harness.begin("starter")
    assert len(harness.client.v1.customers.list().data) == 2


def _forget(harness: BillingHarness) -> None:
    """Delete everything that events created."""
    for table in ("plans", "invoices", "subscriptions", "webhook_events", "reconciliations"):
        harness.rows(f"DELETE FROM {table} RETURNING 1")  # noqa: S608
    harness.rows("UPDATE checkouts SET status = 'open' WHERE number = ("
             " SELECT max(number) FROM checkouts) RETURNING 1")  # fmt: skip

"""Events in any order, twice, late or never: the database ends up the same."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from billing_app.payments import webhooks
from tests.payments.billing_harness import DAY, HOUR, Bed, type_card

Step = Callable[[Bed], Awaitable[object]]


async def _checkout(bed: Bed) -> None:
    type_card((await bed.begin("starter")).checkout_url)


async def _pack(bed: Bed) -> None:
    type_card((await bed.begin("pack")).checkout_url)


async def _renew(bed: Bed) -> None:
    (found,) = bed.subscriptions("active")
    end = found["items"].data[0].current_period_end
    bed.skip(end - bed.now.timestamp() + 2 * HOUR)


async def _bad_card(bed: Bed) -> None:
    bed.use_card("pm_card_chargeCustomerFail")


async def _good_card_pays(bed: Bed) -> None:
    bed.skip(2 * DAY)
    bed.use_card("pm_card_visa")
    for invoice in bed.invoices():
        if invoice.status == "open":
            bed.client.v1.invoices.pay(str(invoice.id))


async def _refund(bed: Bed) -> None:
    bed.client.v1.refunds.create({"charge": bed.charges()[0].id})


async def _dispute(bed: Bed) -> None:
    bed.use_card("pm_card_createDispute")


def _at_stripe(change: dict[str, Any]) -> Step:
    async def step(bed: Bed) -> None:
        params: Any = change
        bed.client.v1.subscriptions.update(bed.subscriptions("active")[0].id, params)

    return step


async def _gone(bed: Bed) -> None:
    bed.client.v1.subscriptions.cancel(bed.subscriptions()[0].id)


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


async def _play(bed: Bed, steps: list[Step], deliver: Callable[[int], Awaitable[None]]) -> None:
    for number, step in enumerate(steps):
        await step(bed)
        await deliver(number)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_shuffled_doubled_and_late_events_come_to_the_same(bed: Bed, name: str) -> None:
    """Events are kept back at random, mixed and doubled; at the end all have come. Then everything
    is forgotten and told again in order: the same rows."""
    generator = random.Random(name)  # noqa: S311
    kept: list[Any] = []

    async def some(number: int) -> None:
        kept.extend(bed.missed())
        generator.shuffle(kept)
        is_last = number == len(SCENARIOS[name]) - 1
        count = len(kept) if is_last else generator.randrange(len(kept) // 2 + 1)
        now = [kept.pop() for _ in range(count)]
        await bed.deliver_each(now + generator.sample(now, len(now) // 3))

    await _play(bed, SCENARIOS[name], some)
    shuffled = bed.snapshot()
    _forget(bed)
    bed._seen.clear()
    await bed.deliver_each(bed.missed())
    assert bed.snapshot() == shuffled
    assert shuffled["plans"]
    assert bed.rows("SELECT count(*) FROM webhook_events WHERE state <> 'processed'") == [(0,)]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_week_without_webhooks_is_healed_by_one_reconciliation(bed: Bed, name: str) -> None:
    async def nothing(_: int) -> None:
        return None

    await _play(bed, SCENARIOS[name], nothing)
    before = bed.snapshot()
    told = await bed.reconcile(dry_run=True)
    assert told
    assert not any(difference.healed for difference in told)
    assert bed.snapshot() == before, "a dry run changes nothing"
    assert bed.rows("SELECT count(*) FROM webhook_events") == [(0,)]
    found = await bed.reconcile()
    assert {each.what for each in found} == {each.what for each in told}
    assert all(difference.healed for difference in found), found
    healed = bed.snapshot()
    assert await bed.reconcile() == [], "one run is enough"
    _forget(bed)
    await bed.deliver_each(bed.missed())
    assert bed.snapshot() == healed
    assert bed.rows("SELECT count(*) FROM webhook_events WHERE state <> 'processed'") == [(0,)]


async def test_an_unknown_type_is_stored_and_left_alone(bed: Bed) -> None:
    await bed.subscribed()
    events = dict(bed.rows("SELECT type, state FROM webhook_events"))
    assert "payment_intent.succeeded" in events
    assert "payment_intent.succeeded" not in webhooks.HANDLERS
    assert set(events.values()) == {"processed"}


async def test_somebody_elses_customer_is_left_alone(bed: Bed) -> None:
    price = bed.client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Another product"},
        }
    )
    stranger = bed.client.v1.customers.create({"name": "Not ours", "email": "ada@example.com"}).id
    method = bed.client.v1.payment_methods.attach("pm_card_visa", {"customer": stranger}).id
    bed.client.v1.subscriptions.create(
        {"customer": stranger, "items": [{"price": price.id}], "default_payment_method": method}
    )
    await bed.deliver()
    assert (bed.plans(), bed.rows("SELECT * FROM invoices")) == ([], [])
    assert await bed.reconcile() == []


async def test_reconciliation_tells_of_customers_that_carry_our_mark(bed: Bed) -> None:
    """Made just before a crash: taken over. Of an account that is not here: only told."""
    mark = {"billing_account": bed.holder.account_id}
    ours = bed.client.v1.customers.create({"name": "Acme", "metadata": mark}).id
    other = {"billing_account": "acc_0123456789abcdef"}
    theirs = bed.client.v1.customers.create({"name": "Elsewhere", "metadata": other}).id
    found = {each.provider_id: each.healed for each in await bed.reconcile()}
    assert found == {ours: True, theirs: False}
    assert bed.customer_id() == ours
    await bed.begin("starter")
    assert len(bed.client.v1.customers.list().data) == 2


def _forget(bed: Bed) -> None:
    """Everything that events tell, as if none had come."""
    for table in ("plans", "invoices", "subscriptions", "webhook_events", "reconciliations"):
        bed.rows(f"DELETE FROM {table} RETURNING 1")  # noqa: S608
    bed.rows("UPDATE checkouts SET status = 'open' WHERE number = ("
             " SELECT max(number) FROM checkouts) RETURNING 1")  # fmt: skip

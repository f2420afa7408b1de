"""An event re-reads what it is about; the result is that of reading everything."""

import os
import random
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import pytest
import stripe
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions import mirror_store
from billing_app.billing.subscriptions.mirror import Mirror
from billing_app.billing.subscriptions.provider import ProviderSnapshot
from billing_app.payments.call_metrics import operation
from tests.databases import DatabasePool
from tests.factories import connect
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, fresh_harness
from tests.payments.histories import ACTS, History
from tests.stripe_sandbox.running import Sandbox

SEARCHED: Final = int(os.environ.get("HISTORIES", "0"))
MONTH: Final = 31 * DAY
# What no event tells about.
UNTOLD: Final = ("lose",)


async def mirror_of(harness: BillingHarness) -> Mirror:
    async with harness.services.database.reading() as session:
        state = await mirror_store.load(session, harness.customer_id())
    assert state is not None
    assert state.mirror is not None
    return state.mirror


async def whole(harness: BillingHarness) -> ProviderSnapshot:
    return await harness.services.provider.customer_snapshot(harness.customer_id())


def everything(harness: BillingHarness) -> dict[str, Any]:
    """What syncs write, without the times when they did."""
    names = "account_id, synced_at, bank_asked_at, bank_decided_at"
    found = harness.snapshot()
    for table, key in (("subscriptions", "provider_id"), ("invoices", "provider_id")):
        rows = harness.rows(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY {key}")  # noqa: S608
        found[f"all of {table}"] = [
            {name: value for name, value in row[0].items() if name not in names} for row in rows
        ]
    return found


def requests_of(harness: BillingHarness) -> list[str]:
    found = [each for each in harness.sandbox.requests() if each["path"].startswith("/v1/")]
    return [operation(each["method"], each["path"]) for each in found]


async def require_as_read_whole(harness: BillingHarness) -> None:
    """The mirror is what Stripe has, and reading everything changes nothing."""
    theirs = await whole(harness)
    ours = (await mirror_of(harness)).snapshot
    assert ours.subscriptions == theirs.subscriptions
    assert ours.invoices == theirs.invoices
    before = everything(harness)
    await harness.services.subscriptions.syncing.customer(harness.customer_id(), harness.now)
    assert everything(harness) == before


async def renewed(harness: BillingHarness) -> None:
    """A renewal as Stripe does it: a draft, and an hour later the payment."""
    left = (harness.subscriptions()[0].items.data[0].current_period_end) - harness.now.timestamp()
    harness.skip(max(left, 0) + 60)
    await harness.deliver_each(harness.missed())
    harness.skip(2 * HOUR)
    await harness.deliver_each(harness.missed())


@settings(
    max_examples=SEARCHED or 8,
    deadline=None,
    derandomize=not SEARCHED,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes many minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    acts=st.lists(ACTS.filter(lambda act: act[0] not in UNTOLD), min_size=6, max_size=14),
    seed=st.integers(0, 10_000),
)
async def test_events_in_any_order_leave_what_reading_everything_leaves(
    sandbox_process: Sandbox, database_pool: DatabasePool, acts: list[tuple[str, Any]], seed: int
) -> None:
    order = random.Random(seed)  # noqa: S311
    async with fresh_harness(sandbox_process, database_pool) as harness:
        await harness.subscribed("starter")
        harness.use_card("pm_card_visa")
        history = History(harness)
        for kind, what in acts:
            with suppress(BillingError, stripe.StripeError):
                await history.act(kind, what)
            if order.random() < 0.5:
                events = harness.missed()
                order.shuffle(events)
                with suppress(BillingError):
                    await harness.deliver_each(events)
        await history.settle()
        harness.sandbox.http.delete("/_sandbox/faults")
        undelivered = harness.rows("SELECT id FROM webhook_events WHERE state <> 'processed'")
        await harness.deliver()
        await _deliver_again(harness, [row[0] for row in undelivered])
        await require_as_read_whole(harness)
        assert sandbox_process.take_violations() == []


async def _deliver_again(harness: BillingHarness, event_ids: list[str]) -> None:
    from billing_app.payments import webhooks

    syncing = harness.services.subscriptions.syncing
    for event_id in event_ids:
        await webhooks.process_event(harness.services.database, syncing, event_id, harness.now)


async def test_renewal_leaves_the_history_alone(harness: BillingHarness) -> None:
    await harness.subscribed()
    for _ in range(3):
        await renewed(harness)
    before = len(requests_of(harness))
    await renewed(harness)
    made = requests_of(harness)[before:]
    ours = [each for each in made if each != "GET /v1/events"]
    assert "GET /v1/charges" not in ours
    await require_as_read_whole(harness)
    assert len(harness.plans()) == 5


async def test_events_of_one_act_are_read_once(harness: BillingHarness) -> None:
    await harness.subscribed()
    harness.skip(MONTH + 3 * HOUR)
    events = [each for each in harness.missed() if each.type.startswith(("invoice.", "customer."))]
    assert len(events) > 4
    from billing_app.payments import replay_protection, webhooks

    services = harness.services
    for event in events:
        await replay_protection.store_event(services.database, event, harness.now)
    before = len(requests_of(harness))
    for event in events:
        syncing = services.subscriptions.syncing
        await webhooks.process_event(services.database, syncing, event.id, harness.now)
    made = requests_of(harness)[before:]
    assert (
        sorted(made)
        == ["GET /v1/invoices", "GET /v1/invoices", "GET /v1/subscriptions"][-len(made) :]
    )
    await require_as_read_whole(harness)


async def test_refund_of_an_old_invoice_reads_that_invoice(harness: BillingHarness) -> None:
    await harness.subscribed()
    for _ in range(2):
        await renewed(harness)
    first = harness.charges()[0]
    harness.client.v1.refunds.create({"charge": first.id})
    before = len(requests_of(harness))
    await harness.deliver_each(harness.missed())
    made = [each for each in requests_of(harness)[before:] if each != "GET /v1/events"]
    assert set(made) == {"GET /v1/invoices/{id}", "GET /v1/charges"}
    assert next(plan["ended_because"] for plan in harness.plans()) is not None
    await require_as_read_whole(harness)


async def test_dispute_of_an_old_invoice_suspends_its_plan(harness: BillingHarness) -> None:
    await harness.subscribed()
    await renewed(harness)
    harness.sandbox.control("disputes", charge=harness.charges()[0].id)
    await harness.deliver_each(harness.missed())
    invoices = (await mirror_of(harness)).snapshot.invoices
    assert invoices[0].reversal is not None
    await require_as_read_whole(harness)


async def test_invoices_missed_before_an_event_come_with_it(harness: BillingHarness) -> None:
    await harness.subscribed()
    harness.skip(3 * MONTH)
    last = [each for each in harness.missed() if each.type == "invoice.paid"][-1]
    await harness.deliver_each([last])
    assert len(harness.plans()) == 4
    assert (await mirror_of(harness)).snapshot.invoices == (await whole(harness)).invoices


async def test_what_an_earlier_release_applied_is_not_undone(harness: BillingHarness) -> None:
    """It keeps no mirror: what it applied makes the mirror that is there worthless."""
    await harness.subscribed()
    mirror = await mirror_of(harness)
    with connect(harness.url) as connection:
        connection.execute("UPDATE provider_customers SET customer_id = customer_id")
        connection.execute(
            "UPDATE mirrored_invoices SET invoice = jsonb_set(invoice, '{status}', '\"open\"')"
        )
    async with harness.services.database.reading() as session:
        state = await mirror_store.load(session, harness.customer_id())
    assert state is not None
    assert state.mirror is None
    await renewed(harness)
    assert (await mirror_of(harness)).snapshot.invoices[0] == mirror.snapshot.invoices[0]
    await require_as_read_whole(harness)


async def test_mirror_of_another_format_is_read_anew(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.subscribed()
    monkeypatch.setattr(mirror_store, "FORMAT", 2)
    await renewed(harness)
    await require_as_read_whole(harness)


async def test_deleted_draft_leaves_the_mirror(harness: BillingHarness) -> None:
    await harness.subscribed()
    draft = harness.client.v1.invoices.create({"customer": harness.customer_id()})
    await harness.deliver_each(harness.missed())
    assert draft.id in {each.provider_id for each in (await whole(harness)).invoices}
    harness.client.v1.invoices.delete(str(draft.id))
    await renewed(harness)
    assert draft.id not in {
        each.invoice.provider_id for each in (await mirror_of(harness)).invoices
    }
    await require_as_read_whole(harness)


async def test_overtaken_read_does_not_undo_the_newer_one(
    harness: BillingHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, by an event about something else: both are applied."""
    await harness.subscribed()
    harness.skip(MONTH + 3 * HOUR)
    provider, syncing = harness.services.provider, harness.services.subscriptions.syncing
    events = harness.missed()
    reads, customer_id = provider.subscriptions_of, harness.customer_id()
    overtaken = 0

    async def slow(customer_id: str) -> Any:
        nonlocal overtaken
        found = await reads(customer_id)
        if overtaken < 2:
            overtaken += 1
            await harness.deliver_each([e for e in events if e.type == "invoice.paid"][:1])
            with connect(harness.url) as connection:
                connection.execute("UPDATE webhook_events SET state = 'received'")
        return found

    monkeypatch.setattr(provider, "subscriptions_of", slow)
    await syncing.customer(customer_id, harness.now)
    assert overtaken == 2
    await require_as_read_whole(harness)
    assert len(harness.plans()) == 2


async def test_replayed_event_reads_everything(harness: BillingHarness) -> None:
    await harness.subscribed()
    [event] = list(harness.sandbox.client().v1.events.list({"type": "invoice.paid"}))
    with connect(harness.url) as connection:
        connection.execute("DELETE FROM plans")
        connection.execute(
            "UPDATE webhook_events SET state = 'failed', replays = 1 WHERE id = %s", [event.id]
        )
    await _deliver_again(harness, [event.id])
    assert len(harness.plans()) == 1


def test_returned_amounts_are_replaced_and_not_added() -> None:
    from billing_app.billing.subscriptions.provider import ReturnedPayment
    from tests.payments.test_debit_words import INVOICE

    once = INVOICE.with_returned([ReturnedPayment("pi_1", 5, 2, None)])
    again = once.with_returned([ReturnedPayment("pi_1", 7, 0, None)])
    assert (
        once.refunded_minor - INVOICE.refunded_minor,
        once.waived_minor - INVOICE.waived_minor,
    ) == (5, 2)
    assert again == replace(
        once,
        refunded_minor=INVOICE.refunded_minor + 7,
        waived_minor=INVOICE.waived_minor,
        returned=again.returned,
    )

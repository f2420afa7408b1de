"""Refunds end the plan that was paid for; disputes suspend it until they are decided."""

from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.executions.requests import Caller, Mode, Refund
from billing_app.db.enums import When
from billing_app.payments.translate import provider_event_of
from tests.payments.billing_harness import DISPUTED, BillingHarness, accepted, commit_of, type_card

pytestmark = pytest.mark.stripe_test_mode


async def test_full_refund_ends_plan(harness: BillingHarness) -> None:
    await harness.subscribed()
    held = accepted(await harness.use(5, Mode.RESERVE))
    (charge,) = harness.charges()
    harness.client.v1.refunds.create({"charge": charge.id, "amount": 900})
    await harness.deliver()
    assert await harness.denied() == ""
    harness.client.v1.refunds.create({"charge": charge.id})
    await harness.deliver()
    assert await harness.denied() == "insufficient_executions"
    (plan,) = harness.plans()
    assert plan["ended_because"] == "cancelled"
    accepted(await harness.decide(commit_of(held)))


async def test_refunded_pack_ends_and_subscription_continues(harness: BillingHarness) -> None:
    type_card((await harness.begin("pack")).checkout_url)
    await harness.deliver()
    (pack_charge,) = harness.charges()
    await harness.subscribed()
    harness.client.v1.refunds.create({"charge": pack_charge.id})
    await harness.deliver()
    ends = {plan["source"]: plan["ended_because"] for plan in harness.plans()}
    assert ends == {"pack": "cancelled", "subscription": None}


async def test_refund_known_before_its_payment_ends_plan(harness: BillingHarness) -> None:
    type_card((await harness.begin("starter")).checkout_url)
    (charge,) = harness.charges()
    harness.client.v1.refunds.create({"charge": charge.id})
    await harness.deliver()
    (plan,) = harness.plans()
    assert plan["ended_because"] == "cancelled"
    assert await harness.denied() == "insufficient_executions"


@pytest.mark.parametrize("kind", ["refund.updated", "refund.failed", "charge.refund.updated"])
async def test_later_refund_result_is_looked_up_by_charge(
    harness: BillingHarness, kind: str
) -> None:
    """Such an event names no customer (docs.stripe.com/api/refunds/object). The sandbox's refunds
    do not fail, so that here the event tells first of one that worked."""
    await harness.subscribed("starter")
    (charge,) = harness.charges()
    refund = harness.client.v1.refunds.create({"charge": charge.id, "amount": 900})
    told = {"id": refund.id, "object": "refund", "charge": charge.id}
    payload = {
        "id": f"evt_{kind}",
        "object": "event",
        "type": kind,
        "created": int(harness.now.timestamp()),
        "data": {"object": told},
    }
    await harness.deliver_each([provider_event_of(payload)])
    assert harness.rows("SELECT refunded_minor FROM invoices") == [(900,)]


@pytest.mark.parametrize(
    ("evidence", "denial"),
    [("winning_evidence", ""), ("losing_evidence", "insufficient_executions")],
)
async def test_dispute_suspends_plan_until_decided(
    harness: BillingHarness, evidence: str, denial: str
) -> None:
    await harness.subscribed("starter", DISPUTED)
    (dispute,) = harness.client.v1.disputes.list().data
    assert await harness.denied() == "payment_past_due"
    told: Any = {"evidence": {"uncategorized_text": evidence}, "submit": True}
    harness.client.v1.disputes.update(dispute.id, told)
    await harness.deliver()
    assert await harness.denied() == denial
    (plan,) = harness.plans()
    assert plan["ended_because"] == (None if denial == "" else "cancelled")


@pytest.mark.parametrize(("refunded", "ends"), [(0, False), (1_800, True)])
async def test_small_lost_dispute_ends_plan_when_the_rest_was_refunded(
    harness: BillingHarness, refunded: int, ends: bool
) -> None:
    await harness.subscribed("starter")
    charge = harness.charges()[0]
    if refunded:
        harness.client.v1.refunds.create({"charge": charge.id, "amount": refunded})
    harness.sandbox.control("disputes", charge=charge.id, amount=100)
    (dispute,) = harness.client.v1.disputes.list().data
    told: Any = {"evidence": {"uncategorized_text": "losing_evidence"}, "submit": True}
    harness.client.v1.disputes.update(dispute.id, told)
    await harness.deliver()
    assert (harness.plans()[0]["ended_because"] is not None) is ends
    assert await harness.reconcile(dry_run=True) == []


async def test_new_card_pays_overdue_invoice_and_restores_plan(
    harness: BillingHarness,
) -> None:
    first = await harness.subscribed()
    harness.use_card("pm_card_chargeCustomerFail")
    harness.skip((first.period_end - harness.now).total_seconds() + 9 * 86_400)
    await harness.deliver()
    assert await harness.denied() == "payment_past_due"
    harness.use_card("pm_card_visa")
    open_ones = [invoice for invoice in harness.invoices() if invoice.status == "open"]
    harness.client.v1.invoices.pay(str(open_ones[0].id))
    await harness.deliver()
    assert await harness.denied() == ""
    assert (await harness.live()).status == "active"


@pytest.mark.parametrize("how", ["cancelled", "refunded"])
async def test_execution_refund_does_not_reopen_refunded_plan(
    harness: BillingHarness, how: str
) -> None:
    await harness.subscribed("starter")
    used = accepted(await harness.use(5_000))
    if how == "cancelled":
        await harness.cancel(When.NOW)
    else:
        (charge,) = harness.charges()
        harness.client.v1.refunds.create({"charge": charge.id})
    await harness.deliver()
    pair = ids.decode(ids.EVENT, used["event_id"])
    assert pair is not None
    caller = Caller(api_key_id=None, organization_id=None)
    accepted(await harness.decide(Refund(*pair, None, "It failed", "back", caller)))
    assert await harness.denied() == "insufficient_executions"
    assert await harness.reconcile() == []
    (plan,) = harness.plans()
    assert (plan["used"], plan["ended_because"]) == (0, "depleted")

"""Money that goes back takes its plan along; disputes hold it until they are decided."""

from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.executions.requests import Caller, Mode, Refund
from billing_app.db.enums import When
from billing_app.payments.translate import event_facts_of
from tests.payments.billing_harness import DISPUTED, Bed, accepted, commit_of, type_card


async def test_a_full_refund_ends_the_plan(bed: Bed) -> None:
    await bed.subscribed()
    held = accepted(await bed.use(5, Mode.RESERVE))
    (charge,) = bed.charges()
    bed.client.v1.refunds.create({"charge": charge.id, "amount": 900})
    await bed.deliver()
    assert await bed.denied() == ""
    bed.client.v1.refunds.create({"charge": charge.id})
    await bed.deliver()
    assert await bed.denied() == "insufficient_executions"
    (plan,) = bed.plans()
    assert plan["ended_because"] == "cancelled"
    accepted(await bed.decide(commit_of(held)))


async def test_a_refunded_pack_ends_and_the_subscription_goes_on(bed: Bed) -> None:
    type_card((await bed.begin("pack")).checkout_url)
    await bed.deliver()
    (pack_charge,) = bed.charges()
    await bed.subscribed()
    bed.client.v1.refunds.create({"charge": pack_charge.id})
    await bed.deliver()
    ends = {plan["source"]: plan["ended_because"] for plan in bed.plans()}
    assert ends == {"pack": "cancelled", "subscription": None}


async def test_a_refund_that_came_before_its_payment_was_known(bed: Bed) -> None:
    type_card((await bed.begin("starter")).checkout_url)
    (charge,) = bed.charges()
    bed.client.v1.refunds.create({"charge": charge.id})
    await bed.deliver()
    (plan,) = bed.plans()
    assert plan["ended_because"] == "cancelled"
    assert await bed.denied() == "insufficient_executions"


@pytest.mark.parametrize("kind", ["refund.updated", "refund.failed", "charge.refund.updated"])
async def test_what_becomes_of_a_refund_later_is_looked_up_by_its_charge(
    bed: Bed, kind: str
) -> None:
    """Such an event names no customer (docs.stripe.com/api/refunds/object). The sandbox's refunds
    do not fail, so that here the event tells first of one that worked."""
    await bed.subscribed("starter")
    (charge,) = bed.charges()
    refund = bed.client.v1.refunds.create({"charge": charge.id, "amount": 900})
    told = {"id": refund.id, "object": "refund", "charge": charge.id}
    payload = {
        "id": f"evt_{kind}",
        "object": "event",
        "type": kind,
        "created": int(bed.now.timestamp()),
        "data": {"object": told},
    }
    await bed.deliver_each([event_facts_of(payload)])
    assert bed.rows("SELECT refunded_minor FROM invoices") == [(900,)]


@pytest.mark.parametrize(
    ("evidence", "denial"),
    [("winning_evidence", ""), ("losing_evidence", "insufficient_executions")],
)
async def test_a_dispute_suspends_the_plan_until_it_is_decided(
    bed: Bed, evidence: str, denial: str
) -> None:
    await bed.subscribed("starter", DISPUTED)
    (dispute,) = bed.client.v1.disputes.list().data
    assert await bed.denied() == "payment_past_due"
    told: Any = {"evidence": {"uncategorized_text": evidence}, "submit": True}
    bed.client.v1.disputes.update(dispute.id, told)
    await bed.deliver()
    assert await bed.denied() == denial
    (plan,) = bed.plans()
    assert plan["ended_because"] == (None if denial == "" else "cancelled")


async def test_a_new_card_pays_the_overdue_invoice_and_the_plan_is_back(bed: Bed) -> None:
    first = await bed.subscribed()
    bed.use_card("pm_card_chargeCustomerFail")
    bed.skip((first.period_end - bed.now).total_seconds() + 9 * 86_400)
    await bed.deliver()
    assert await bed.denied() == "payment_past_due"
    bed.use_card("pm_card_visa")
    open_ones = [invoice for invoice in bed.invoices() if invoice.status == "open"]
    bed.client.v1.invoices.pay(str(open_ones[0].id))
    await bed.deliver()
    assert await bed.denied() == ""
    assert (await bed.live()).status == "active"


@pytest.mark.parametrize("how", ["cancelled", "refunded"])
async def test_a_refund_of_executions_opens_no_plan_whose_money_is_gone(bed: Bed, how: str) -> None:
    await bed.subscribed("starter")
    used = accepted(await bed.use(5_000))
    if how == "cancelled":
        await bed.cancel(When.NOW)
    else:
        (charge,) = bed.charges()
        bed.client.v1.refunds.create({"charge": charge.id})
    await bed.deliver()
    pair = ids.decode(ids.EVENT, used["event_id"])
    assert pair is not None
    caller = Caller(api_key_id=None, organization_id=None)
    accepted(await bed.decide(Refund(*pair, None, "It failed", "back", caller)))
    assert await bed.denied() == "insufficient_executions"
    assert await bed.reconcile() == []
    (plan,) = bed.plans()
    assert (plan["used"], plan["ended_because"]) == (0, "depleted")

"""Random histories of one customer at Stripe: given = paid for, and reconciliation heals the rest.

The model is plain: each paid line of an offer gives its quantity times its size, once.
"""

from contextlib import suppress
from typing import Any

import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.errors import BillingError
from billing_app.billing.executions.verification import verify
from billing_app.db.enums import When
from tests.databases import DatabasePool
from tests.payments.billing_harness import DAY, OFFERS, BillingHarness, fresh_harness
from tests.payments.test_discounts import discount
from tests.stripe_sandbox.running import Sandbox

SIZES = {f"{code}-v1": terms.executions for code, terms in OFFERS.items()}
PAUSES = ["keep_as_draft", "mark_uncollectible", "void"]
ACTS = st.one_of(
    st.tuples(st.just("use"), st.integers(1, 4_000)),
    st.tuples(st.just("wait"), st.integers(1, 33)),
    st.tuples(st.just("wait"), st.integers(25, 33)),
    st.tuples(st.just("quantity"), st.integers(1, 3)),
    st.tuples(st.just("coupon"), st.sampled_from([10, 50, 100])),
    st.tuples(st.just("pause"), st.sampled_from([*PAUSES, ""])),
    st.tuples(st.just("end"), st.sampled_from([5, 40, 0])),
    st.tuples(st.just("later"), st.sampled_from(["starter", "growth"])),
    st.tuples(st.just("now"), st.sampled_from(["starter", "growth"])),
    st.tuples(st.just("item"), st.integers(1, 12)),
    st.tuples(st.just("card"), st.sampled_from(["pm_card_visa", "pm_card_chargeCustomerFail"])),
    st.tuples(st.just("lose"), st.just(0)),
    st.tuples(st.just("twice"), st.just(0)),
    st.tuples(st.just("fault"), st.sampled_from(["charges", "invoices", "subscriptions"])),
)


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=st.lists(ACTS, min_size=5, max_size=12))
async def test_what_was_paid_for_is_given_once(
    sandbox_process: Sandbox, database_pool: DatabasePool, acts: list[tuple[str, Any]]
) -> None:
    async with fresh_harness(sandbox_process, database_pool) as harness:
        await harness.subscribed("starter")
        harness.use_card("pm_card_visa")
        for kind, what in acts:
            with suppress(BillingError, stripe.StripeError):
                await _act(harness, kind, what)
        sandbox_process.http.delete("/_sandbox/faults")
        await harness.reconcile()
        await harness.deliver()
        assert await harness.reconcile() == []
        assert await verify(harness.services.database) == []
        assert len([each for each in harness.subscriptions() if each.status != "canceled"]) <= 1
        assert _given(harness) == _paid_for(harness)
        assert sandbox_process.take_violations() == []


async def _act(harness: BillingHarness, kind: str, what: Any) -> None:
    if kind == "use":
        await harness.use(what)
    elif kind in ("later", "now"):
        if await harness.subscription() is not None:
            await harness.change(what, When.NOW if kind == "now" else When.PERIOD_END)
    elif kind == "lose":
        harness.missed()
    elif kind == "twice":
        events = harness.missed()
        await harness.deliver_each([*events, *reversed(events)])
    elif kind == "fault":
        harness.sandbox.fault(kind="status", status=500, path=f"/v1/{what}", times=3)
    elif kind == "wait":
        harness.skip(what * DAY)
    else:
        _by_support(harness, kind, what)
    if kind not in ("lose", "fault"):
        await harness.deliver()


def _by_support(harness: BillingHarness, kind: str, what: Any) -> None:
    """In Stripe's dashboard."""
    if kind == "quantity":
        item = harness.subscriptions()[0].items.data[0].id
        _at_stripe(harness, items=[{"id": item, "quantity": what}], proration_behavior="none")
    elif kind == "coupon":
        discount(harness, percent_off=what, duration="forever")
    elif kind == "pause":
        _at_stripe(harness, pause_collection={"behavior": what} if what else "")
    elif kind == "end":
        end = int(harness.now.timestamp()) + what * DAY
        _at_stripe(harness, cancel_at=end if what else "")
    elif kind == "card":
        harness.use_card(what)
    else:
        for _ in range(what):
            item = {"customer": harness.customer_id(), "amount": 10, "currency": "usd"}
            harness.client.v1.invoice_items.create(item)  # pyright: ignore[reportArgumentType]


def _at_stripe(harness: BillingHarness, **body: Any) -> None:
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, body)  # pyright: ignore[reportArgumentType]


def _given(harness: BillingHarness) -> dict[str, int]:
    """By invoice, of plans that no change made smaller."""
    return {
        plan["source_reference"]: plan["executions"]
        for plan in harness.plans()
        if plan["source"] == "subscription"
        and plan["source_reference"] in {each.id for each in _sales(harness)}
    }


def _paid_for(harness: BillingHarness) -> dict[str, int]:
    prices = {each.id: each.lookup_key for each in harness.client.v1.prices.list().data}
    sold: dict[str, int] = {}
    for invoice in _sales(harness):
        lines = harness.client.v1.invoices.line_items.list(str(invoice.id), {"limit": 100}).data
        for line in lines:
            details = line.pricing.price_details if line.pricing else None
            size = SIZES.get(prices.get(str(details.price)) or "") if details else None
            if size is not None:
                sold[str(invoice.id)] = size * (line.quantity or 0)
    return sold


def _sales(harness: BillingHarness) -> list[stripe.Invoice]:
    """Paid periods; a change by us may count against its plan what was used since."""
    return [
        invoice
        for invoice in harness.invoices()
        if invoice.status == "paid" and invoice.billing_reason != "subscription_update"
    ]

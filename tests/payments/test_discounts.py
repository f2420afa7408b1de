"""What was really paid decides: standing coupons, credit balances, and what a change credits."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.billing.subscriptions.errors import ChangeLosesValueError
from billing_app.db.enums import Interval, When
from tests.databases import DatabasePool
from tests.factories import OPERATOR
from tests.payments.billing_harness import BillingHarness, fresh_harness
from tests.payments.test_overage_reports import renew
from tests.stripe_sandbox.running import Sandbox

pytestmark = pytest.mark.stripe_test_mode

HALF = {"percent_off": 50, "duration": "forever"}
ALL = {"percent_off": 100, "duration": "forever"}


def discounts_of(harness: BillingHarness) -> list[str]:
    found = harness.client.v1.subscriptions.retrieve(
        harness.subscriptions()[0].id, {"expand": ["discounts"]}
    )
    return [str(each.source.coupon) for each in found.discounts or []]  # pyright: ignore[reportAttributeAccessIssue]


def discount(harness: BillingHarness, **terms: Any) -> str:
    """A coupon that support puts on the subscription in Stripe's dashboard."""
    coupon = harness.client.v1.coupons.create(terms)  # pyright: ignore[reportArgumentType]
    body: Any = {"discounts": [{"coupon": coupon.id}]}
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, body)
    return coupon.id


def discount_customer(harness: BillingHarness, **terms: Any) -> str:
    """A coupon that an older API version put on the customer."""
    coupon = harness.client.v1.coupons.create(terms)  # pyright: ignore[reportArgumentType]
    harness.sandbox.control("customer_discounts", customer=harness.customer_id(), coupon=coupon.id)
    return coupon.id


async def discounted(harness: BillingHarness, **terms: Any) -> str:
    """Subscribed to Starter, with a discount since the second period."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    coupon_id = discount(harness, **terms)
    await renew(harness, report_first=False)
    return coupon_id


async def change(harness: BillingHarness, offer: str) -> int:
    """The preview's amount, which must be what is charged."""
    preview = await harness.preview(offer)
    before = harness.charged_minor()
    await harness.change(offer)
    assert harness.charged_minor() - before == preview.amount_due_minor
    assert sum(line.amount_minor for line in preview.lines) == preview.amount_due_minor
    return preview.amount_due_minor


async def test_credit_is_what_was_paid_after_the_discount(harness: BillingHarness) -> None:
    coupon_id = await discounted(harness, **HALF)
    assert harness.charged_minor() == 1_900 + 950
    assert await change(harness, "growth") == 3_950 - 950
    assert discounts_of(harness) == [coupon_id]
    await renew(harness, report_first=False)
    assert harness.charged_minor() == 1_900 + 950 + 3_000 + 3_950


async def test_free_of_charge_stays_free_and_credits_nothing(harness: BillingHarness) -> None:
    await discounted(harness, **ALL)
    preview = await harness.preview("growth")
    assert (preview.amount_due_minor, preview.credit_minor) == (0, 0)
    await change(harness, "growth")
    assert harness.charged_minor() == 1_900


async def test_amount_off_once_and_repeating(harness: BillingHarness) -> None:
    await discounted(
        harness, amount_off=500, currency="usd", duration="repeating", duration_in_months=3
    )
    assert await change(harness, "growth") == (7_900 - 500) - (1_900 - 500)


async def test_credit_beyond_the_discounted_price_is_refused(harness: BillingHarness) -> None:
    await harness.subscribed("growth")
    harness.use_card("pm_card_visa")
    coupon_id = discount(harness, percent_off=90, duration="forever")
    for attempt in (harness.preview, harness.change):
        with pytest.raises(ChangeLosesValueError):
            await attempt("scale")
    assert harness.charged_minor() == 7_900
    assert discounts_of(harness) == [coupon_id]


async def test_credit_balance_is_not_credited_again(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    grant: Any = {"amount": -1_900, "currency": "usd", "description": "Goodwill"}
    harness.client.v1.customers.balance_transactions.create(harness.customer_id(), grant)
    await renew(harness, report_first=False)
    assert harness.charged_minor() == 1_900
    assert await change(harness, "growth") == 7_900


async def test_refund_reduces_the_credit(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    charge = harness.charges()[0]
    harness.client.v1.refunds.create({"charge": charge.id, "amount": 900})
    await harness.deliver()
    harness.use_card("pm_card_visa")
    assert await change(harness, "growth") == 7_900 - 1_000


async def test_scheduled_change_keeps_what_was_agreed(harness: BillingHarness) -> None:
    coupon_id = await discounted(harness, **HALF)
    method = harness.use_card("pm_card_mastercard")
    subscription_id = harness.subscriptions()[0].id
    tagged: Any = {"metadata": {"contract": "7"}}
    harness.client.v1.subscriptions.update(subscription_id, tagged)
    await harness.change("growth", When.PERIOD_END)
    assert discounts_of(harness) == [coupon_id]
    await renew(harness, report_first=False)
    found = harness.subscriptions()[0]
    assert discounts_of(harness) == [coupon_id]
    assert (found.default_payment_method, found.metadata["contract"]) == (method, "7")
    assert harness.charged_minor() == 1_900 + 950 + 3_950


async def test_coupon_on_the_customer_stays_and_is_previewed(harness: BillingHarness) -> None:
    """Only older API versions set `customer.discount`; naming others on the subscription would
    replace it."""
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    discount_customer(harness, **HALF)
    await renew(harness, report_first=False)
    assert harness.charged_minor() == 1_900 + 950
    assert await change(harness, "growth") == 3_950 - 950
    await renew(harness, report_first=False)
    assert harness.charged_minor() == 1_900 + 950 + 3_000 + 3_950


COUPONS = st.one_of(
    st.builds(
        lambda percent, duration: {"percent_off": percent, "duration": duration},
        st.sampled_from([1, 12.5, 33.3, 50, 99, 100]),
        st.sampled_from(["once", "forever"]),
    ),
    st.builds(lambda amount: {"amount_off": amount, "duration": "forever"}, st.integers(1, 9_000)),
    st.none(),
)
CURRENCIES = st.sampled_from(["USD", "JPY", "KWD"])
# Where the sandbox taxes 0, 19 and 8.1 %; None: without Stripe Tax.
COUNTRIES = st.sampled_from([None, "US", "DE", "CH"])


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    currency=CURRENCIES,
    coupons=st.tuples(COUPONS, COUPONS),
    balance=st.sampled_from([0, 0, -700, -3_000, 450]),
    used=st.integers(0, 100),
    country=COUNTRIES,
    on_customer=st.booleans(),
)
async def test_preview_is_the_charge(
    sandbox_process: Sandbox,
    database_pool: DatabasePool,
    currency: str,
    coupons: tuple[dict[str, Any] | None, ...],
    balance: int,
    used: int,
    country: str | None,
    on_customer: bool,
) -> None:
    is_taxed = country is not None
    async with fresh_harness(sandbox_process, database_pool, stripe_tax=is_taxed) as harness:
        for code, executions, price in (("small", 1_000, 1_990), ("big", 9_000, 12_340)):
            terms = OfferTerms(code, "", executions, price, currency, Interval.MONTH)
            await publish_offer(
                harness.services.database, OPERATOR, code=code, terms=terms, now=harness.now
            )
        await harness.subscribed("small", country=country or "US")
        harness.use_card("pm_card_visa")
        if balance:
            grant: Any = {"amount": balance, "currency": currency.lower()}
            harness.client.v1.customers.balance_transactions.create(harness.customer_id(), grant)
        first, second = coupons
        if first:
            put = discount_customer if on_customer else discount
            put(harness, **_in(first, currency))
        await renew(harness, report_first=False)
        await harness.use(max(1, used * 9))
        if second:
            discount(harness, **_in(second, currency))
        paid = (await _cost(harness)) if not used else None
        try:
            preview = await harness.preview("big")
        except ChangeLosesValueError:
            return
        before = harness.charged_minor()
        await harness.change("big")
        assert harness.charged_minor() - before == preview.amount_due_minor
        assert paid is None or preview.credit_minor <= paid
        assert sum(line.amount_minor for line in preview.lines) == preview.amount_due_minor
        assert (await harness.current()).executions_remaining == 9_000


def _in(coupon: dict[str, Any], currency: str) -> dict[str, Any]:
    return coupon | ({"currency": currency.lower()} if "amount_off" in coupon else {})


async def _cost(harness: BillingHarness) -> int:
    """What the last invoice took, without its tax."""
    invoice = harness.invoices()[-1]
    net_minor = invoice.total_excluding_tax or 0
    return -(-invoice.amount_paid * net_minor // invoice.total) if invoice.total else 0

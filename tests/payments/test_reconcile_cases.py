"""What issue 13 A lists, while every webhook is lost: one reconciliation heals each case that needs
nobody, and goes on telling each one that needs a person.

Not here: an unadopted copy (test_installation.py), what cannot be put back
(test_interrupted_changes.py), refused details (test_customer_details.py).
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pytest

from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import publish_offer
from billing_app.billing.subscriptions.provider_requests import IN_FLIGHT
from billing_app.payments.comparison import Difference
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, HOUR, BillingHarness, type_card
from tests.payments.test_changes_by_hand import change_by_hand, known_prices
from tests.payments.test_discounts import discount
from tests.payments.test_embedded_lists import add_items
from tests.payments.test_ends_and_pauses import ON_TRIAL
from tests.payments.test_foreign_objects import change_items, metered_price, price, subscribe
from tests.payments.test_quantities import price_of, set_quantity
from tests.payments.test_slow_debits import decide, use_bank_account

pytestmark = pytest.mark.stripe_test_mode

Arrange = Callable[[BillingHarness], Awaitable[None]]
Holds = Callable[[BillingHarness], bool]
AFTER_FLIGHT: Final = IN_FLIGHT + timedelta(seconds=1)


@dataclass(frozen=True)
class Case:
    """`heals` and `tells`: the kinds of differences. `holds`: what is right afterwards."""

    arrange: Arrange
    heals: frozenset[str] = frozenset()
    tells: frozenset[str] = frozenset()
    holds: Holds = lambda _: True


def at_stripe(harness: BillingHarness, **body: Any) -> None:
    harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, body)  # pyright: ignore[reportArgumentType]


async def paying(harness: BillingHarness) -> None:
    await harness.subscribed("starter")
    harness.use_card("pm_card_visa")
    await harness.deliver()


def renewed(harness: BillingHarness) -> None:
    """A month later; whoever could hear of it does not."""
    harness.skip(31 * DAY + 3 * HOUR)


async def ten_items_on_a_renewal(harness: BillingHarness) -> None:
    await paying(harness)
    add_items(harness)
    renewed(harness)


async def metered_subscription_of_others(harness: BillingHarness) -> None:
    await paying(harness)
    subscribe(harness, metered_price(harness))


async def price_of_others(harness: BillingHarness) -> None:
    await paying(harness)
    ours = harness.subscriptions()[0].items.data[0]
    change_items(harness, [{"id": ours.id, "price": price(harness)}])
    renewed(harness)


async def coupon_on_a_renewal(harness: BillingHarness) -> None:
    await paying(harness)
    discount(harness, percent_off=50, duration="forever")
    renewed(harness)


async def refunded_in_part(harness: BillingHarness) -> None:
    await paying(harness)
    harness.client.v1.refunds.create({"charge": harness.charges()[0].id, "amount": 900})


async def refunded_in_full(harness: BillingHarness) -> None:
    await paying(harness)
    harness.client.v1.refunds.create({"charge": harness.charges()[0].id})


async def two_of_a_plan(harness: BillingHarness) -> None:
    await paying(harness)
    set_quantity(harness, 2)
    renewed(harness)


async def ends_on_a_date(harness: BillingHarness) -> None:
    await paying(harness)
    at_stripe(harness, cancel_at=int(harness.now.timestamp()) + 10 * DAY)


async def paused(harness: BillingHarness) -> None:
    await paying(harness)
    at_stripe(harness, pause_collection={"behavior": "void"})
    renewed(harness)


async def trial_prolonged(harness: BillingHarness) -> None:
    database = harness.services.database
    await publish_offer(database, OPERATOR, code="tried", terms=ON_TRIAL, now=harness.now)
    found = await harness.subscribed("tried")
    longer = int((found.period_end + timedelta(days=20)).timestamp())
    at_stripe(harness, trial_end=longer, proration_behavior="none")
    harness.skip(16 * DAY)


async def renewal_failed(harness: BillingHarness) -> None:
    await paying(harness)
    harness.use_card("pm_card_chargeCustomerFail")
    renewed(harness)


async def old_invoice_paid(harness: BillingHarness) -> None:
    await renewal_failed(harness)
    await harness.deliver()
    method = harness.use_card("pm_card_visa")
    open_one = next(each for each in harness.invoices() if each.status == "open")
    harness.client.v1.invoices.pay(str(open_one.id), {"payment_method": method})


async def ended_with_an_open_invoice(harness: BillingHarness) -> None:
    await renewal_failed(harness)
    await harness.deliver()
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[0].id)


async def ended_at_stripe(harness: BillingHarness) -> None:
    await paying(harness)
    harness.client.v1.subscriptions.cancel(harness.subscriptions()[0].id)


async def customer_deleted(harness: BillingHarness) -> None:
    await paying(harness)
    harness.client.v1.customers.delete(harness.customer_id())


async def price_archived(harness: BillingHarness) -> None:
    await paying(harness)
    harness.client.v1.prices.update(price_of(harness, "starter"), {"active": False})


async def card_detached(harness: BillingHarness) -> None:
    await paying(harness)
    harness.client.v1.payment_methods.detach(harness.use_card("pm_card_visa"))


async def overdue_on_net_terms(harness: BillingHarness) -> None:
    await paying(harness)
    at_stripe(harness, collection_method="send_invoice", days_until_due=5)
    renewed(harness)
    harness.skip(6 * DAY)


async def debit_failed(harness: BillingHarness) -> None:
    await paying(harness)
    use_bank_account(harness)
    renewed(harness)
    await harness.deliver()
    decide(harness, succeeds=False)


async def disputed(harness: BillingHarness) -> None:
    await paying(harness)
    harness.sandbox.control("disputes", charge=harness.charges()[0].id)


async def disputed_a_little(harness: BillingHarness) -> None:
    await paying(harness)
    harness.sandbox.control("disputes", charge=harness.charges()[0].id, amount=100)


async def two_live_subscriptions(harness: BillingHarness) -> None:
    await paying(harness)
    subscribe(harness, price_of(harness, "starter"))


async def upgraded_by_hand(harness: BillingHarness) -> None:
    await known_prices(harness)
    await change_by_hand(harness, "always_invoice", price=price_of(harness, "growth"))


async def checkout_paid(harness: BillingHarness) -> None:
    type_card((await harness.begin("starter")).checkout_url)


async def subscription_unknown_here(harness: BillingHarness) -> None:
    """Charged, and forgotten by a crash."""
    await harness.begin("starter")
    harness.use_card("pm_card_visa")
    subscribe(harness, price_of(harness, "starter"))


async def customer_unknown_here(harness: BillingHarness) -> None:
    await paying(harness)
    harness.rows("DELETE FROM provider_customers RETURNING 1")


async def account_unknown_here(harness: BillingHarness) -> None:
    harness.leave_a_stranger({"billing_account": "acc_0123456789abcdef"})


async def answer_lost(harness: BillingHarness) -> None:
    await paying(harness)
    harness.sandbox.fault(
        kind="reset", when="after", method="POST", path="/v1/subscriptions/*", times=9
    )
    with suppress(BillingError):
        await harness.change("growth")
    harness.sandbox.http.delete("/_sandbox/faults")
    harness.skip(AFTER_FLIGHT.total_seconds())


async def bank_asks(harness: BillingHarness) -> None:
    await paying(harness)
    harness.use_card("pm_card_authenticationRequired")
    with suppress(BillingError):
        await harness.change("growth")
    harness.skip(AFTER_FLIGHT.total_seconds())


def sizes(*executions: int) -> Holds:
    """The plans of the account, in order."""
    return lambda harness: [plan["executions"] for plan in harness.plans()] == [*executions]


def newest(**values: object) -> Holds:
    def holds(harness: BillingHarness) -> bool:
        plan = harness.plans()[-1]
        return all(bool(plan[name]) is bool(value) for name, value in values.items())

    return holds


def live(*, status: str = "active", count: int = 1) -> Holds:
    query = "SELECT status FROM subscriptions WHERE status <> 'canceled'"
    return lambda harness: harness.rows(query) == [(status,)] * count


def voided(harness: BillingHarness) -> bool:
    return [each.status for each in harness.invoices()] == ["paid", "void"]


SUBSCRIPTION, INVOICE, CUSTOMER = (
    frozenset({"subscription"}),
    frozenset({"invoice"}),
    frozenset({"customer"}),
)
BOTH: Final = SUBSCRIPTION | INVOICE
CASES: Final = {
    "A1 more than ten lines": Case(ten_items_on_a_renewal, BOTH, holds=sizes(5_000, 5_000)),
    "A2 metered subscription of others": Case(metered_subscription_of_others),
    "A2 A13 price of others on ours": Case(price_of_others, SUBSCRIPTION, INVOICE, sizes(5_000)),
    "A3 coupon": Case(coupon_on_a_renewal, BOTH, holds=sizes(5_000, 5_000)),
    "A3 refund of a part": Case(refunded_in_part, INVOICE, holds=newest(ended_because=None)),
    "A3 refund": Case(refunded_in_full, INVOICE, holds=newest(ended_because="cancelled")),
    "A4 quantity": Case(two_of_a_plan, BOTH, holds=sizes(5_000, 10_000)),
    "A5 end on a date": Case(ends_on_a_date, SUBSCRIPTION),
    "A5 paused": Case(paused, BOTH, holds=newest(suspended_at=None)),
    "A5 trial prolonged": Case(trial_prolonged, BOTH, holds=sizes(5_000)),
    "A5 renewal failed": Case(renewal_failed, BOTH, holds=newest(suspended_at=1)),
    "A5 old invoice paid": Case(old_invoice_paid, BOTH, holds=newest(suspended_at=None)),
    "A5 ended with an open invoice": Case(ended_with_an_open_invoice, BOTH, holds=voided),
    "A6 customer deleted": Case(customer_deleted, SUBSCRIPTION, holds=live(count=0)),
    "A6 price archived": Case(price_archived, frozenset({"offer"})),
    "A6 card detached": Case(card_detached),
    "A6 ended at Stripe": Case(ended_at_stripe, SUBSCRIPTION, holds=live(count=0)),
    "A7 customer of an unknown account": Case(account_unknown_here, tells=CUSTOMER),
    "A8 overdue on net terms": Case(overdue_on_net_terms, BOTH, holds=live(status="past_due")),
    "A8 debit failed": Case(debit_failed, BOTH, holds=live(status="past_due")),
    "A9 dispute": Case(disputed, INVOICE, holds=newest(suspended_at=1)),
    "A9 small dispute": Case(disputed_a_little, holds=newest(suspended_at=None)),
    "A9 two live subscriptions": Case(two_live_subscriptions, INVOICE, SUBSCRIPTION, live(count=2)),
    "A9 upgraded by hand": Case(upgraded_by_hand, holds=live()),
    "A10 checkout paid": Case(checkout_paid, BOTH | {"checkout"}, holds=sizes(5_000)),
    "A10 subscription unknown here": Case(subscription_unknown_here, BOTH, holds=sizes(5_000)),
    "A10 customer unknown here": Case(customer_unknown_here, CUSTOMER, holds=live()),
    "A10 answer lost": Case(answer_lost, BOTH | {"intent"}, holds=sizes(5_000, 30_000)),
    "A11 bank asks": Case(bank_asks, frozenset(), frozenset({"intent"}), sizes(5_000)),
}


def kinds(found: list[Difference], *, healed: bool) -> set[str]:
    return {each.what for each in found if each.healed is healed} - {"event"}


@pytest.mark.parametrize("name", CASES)
async def test_case_is_healed_or_told(harness: BillingHarness, name: str) -> None:
    case = CASES[name]
    await case.arrange(harness)
    harness.missed()
    found = await harness.reconcile()
    assert (kinds(found, healed=True), kinds(found, healed=False)) == (case.heals, case.tells)
    again = await harness.reconcile()
    assert (kinds(again, healed=True), kinds(again, healed=False)) == (set(), case.tells)
    assert case.holds(harness)

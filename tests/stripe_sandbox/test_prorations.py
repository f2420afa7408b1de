"""Money adds up to the cent: prorations are exact to the second, and previews match charges."""

from fractions import Fraction
from typing import Any

import pytest
import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stripe import StripeClient

from tests.stripe_sandbox.factories import (
    DAY,
    HOUR,
    JAN_31,
    advance,
    clock,
    customer,
    data,
    price,
    subscribe,
    totals,
    use_card,
)

QUICK = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FEBRUARY = 28 * DAY


def half_up(amount: Fraction) -> int:
    return int(amount + Fraction(1, 2))


def move(client: StripeClient, made: stripe.Subscription, to: str, **more: Any) -> Any:
    item = client.v1.subscriptions.retrieve(made.id)["items"].data[0].id
    params: Any = {"items": [{"id": item, "price": to}], **more}
    return client.v1.subscriptions.update(made.id, params)


@QUICK
@given(
    old=st.integers(100, 90_000),
    new=st.integers(100, 90_000),
    second=st.integers(1, FEBRUARY - 1),
)
def test_one_change_is_exact_to_the_second(
    client: StripeClient, old: int, new: int, second: int
) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    before, after = price(client, old), price(client, new)
    made = subscribe(client, who, before.id)
    advance(client, watch, JAN_31 + second)
    item = made["items"].data[0].id
    details: Any = {
        "items": [{"id": item, "price": after.id}],
        "proration_behavior": "always_invoice",
    }
    preview = client.v1.invoices.create_preview(
        {"subscription": made.id, "subscription_details": details}
    )
    changed = move(client, made, after.id, proration_behavior="always_invoice",
                   expand=["latest_invoice"])  # fmt: skip
    left = Fraction(FEBRUARY - second, FEBRUARY)
    credit, debit = half_up(old * left), half_up(new * left)
    amounts = [line.amount for line in changed.latest_invoice.lines.data]
    assert amounts == [-credit, debit]
    assert [line.amount for line in preview.lines.data] == amounts
    assert preview.total == changed.latest_invoice.total == debit - credit
    assert preview.amount_due == changed.latest_invoice.amount_due
    money = totals(client, who)
    assert money.lines == money.paid + money.balance


@QUICK
@given(
    steps=st.lists(
        st.tuples(
            st.integers(1, 20 * DAY),
            st.integers(0, 3),
            st.sampled_from(["always_invoice", "create_prorations"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_sequence_of_changes_adds_up(
    client: StripeClient, steps: list[tuple[int, int, str]]
) -> None:
    """The amount billed equals the time used, up to rounding, for any sequence of changes."""
    amounts = [999, 2_000, 4_999, 33_333]
    watch = clock(client)
    who = customer(client, on=watch)
    prices = [price(client, amount).id for amount in amounts]
    made = subscribe(client, who, prices[0])
    now, current, used, roundings = JAN_31, 0, Fraction(0), 1
    for wait, choice, behavior in steps:
        used += _used(client, made, now, now + wait, amounts[current])
        now += wait
        advance(client, watch, now)
        move(client, made, prices[choice], proration_behavior=behavior)
        roundings, current = roundings + 2, choice
    client.v1.subscriptions.cancel(made.id, {"prorate": True, "invoice_now": True})
    money = totals(client, who)
    assert money.lines == money.paid + money.balance
    assert abs(money.lines - used) <= Fraction(roundings + 1, 2)


def _used(
    client: StripeClient, made: stripe.Subscription, start: int, end: int, amount: int
) -> Fraction:
    """The cost of [start, end), period by period."""
    item = client.v1.subscriptions.retrieve(made.id)["items"].data[0]
    first, last = item.current_period_start, item.current_period_end
    if end <= last:
        return Fraction(amount * (end - start), last - first)
    inside = Fraction(amount * (last - start), last - first)
    length = _length_after(last)
    return inside + Fraction(amount * (end - last), length)


def _length_after(start: int) -> int:
    from billing_app.stripe_sandbox.dates import period_around

    first, last = period_around(JAN_31, "month", 1, start)
    return last - first


@QUICK
@given(quantity=st.integers(1, 50), later=st.integers(1, 50), percent=st.integers(1, 90))
def test_quantities_with_a_discount(
    client: StripeClient, quantity: int, later: int, percent: int
) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    coupon = client.v1.coupons.create({"percent_off": percent, "duration": "forever"})
    made = client.v1.subscriptions.create(
        {
            "customer": who,
            "items": [{"price": price(client, 777).id, "quantity": quantity}],
            "discounts": [{"coupon": coupon.id}],
        }
    )
    advance(client, watch, JAN_31 + 7 * DAY)
    item = made["items"].data[0].id
    client.v1.subscriptions.update(
        made.id,
        {"items": [{"id": item, "quantity": later}], "proration_behavior": "always_invoice"},
    )
    net_before = 777 * quantity - half_up(Fraction(777 * quantity * percent, 100))
    net_after = 777 * later - half_up(Fraction(777 * later * percent, 100))
    left = Fraction(21, 28)
    expected = net_before
    if later != quantity:
        expected += half_up(net_after * left) - half_up(net_before * left)
    money = totals(client, who)
    assert money.lines == expected
    assert money.lines == money.paid + money.balance


def test_upgrade_then_downgrade_credits_what_was_debited(client: StripeClient) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    small, big = price(client, 1000), price(client, 3000)
    made = subscribe(client, who, small.id)
    advance(client, watch, JAN_31 + 14 * DAY)
    move(client, made, big.id, proration_behavior="none")
    changed = move(client, made, small.id, proration_behavior="always_invoice",
                   expand=["latest_invoice"])  # fmt: skip
    assert [line.amount for line in changed.latest_invoice.lines.data] == [-500, 500]


def test_classic_mode_credits_the_current_price(client: StripeClient) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    small, big = price(client, 1000), price(client, 3000)
    made = subscribe(client, who, small.id, billing_mode={"type": "classic"})
    advance(client, watch, JAN_31 + 14 * DAY)
    move(client, made, big.id, proration_behavior="none")
    changed = move(client, made, small.id, proration_behavior="always_invoice",
                   expand=["latest_invoice"])  # fmt: skip
    assert [line.amount for line in changed.latest_invoice.lines.data] == [-1500, 500]


def test_prorations_wait_for_the_renewal(client: StripeClient) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    big = price(client, 2000)
    advance(client, watch, JAN_31 + 14 * DAY)
    move(client, made, big.id)
    assert totals(client, who).paid == 1000
    preview = client.v1.invoices.create_preview({"subscription": made.id})
    assert (preview.billing_reason, preview.amount_due) == ("upcoming", 2500)
    prorated = [
        line.amount
        for line in preview.lines.data
        if line.parent
        and line.parent.subscription_item_details
        and line.parent.subscription_item_details.proration
    ]
    assert prorated == [-500, 1000]
    advance(client, watch, JAN_31 + FEBRUARY + 2 * HOUR)
    assert totals(client, who).paid == 3500


def test_month_to_year_starts_a_new_cycle(client: StripeClient) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    yearly = price(client, 10_000, "year")
    advance(client, watch, JAN_31 + 7 * DAY)
    changed = move(client, made, yearly.id, expand=["latest_invoice"])
    item = changed["items"].data[0]
    assert (item.current_period_start, changed.billing_cycle_anchor) == (
        JAN_31 + 7 * DAY,
        JAN_31 + 7 * DAY,
    )
    assert item.current_period_end == JAN_31 + (7 + 365) * DAY
    assert changed.latest_invoice.amount_paid == 10_000 - 750


def test_downgrade_credit_is_kept_in_the_balance_and_used(client: StripeClient) -> None:
    watch = clock(client)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 5000).id)
    small = price(client, 1000)
    advance(client, watch, JAN_31 + 14 * DAY)
    move(client, made, small.id, proration_behavior="always_invoice")
    assert totals(client, who).balance == -2000
    advance(client, watch, JAN_31 + FEBRUARY + 2 * HOUR)
    assert totals(client, who).balance == -1000
    assert totals(client, who).paid == 5000


def test_preview_changes_nothing(client: StripeClient) -> None:
    who = customer(client)
    made = subscribe(client, who, price(client, 1000).id)
    big = price(client, 2000)
    events = client.v1.events.list({"limit": 1}).data[0].id
    details: Any = {
        "items": [{"id": made["items"].data[0].id, "price": big.id}],
        "billing_cycle_anchor": {"type": "now"},
        "proration_behavior": "always_invoice",
    }
    for _ in range(2):
        preview = client.v1.invoices.create_preview(
            {"customer": who, "subscription": made.id, "subscription_details": details}
        )
        assert preview.amount_due in (1000, 1001)
    assert client.v1.events.list({"limit": 1}).data[0].id == events
    assert client.v1.subscriptions.retrieve(made.id)["items"].data[0].price.id != big.id
    assert len(client.v1.invoices.list({"customer": who}).data) == 1


def test_preview_of_a_new_subscription(client: StripeClient) -> None:
    who = customer(client)
    details: Any = {"items": [{"price": price(client, 1234).id, "quantity": 2}]}
    preview = client.v1.invoices.create_preview({"customer": who, "subscription_details": details})
    assert preview.total == 2468
    assert client.v1.subscriptions.list({"customer": who}).data == []


def test_error_if_incomplete_changes_nothing(client: StripeClient) -> None:
    who = customer(client)
    made = subscribe(client, who, price(client, 1000).id)
    use_card(client, who, "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as declined:
        move(client, made, price(client, 9000).id, proration_behavior="always_invoice",
             payment_behavior="error_if_incomplete")  # fmt: skip
    assert declined.value.http_status == 402
    left = client.v1.subscriptions.retrieve(made.id)
    assert (left.status, left["items"].data[0].price.unit_amount) == ("active", 1000)
    assert len(client.v1.invoices.list({"customer": who}).data) == 1
    assert client.v1.charges.list({"customer": who}).data[0].status == "failed"


def test_allow_incomplete_applies_and_goes_past_due(client: StripeClient) -> None:
    who = customer(client)
    made = subscribe(client, who, price(client, 1000).id)
    use_card(client, who, "pm_card_chargeCustomerFail")
    changed = move(client, made, price(client, 9000).id, proration_behavior="always_invoice")
    assert (changed.status, changed["items"].data[0].price.unit_amount) == ("past_due", 9000)


def test_pending_update_waits_for_payment(client: StripeClient) -> None:
    who = customer(client)
    made = subscribe(client, who, price(client, 1000).id)
    use_card(client, who, "pm_card_chargeCustomerFail")
    held = move(client, made, price(client, 9000).id, proration_behavior="always_invoice",
                payment_behavior="pending_if_incomplete", expand=["latest_invoice"])  # fmt: skip
    assert (held.status, held["items"].data[0].price.unit_amount) == ("active", 1000)
    assert held.pending_update is not None
    use_card(client, who, "pm_card_visa")
    client.v1.invoices.pay(held.latest_invoice.id)
    done = client.v1.subscriptions.retrieve(made.id)
    assert (done.pending_update, done["items"].data[0].price.unit_amount) == (None, 9000)


def test_preview_includes_its_own_items_and_keeps_none(client: StripeClient) -> None:
    who = customer(client)
    made = subscribe(client, who, price(client, 1000).id)
    item_id = data(made)["items"]["data"][0]["id"]
    preview: Any = {
        "subscription": made.id,
        "subscription_details": {
            "items": [{"id": item_id, "price": price(client, 4000).id}],
            "billing_cycle_anchor": {"type": "now"},
            "proration_behavior": "none",
        },
        "invoice_items": [{"amount": -600, "currency": "usd", "description": "unused"}],
    }
    shown = client.v1.invoices.create_preview(preview)
    assert shown.amount_due == 3400
    assert [line.amount for line in shown.lines.data] == [4000, -600]
    assert client.v1.invoice_items.list({"customer": who}).data == []

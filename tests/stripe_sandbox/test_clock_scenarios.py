"""Months on a test clock: renewals, failures, trials, cancellation, schedules, usage."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox.factories import (
    DAY,
    HOUR,
    JAN_31,
    advance,
    clock,
    customer,
    price,
    subscribe,
    totals,
    use_card,
)
from tests.stripe_sandbox.running import Sandbox


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type]


def period(client: StripeClient, identifier: str) -> tuple[int, int]:
    item = client.v1.subscriptions.retrieve(identifier)["items"].data[0]
    return item.current_period_start, item.current_period_end


def status(client: StripeClient, identifier: str) -> str:
    return client.v1.subscriptions.retrieve(identifier).status


def test_monthly_renewals_from_31_january_across_a_leap_day(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who, what = customer(client, on=watch), price(client, 1000)
    made = subscribe(client, who, what.id)
    ends = []
    for _ in range(14):
        end = period(client, made.id)[1]
        ends.append(datetime.fromtimestamp(end, UTC).date().isoformat())
        advance(client, watch, end + 2 * HOUR)
    assert ends == [
        "2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31", "2027-06-30", "2027-07-31",
        "2027-08-31", "2027-09-30", "2027-10-31", "2027-11-30", "2027-12-31", "2028-01-31",
        "2028-02-29", "2028-03-31",
    ]  # fmt: skip
    invoices = client.v1.invoices.list({"customer": who, "limit": 100}).data
    assert [invoice.status for invoice in invoices] == ["paid"] * 15
    assert totals(client, who).paid == 15_000
    reasons = {invoice.billing_reason for invoice in invoices}
    assert reasons == {"subscription_create", "subscription_cycle"}


def test_yearly_renewals_from_a_leap_day(client: StripeClient) -> None:
    watch = clock(client, at(2028, 2, 29, 12))
    who, what = customer(client, on=watch), price(client, 9000, "year")
    made = subscribe(client, who, what.id)
    assert period(client, made.id)[1] == at(2029, 2, 28, 12)
    for _ in range(4):
        advance(client, watch, period(client, made.id)[1] + 1)
    assert period(client, made.id) == (at(2032, 2, 29, 12), at(2033, 2, 28, 12))


def test_renewal_stays_a_draft_for_an_hour(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    end = period(client, made.id)[1]
    advance(client, watch, end + 60)
    renewed = client.v1.subscriptions.retrieve(made.id, {"expand": ["latest_invoice"]})
    invoice = renewed.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.status, invoice.automatically_finalizes_at) == ("draft", end + HOUR)
    assert renewed.status == "active"
    advance(client, watch, end + HOUR)
    assert client.v1.invoices.retrieve(invoice.id).status == "paid"


def test_failed_renewal_is_retried_and_recovers(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    use_card(client, who, "pm_card_chargeCustomerFail")
    due = period(client, made.id)[1] + HOUR
    advance(client, watch, due)
    failed = client.v1.subscriptions.retrieve(made.id, {"expand": ["latest_invoice"]})
    assert failed.status == "past_due"
    invoice = failed.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    assert invoice.next_payment_attempt == due + 3 * DAY
    advance(client, watch, due + 3 * DAY)
    assert client.v1.invoices.retrieve(invoice.id).attempt_count == 2
    use_card(client, who, "pm_card_visa")
    advance(client, watch, due + 8 * DAY)
    assert client.v1.invoices.retrieve(invoice.id).status == "paid"
    assert status(client, made.id) == "active"


@pytest.mark.parametrize(
    ("setting", "outcome"), [("cancel", "canceled"), ("unpaid", "unpaid"), ("past_due", "past_due")]
)
def test_after_the_last_retry(
    client: StripeClient, sandbox: Sandbox, setting: str, outcome: str
) -> None:
    sandbox.control("settings", after_last_retry=setting)
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    use_card(client, who, "pm_card_chargeCustomerFail")
    advance(client, watch, period(client, made.id)[1] + HOUR + 15 * DAY)
    ended = client.v1.subscriptions.retrieve(made.id, {"expand": ["latest_invoice"]})
    assert ended.status == outcome
    invoice = ended.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.status, invoice.attempt_count) == ("open", 4)
    if outcome == "canceled":
        assert ended.cancellation_details is not None
        assert ended.cancellation_details.reason == "payment_failed"
    else:
        use_card(client, who, "pm_card_visa")
        assert client.v1.invoices.pay(invoice.id).status == "paid"
        assert status(client, made.id) == "active"
    sandbox.control("settings", after_last_retry="cancel")


def test_declined_manual_payment_answers_402_and_stays_on_record(
    client: StripeClient,
) -> None:
    who = customer(client)
    client.v1.invoice_items.create({"customer": who, "amount": 900, "currency": "usd"})
    draft = client.v1.invoices.create(
        {"customer": who, "pending_invoice_items_behavior": "include"}
    )
    bad = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": who})
    with pytest.raises(stripe.CardError) as declined:
        client.v1.invoices.pay(draft.id, {"payment_method": bad.id})
    assert declined.value.code == "card_declined"
    left = client.v1.invoices.retrieve(draft.id)
    assert (left.status, left.attempt_count) == ("open", 1)


def test_trial_becomes_paid(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id, trial_period_days=14)
    assert made.status == "trialing"
    assert period(client, made.id) == (JAN_31, JAN_31 + 14 * DAY)
    assert totals(client, who).paid == 0
    advance(client, watch, JAN_31 + 14 * DAY + 2 * HOUR)
    assert status(client, made.id) == "active"
    assert period(client, made.id) == (at(2027, 2, 14), at(2027, 3, 14))
    assert totals(client, who).paid == 1000
    kinds = [event.type for event in client.v1.events.list({"limit": 100}).auto_paging_iter()][:60]
    assert "customer.subscription.trial_will_end" in kinds


@pytest.mark.parametrize(("behavior", "outcome"), [("cancel", "canceled"), ("pause", "paused")])
def test_trial_without_a_card(client: StripeClient, behavior: str, outcome: str) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, card=None, on=watch)
    settings = {"end_behavior": {"missing_payment_method": behavior}}
    what = price(client, 1000)
    made = subscribe(client, who, what.id, trial_period_days=7, trial_settings=settings)
    advance(client, watch, JAN_31 + 8 * DAY)
    assert status(client, made.id) == outcome
    if outcome == "paused":
        use_card(client, who, "pm_card_visa")
        anchor = {"billing_cycle_anchor": {"type": "now"}}
        resumed = client.v1.subscriptions.resume(made.id, anchor)  # type: ignore[arg-type]
        assert resumed.status == "active"
        assert totals(client, who).paid == 1000


def test_trial_ended_early(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id, trial_period_days=14)
    advance(client, watch, JAN_31 + 5 * DAY)
    ended = client.v1.subscriptions.update(made.id, {"trial_end": "now"})
    assert ended.status == "active"
    assert ended.billing_cycle_anchor == JAN_31 + 5 * DAY
    assert totals(client, who).paid == 1000


def test_cancel_at_period_end(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    end = period(client, made.id)[1]
    planned = client.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    assert (planned.cancel_at, planned.status) == (end, "active")
    with pytest.raises(stripe.InvalidRequestError) as none:
        client.v1.invoices.create_preview({"subscription": made.id})
    assert none.value.code == "invoice_upcoming_none"
    advance(client, watch, end + 2 * HOUR)
    ended = client.v1.subscriptions.retrieve(made.id)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert totals(client, who).paid == 1000
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.subscriptions.update(made.id, {"cancel_at_period_end": False})


def test_incomplete_expires_after_23_hours(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, card="pm_card_chargeCustomerFail", on=watch)
    made = subscribe(client, who, price(client, 1000).id, expand=["latest_invoice"])
    assert made.status == "incomplete"
    invoice = made.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert invoice.status == "open"
    advance(client, watch, JAN_31 + 23 * HOUR)
    assert status(client, made.id) == "incomplete_expired"
    assert client.v1.invoices.retrieve(invoice.id).status == "void"


def test_downgrade_at_period_end_with_a_schedule(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    big, small = price(client, 5000, name="Big"), price(client, 2000, name="Small")
    who = customer(client, on=watch)
    made = subscribe(client, who, big.id)
    end = period(client, made.id)[1]
    schedule = client.v1.subscription_schedules.create({"from_subscription": made.id})
    updated = client.v1.subscription_schedules.update(
        schedule.id,
        {
            "end_behavior": "release",
            "phases": [
                {
                    "items": [{"price": big.id, "quantity": 1}],
                    "start_date": schedule.phases[0].start_date,
                    "end_date": schedule.phases[0].end_date,
                },
                {"items": [{"price": small.id, "quantity": 1}], "proration_behavior": "none"},
            ],
        },
    )
    assert [phase.start_date for phase in updated.phases] == [JAN_31, end]
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    preview = client.v1.invoices.create_preview({"subscription": made.id})
    assert preview.amount_due == 2000
    advance(client, watch, end + 2 * HOUR)
    changed = client.v1.subscriptions.retrieve(made.id)
    assert changed["items"].data[0].price.id == small.id
    assert totals(client, who).paid == 7000
    advance(client, watch, at(2027, 3, 31, 2))
    released = client.v1.subscription_schedules.retrieve(schedule.id)
    assert (released.status, released.released_subscription) == ("released", made.id)
    assert totals(client, who).paid == 9000


def test_schedule_released_before_its_change(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    big, small = price(client, 5000), price(client, 2000)
    who = customer(client, on=watch)
    made = subscribe(client, who, big.id)
    schedule = client.v1.subscription_schedules.create({"from_subscription": made.id})
    current = schedule.phases[0]
    client.v1.subscription_schedules.update(
        schedule.id,
        {
            "phases": [
                {"items": [{"price": big.id}], "end_date": current.end_date},
                {"items": [{"price": small.id}]},
            ]
        },
    )
    assert client.v1.subscription_schedules.release(schedule.id).status == "released"
    advance(client, watch, current.end_date + 2 * HOUR)
    assert totals(client, who).paid == 10_000
    assert client.v1.subscription_schedules.list({"customer": who}).data[0].status == "released"


def test_pause_collection_voids_renewals(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    end = period(client, made.id)[1]
    pause = {"pause_collection": {"behavior": "void", "resumes_at": end + 2 * DAY}}
    client.v1.subscriptions.update(made.id, pause)  # type: ignore[arg-type]
    advance(client, watch, end + 3 * DAY)
    latest = client.v1.invoices.list({"customer": who}).data[0]
    assert latest.status == "void"
    assert client.v1.subscriptions.retrieve(made.id).pause_collection is None
    advance(client, watch, at(2027, 3, 31, 2))
    assert totals(client, who).paid == 2000


def test_metered_usage_is_billed_in_arrears(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    name = f"overage_{watch}"
    meter = client.v1.billing.meters.create(
        {"display_name": "Runs", "event_name": name, "default_aggregation": {"formula": "sum"}}
    )
    metered = client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount_decimal": "0.5",  # type: ignore[typeddict-item]
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
            "product_data": {"name": "Overage"},
        }
    )
    items = [{"price": price(client, 1000).id}, {"price": metered.id}]
    made = client.v1.subscriptions.create({"customer": who, "items": items})  # type: ignore[arg-type]
    for day in (1, 2):
        client.v1.billing.meter_events.create(
            {
                "event_name": name,
                "payload": {"stripe_customer_id": who, "value": "1001"},
                "identifier": f"{name}-{day}",
                "timestamp": JAN_31,
            }
        )
    advance(client, watch, period(client, made.id)[1] + 2 * HOUR)
    latest = client.v1.invoices.list({"customer": who}).data[0]
    assert (latest.subtotal, latest.total, latest.status) == (2001, 2001, "paid")


def metered_subscription(client: StripeClient, watch: str, who: str) -> tuple[str, str, list[Any]]:
    """A subscription with a licensed item (10.00) and a metered one (0.10 each)."""
    name = f"overage_{watch}"
    meter = client.v1.billing.meters.create(
        {"display_name": "Runs", "event_name": name, "default_aggregation": {"formula": "sum"}}
    )
    metered = client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 10,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter.id},
            "product_data": {"name": "Overage"},
        }
    )
    items: Any = [{"price": price(client, 1000).id}, {"price": metered.id}]
    made = client.v1.subscriptions.create({"customer": who, "items": items})
    found: Any = made.items
    return made.id, name, list(found.data)


def count(client: StripeClient, name: str, who: str, value: int, at_seconds: int) -> None:
    client.v1.billing.meter_events.create(
        {
            "event_name": name,
            "payload": {"stripe_customer_id": who, "value": str(value)},
            "timestamp": at_seconds,
        }
    )


def test_draft_includes_usage_reported_until_it_is_finalized(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    subscription, name, _ = metered_subscription(client, watch, who)
    count(client, name, who, 30, JAN_31)
    end = period(client, subscription)[1]
    advance(client, watch, end + 60)
    draft = client.v1.invoices.list({"customer": who}).data[0]
    assert (draft.status, draft.total) == ("draft", 1300)
    count(client, name, who, 12, end - 1)
    count(client, name, who, 5, end)
    advance(client, watch, end + 2 * HOUR)
    assert client.v1.invoices.retrieve(draft.id or "").total == 1420


def test_negative_usage_bills_nothing(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    subscription, name, _ = metered_subscription(client, watch, who)
    count(client, name, who, -7, JAN_31)
    advance(client, watch, period(client, subscription)[1] + 2 * HOUR)
    assert client.v1.invoices.list({"customer": who}).data[0].total == 1000


@pytest.mark.parametrize(("behavior", "waiting"), [("none", []), ("create_prorations", [300])])
def test_removed_metered_price_bills_its_usage_unless_proration_is_off(
    client: StripeClient, behavior: Any, waiting: list[int]
) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    subscription, name, items = metered_subscription(client, watch, who)
    count(client, name, who, 30, JAN_31)
    advance(client, watch, JAN_31 + 10 * HOUR)
    gone: Any = [{"id": items[1].id, "deleted": True}]
    client.v1.subscriptions.update(subscription, {"items": gone, "proration_behavior": behavior})
    found = client.v1.invoice_items.list({"customer": who, "pending": True}).data
    assert [item.amount for item in found] == waiting
    advance(client, watch, period(client, subscription)[1] + 2 * HOUR)
    billed = client.v1.invoices.list({"customer": who}).data[0]
    assert billed.total == 1000 + sum(waiting)


def test_clock_advances_two_intervals_at_most(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    subscribe(client, customer(client, on=watch), price(client, 1000).id)
    with pytest.raises(stripe.InvalidRequestError, match="two billing intervals"):
        advance(client, watch, at(2027, 6, 1))


def test_coupons_apply_once_or_for_months(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    once = client.v1.coupons.create({"percent_off": 25, "duration": "once"})
    months = client.v1.coupons.create(
        {"amount_off": 100, "currency": "usd", "duration": "repeating", "duration_in_months": 2}
    )
    who = customer(client, on=watch)
    made = subscribe(
        client, who, price(client, 1000).id, discounts=[{"coupon": once.id}, {"coupon": months.id}]
    )
    for _ in range(3):
        advance(client, watch, period(client, made.id)[1] + 2 * HOUR)
    bills = [row.amount_paid for row in client.v1.invoices.list({"customer": who}).data]
    assert bills == [1000, 1000, 900, 650]


def test_renewal_that_requires_authentication(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 1000).id)
    use_card(client, who, "pm_card_authenticationRequired")
    advance(client, watch, period(client, made.id)[1] + HOUR)
    assert status(client, made.id) == "past_due"
    invoice = client.v1.invoices.list({"customer": who, "limit": 1}).data[0]
    expanded = client.v1.invoices.retrieve(
        invoice.id, {"expand": ["payments.data.payment.payment_intent"]}
    )
    assert expanded.payments is not None
    intent = expanded.payments.data[0].payment.payment_intent
    assert isinstance(intent, stripe.PaymentIntent)
    assert intent.status == "requires_action"
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    httpx.post(str(intent.next_action.redirect_to_url.url), data={"result": "approve"})
    assert client.v1.invoices.retrieve(invoice.id).status == "paid"
    assert status(client, made.id) == "active"


def test_free_to_paid_starts_a_new_cycle(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, on=watch)
    made = subscribe(client, who, price(client, 0).id)
    paid = price(client, 1000)
    advance(client, watch, JAN_31 + 5 * DAY)
    item = made["items"].data[0].id
    changed = client.v1.subscriptions.update(made.id, {"items": [{"id": item, "price": paid.id}]})
    assert changed.billing_cycle_anchor == JAN_31 + 5 * DAY
    assert totals(client, who).paid == 1000


def test_send_invoice_is_open_until_paid_out_of_band(client: StripeClient) -> None:
    watch = clock(client, JAN_31)
    who = customer(client, card=None, on=watch)
    terms = {"collection_method": "send_invoice", "days_until_due": 14}
    made = subscribe(client, who, price(client, 1000).id, **terms, expand=["latest_invoice"])
    invoice = made.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (made.status, invoice.status) == ("active", "open")
    assert invoice.due_date == JAN_31 + 14 * DAY
    paid = client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid) == ("paid", 0)


def test_released_clock_continues_on_sandbox_time(client: StripeClient, sandbox: Sandbox) -> None:
    """History can be created on a test clock and then continue in real time."""
    now = int(datetime.now(UTC).timestamp())
    watch = clock(client, now - 40 * DAY)
    who, what = customer(client, on=watch), price(client, 1000)
    made = subscribe(client, who, what.id)
    advance(client, watch, now)
    assert totals(client, who).paid == 2_000
    answer = sandbox.http.post(f"/_sandbox/test_clocks/{watch}/release")
    assert answer.json()["released"] > 0
    assert client.v1.customers.retrieve(who).test_clock is None
    renewed_after = period(client, made.id)[1] + 2 * HOUR - now
    sandbox.http.post("/_sandbox/clock", json={"advance_seconds": renewed_after})
    assert totals(client, who).paid == 3_000

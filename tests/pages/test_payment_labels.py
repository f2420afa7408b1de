"""What the pages say about money and plans, without a browser."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing.currencies import exponent_of
from billing_app.billing.errors import BillingError
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView, QueuePlace
from billing_app.billing.subscriptions.account_alerts import Stop, StopKind
from billing_app.billing.subscriptions.checkouts import CheckoutView
from billing_app.billing.subscriptions.errors import SameOfferError
from billing_app.billing.subscriptions.provider import (
    ProviderPaymentMethod,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.views import SubscriptionView
from billing_app.billing.typed_numbers import minor_units
from billing_app.db.enums import CheckoutStatus, Interval, PlanSource, PlanType, SubscriptionStatus
from billing_app.states import formatting, offer_dialogs, payments
from billing_app.states.balance import plan_row
from billing_app.states.banner import banner_of
from billing_app.states.error_messages import problem
from tests.pages.summaries import summary_of

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def offer(code: str, executions: int, interval: Interval = Interval.MONTH) -> OfferView:
    return OfferView(
        code=code,
        version=1,
        version_id=hash(code),
        name=code.title(),
        description="",
        executions=executions,
        price_minor=7_900,
        currency="USD",
        interval=interval,
        overage=None,
        valid_days=None,
        priority=100,
        trial_days=0,
    )


@pytest.mark.parametrize(
    ("amount_minor", "currency", "said"),
    [
        (123_450, "USD", "$1,234.50"),
        (-471, "EUR", "\N{MINUS SIGN}€4.71"),
        (5, "GBP", "£0.05"),
        (1_235, "JPY", "1,235 JPY"),
        (1_500, "KWD", "1.500 KWD"),
        (0, "CHF", "0.00 CHF"),
    ],
)
def test_money_is_formatted_by_currency(amount_minor: int, currency: str, said: str) -> None:
    assert formatting.money(amount_minor, currency) == said


@given(st.integers(0, 10**13 - 1), st.sampled_from(["USD", "JPY", "KWD"]))
def test_typed_amount_is_parsed(amount_minor: int, currency: str) -> None:
    whole, rest = divmod(amount_minor, 10 ** exponent_of(currency))
    if whole >= 10**12:
        return
    decimals = f".{rest:0{exponent_of(currency)}d}" if exponent_of(currency) else ""
    assert minor_units(f" {whole:,}{decimals}", currency) == amount_minor


@pytest.mark.parametrize("typed", ["", "-1", "1.234", "1e3", "a lot", "1.2.3", "٣", "9" * 40])
def test_invalid_amount_is_rejected(typed: str) -> None:
    assert minor_units(typed, "USD") is None


def test_monthly_price_is_compared_with_monthly_price() -> None:
    monthly, yearly = offer("growth", 30_000), offer("growth-yearly", 360_000, Interval.YEAR)
    assert not payments.is_smaller(yearly, monthly)
    assert not payments.is_smaller(monthly, yearly)
    assert payments.is_smaller(offer("starter", 5_000), yearly)
    assert not payments.is_smaller(offer("scale", 150_000), monthly)


def test_customer_keeps_the_version_that_they_bought() -> None:
    held = offer("growth", 30_000)
    newer = replace(held, version=2, version_id=2, price_minor=9_900)
    purchase_state = payments.PurchaseState(subscription_to(held), None)
    shown = payments.offers_shown([offer("starter", 5_000), newer], purchase_state.subscription)
    starter, own, other = (payments.offer_item(each, purchase_state) for each in shown)
    assert (starter.action, starter.is_current) == ("Change to Starter", False)
    assert (own.price, own.badge, own.action, own.is_current) == ("$79.00", "Your plan", "", True)
    assert (other.price, other.badge, other.action, other.is_current) == (
        "$99.00",
        "New version",
        "Change to the new version",
        False,
    )
    assert payments.offers_shown([held], purchase_state.subscription) == [held]
    assert payments.offers_shown([newer], None) == [newer]


def test_scheduled_version_starts_while_another_is_offered() -> None:
    held = offer("growth", 30_000)
    second, third = (replace(held, version=each, version_id=each) for each in (2, 3))
    subscription = replace(subscription_to(held), next_offer=second)
    scheduled = payments.offer_item(second, payments.PurchaseState(subscription, None))
    newest = payments.offer_item(third, payments.PurchaseState(subscription, None))
    assert scheduled.badge.startswith("Starts ")
    assert newest.action == "Change to the new version"
    told = offer_dialogs.changed(subscription, None, summary_of(NO_PLAN))
    assert told.title.startswith("The new version of Growth starts on ")
    dialog, _ = offer_dialogs.changing(subscription, second, None)
    assert (dialog.title, dialog.dismiss_label) == (
        "Change to the new version of Growth",
        "Stay on your version",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        (
            {"cancel_at_period_end": True},
            " Your cancellation on 9 April 2026 is withdrawn then: the plan renews again.",
        ),
        (
            {"next_offer": offer("scale", 150_000)},
            " It replaces the change to Scale on 9 April 2026.",
        ),
    ],
)
def test_change_says_what_it_replaces(changes: dict[str, Any], said: str) -> None:
    subscription = replace(subscription_to(offer("growth", 30_000)), **changes)
    dialog, _ = offer_dialogs.changing(subscription, offer("starter", 5_000), None)
    assert dialog.text == f"Nothing changes until you confirm.{said}"


def subscription_to(held: OfferView) -> SubscriptionView:
    return SubscriptionView(
        id="sub_1",
        account_id="acc_1",
        status=SubscriptionStatus.ACTIVE,
        offer=held,
        next_offer=None,
        period_start=NOW,
        period_end=NOW + timedelta(days=30),
        cancel_at_period_end=False,
        ends_at=NOW + timedelta(days=30),
        is_collecting=True,
        quantity=1,
        past_due_since=None,
        ended_at=None,
    )


NO_PLAN = CurrentPlan("acc_1", None, 0, 0, 0, 0, None, [], None)


def test_purchase_behind_a_current_plan_is_called_next() -> None:
    waiting = plan_view("Growth", PlanState.UPCOMING)
    current = replace(NO_PLAN, plan=plan_view("Trial", PlanState.CURRENT), upcoming=[waiting])
    found = checkout(CheckoutStatus.COMPLETE, is_paid=True)
    told = payments.checkout_notice("done", found, summary_of(current, now=NOW), returned_at=NOW)
    assert told.title == "Paid: Growth is next"
    assert told.text == "Its 30,000 executions become available when Trial is used up or ends."


def plan_view(name: str, state: PlanState) -> PlanView:
    return PlanView(
        id="pln_1",
        sequence=1,
        type=PlanType.PAID,
        name=name,
        source=PlanSource.SUBSCRIPTION,
        state=state,
        executions=30_000,
        used=0,
        held=0,
        remaining=30_000,
        starts_at=NOW,
        ends_at=None,
        began_at=NOW if state is PlanState.CURRENT else None,
        began_because=None,
        ended_at=None,
        ended_because=None,
        paused_at=None,
    )


def checkout(
    status: CheckoutStatus, *, is_paid: bool = False, hours_ago: float = 0
) -> CheckoutView:
    created_at = NOW - timedelta(hours=hours_ago)
    return CheckoutView(offer("growth", 30_000), status, "https://pay.example", created_at, is_paid)


@pytest.mark.parametrize(
    ("answer", "found", "title"),
    [
        ("done", checkout(CheckoutStatus.COMPLETE, is_paid=True), "You paid for Growth"),
        ("left", checkout(CheckoutStatus.COMPLETE, is_paid=True), "You paid for Growth"),
        ("done", checkout(CheckoutStatus.COMPLETE), "Paid, being confirmed"),
        ("done", checkout(CheckoutStatus.OPEN), "Your payment is being confirmed"),
        ("left", checkout(CheckoutStatus.OPEN), "Checkout not completed"),
        ("", checkout(CheckoutStatus.CONFIRMING, hours_ago=30), "Paid, being confirmed"),
        ("left", checkout(CheckoutStatus.CONFIRMING), "Paid, being confirmed"),
        ("left", checkout(CheckoutStatus.EXPIRED), "The checkout is no longer open"),
        ("done", checkout(CheckoutStatus.COMPLETE, is_paid=True, hours_ago=2), ""),
        ("", checkout(CheckoutStatus.OPEN), ""),
        ("done", None, ""),
    ],
)
def test_message_after_checkout_matches_its_outcome(
    answer: str, found: CheckoutView | None, title: str
) -> None:
    told = payments.checkout_notice(answer, found, summary_of(NO_PLAN, now=NOW), returned_at=NOW)
    assert told.title == title


@pytest.mark.parametrize(
    ("seconds", "promises"), [(0, True), (60, True), (61, False), (170, False)]
)
def test_minute_is_promised_only_while_it_lasts(seconds: int, promises: bool) -> None:
    returned_at = NOW - timedelta(seconds=seconds)
    found = checkout(CheckoutStatus.COMPLETE)
    told = payments.checkout_notice(
        "done", found, summary_of(NO_PLAN, now=NOW), returned_at=returned_at
    )
    assert ("within a minute" in told.text) is promises
    assert ("there is no need to pay again" in told.text) is not promises


def stop(kind: StopKind, *, is_over: bool, elsewhere: int = 0) -> Stop:
    at = NOW - timedelta(days=1) if is_over else NOW + timedelta(days=3)
    return Stop(kind, "Growth", at, is_over, 7_900, "USD", "https://pay.example", elsewhere)


def test_trial_is_not_charged_today() -> None:
    card = ProviderPaymentMethod("pm_1", "Visa", "4242", "12/2030")
    growth, alone = offer("growth", 30_000), QueuePlace(0, 0)
    today, (pay,) = offer_dialogs.subscribing(growth, card, alone, growth.price_minor, trial_days=0)
    later, (start,) = offer_dialogs.subscribing(
        growth, card, alone, growth.price_minor, trial_days=14
    )
    assert "is charged to your Visa ending in 4242 today" in today.text
    assert "is charged to your Visa ending in 4242 after 14 days of trial" in later.text
    assert (pay.confirm_label, start.confirm_label) == ("Pay $79.00", "Start trial")


def test_dialogs_tell_the_charge_with_its_tax() -> None:
    card = ProviderPaymentMethod("pm_1", "Visa", "4242", "12/2030")
    growth, alone = offer("growth", 30_000), QueuePlace(0, 0)
    dialog, (pay,) = offer_dialogs.subscribing(growth, card, alone, 9_401, trial_days=0)
    assert "$94.01 is charged to your Visa ending in 4242 today" in dialog.text
    assert pay.confirm_label == "Pay $94.01"
    dialog, (pay,) = offer_dialogs.buying(growth, card, alone, 9_401)
    assert pay.confirm_label == "Pay $94.01"


def test_used_trial_leads_to_paying() -> None:
    found = replace(checkout(CheckoutStatus.COMPLETE), is_trial_refused=True)
    summary = summary_of(NO_PLAN, now=NOW)
    told = payments.checkout_notice("done", found, summary, returned_at=NOW)
    assert told.title == "This card has already been used for a trial"
    assert told.text == "Nothing was charged. Choose the plan to start paying right away."


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (QueuePlace(0, 0), ""),
        (QueuePlace(7, 0), " What you have now stays and is used first."),
        (QueuePlace(0, 7), " They are used first; what you have now stays."),
        (
            QueuePlace(1, 7),
            " What you have now stays: 1 execution is used before them, the rest after.",
        ),
    ],
)
def test_subscribing_says_what_is_used_first(place: QueuePlace, said: str) -> None:
    card = ProviderPaymentMethod("pm_1", "Visa", "4242", "12/2030")
    growth = offer("growth", 30_000)
    _, (pay,) = offer_dialogs.subscribing(growth, card, place, growth.price_minor, trial_days=0)
    assert pay.text == f"You get 30,000 executions right away.{said}"


@pytest.mark.parametrize(
    ("valid_days", "place", "said"),
    [
        (None, QueuePlace(0, 0), "They do not expire."),
        (30, QueuePlace(0, 0), "They expire after 30 days."),
        (None, QueuePlace(7, 0), "They do not expire. What you have now stays and is used first."),
    ],
)
def test_pack_names_the_card_and_the_amount(
    valid_days: int | None, place: QueuePlace, said: str
) -> None:
    card = ProviderPaymentMethod("pm_1", "Visa", "4242", "12/2030")
    pack = replace(offer("pack", 10_000, Interval.ONCE), valid_days=valid_days)
    dialog, (pay,) = offer_dialogs.buying(pack, card, place, pack.price_minor)
    assert dialog.text == "$79.00 is charged to your Visa ending in 4242 today, once."
    assert (pay.text, pay.confirm_label) == (f"You get 10,000 executions. {said}", "Pay $79.00")


def test_bought_pack_is_next_behind_the_plan_in_use() -> None:
    pack, growth = plan_view("Pack", PlanState.UPCOMING), plan_view("Growth", PlanState.CURRENT)
    bought = offer("pack", 30_000, Interval.ONCE)
    told = payments.bought(bought, summary_of(replace(NO_PLAN, plan=growth, upcoming=[pack])))
    assert told.title == "Paid: Pack is next"
    in_use = replace(pack, state=PlanState.CURRENT)
    found = summary_of(replace(NO_PLAN, plan=in_use))
    assert payments.bought(bought, found).title == "Paid: Pack is active"


def test_plan_that_gave_way_shows_what_it_has_left() -> None:
    trial = replace(
        plan_view("Trial", PlanState.UPCOMING), began_at=NOW, used=300, remaining=29_700
    )
    row = plan_row(trial)
    assert (row.state, row.note) == ("Next", "29,700 of 30,000 left. Takes over automatically")
    assert plan_row(replace(trial, used=0)).note == "Takes over automatically"


def test_banner_names_the_deadline_and_what_follows() -> None:
    in_grace = banner_of(stop(StopKind.PAST_DUE, is_over=False), may_manage=True, managers="")
    assert (in_grace.tone, in_grace.pay_label) == ("warning", "Pay $79.00")
    assert "Executions continue until 13 Mar 2026, 12:00 UTC." in in_grace.text
    assert "After that, new executions are refused until it is paid." in in_grace.text
    over = banner_of(stop(StopKind.PAST_DUE, is_over=True), may_manage=True, managers="")
    assert over.title == "Executions have been refused since 9 March 2026"
    with_more = stop(StopKind.PAST_DUE, is_over=True, elsewhere=10_000)
    assert "refused" not in banner_of(with_more, may_manage=True, managers="").title
    assert "10,000" in banner_of(with_more, may_manage=True, managers="").text


def test_member_learns_who_can_pay() -> None:
    banner = banner_of(stop(StopKind.PAST_DUE, is_over=True), may_manage=False, managers="Ada")
    assert "Ada can pay." in banner.text
    assert (banner.page_url, banner.has_portal) == ("", False)


@pytest.mark.parametrize(
    ("error", "charges", "said"),
    [
        (
            PaymentDeclinedError(reason="x", detail="No funds."),
            True,
            "No funds. Nothing was charged.",
        ),
        (PaymentProviderUnavailableError(), True, "You are never charged twice."),
        (PaymentProviderUnavailableError(), False, "Nothing was changed."),
        (SameOfferError(), False, "There is nothing to change."),
        (NotAtProviderError(), True, "may or may not have gone through. We are checking"),
        (NotAtProviderError(), False, "Nothing was changed and nothing was charged."),
    ],
)
def test_errors_say_whether_money_moved(error: BillingError, charges: bool, said: str) -> None:
    assert said in problem(error, charges=charges).text

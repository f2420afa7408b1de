"""A customer pays, changes, cancels and comes back, through the real pages and the sandbox's."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from billing_app import routes
from tests.pages.conftest import PHONE, OpenContext, RunningApp
from tests.pages.customers import (
    CHALLENGED,
    DECLINED,
    POOR,
    TOLD_WITHIN_MS,
    VISA,
    new_customer,
    open_overview,
    paid_for,
    subscribe,
    type_card,
)


def offer(page: Page, name: str) -> Locator:
    return page.locator(".offer").filter(has=page.get_by_role("heading", name=name, exact=True))


def test_trial_to_paid_change_cancel_and_resubscribe(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    expect(page.get_by_role("heading", name="Choose a plan")).to_be_visible()
    expect(page.get_by_text("No card on file")).to_be_visible()
    subscribe(mary, "Starter")
    expect(page.locator(".queue-item:not(.follows)")).to_contain_text(
        [re.compile("Starter.*In use"), re.compile("Trial.*Next")]
    )
    expect(page.locator(".queue-item").last).to_contain_text(
        re.compile(r"Starter renews on .+: 5,000 executions for \$19\.00")
    )
    expect(page.locator(".method")).to_contain_text("Visa ending in 4242")
    invoices = page.get_by_role("table", name="Invoices")
    expect(invoices.get_by_role("row").nth(1)).to_contain_text("$19.00")
    expect(invoices.get_by_role("row").nth(1)).to_contain_text("Paid")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text(paid_for("Starter"))).to_be_hidden()

    # An upgrade now: both sides, the lines to the cent, then the yes.
    page.get_by_role("button", name="Change to Growth").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".change-side")).to_have_count(2)
    expect(dialog.locator(".amount").last).to_contain_text("$60.00")
    expect(dialog.locator(".amounts")).to_contain_text("\N{MINUS SIGN}$19.00")
    expect(dialog).to_contain_text("You give up 5,000 unused Starter executions")
    dialog.get_by_role("button", name="Pay $60.00 and change now").click()
    expect(page.get_by_text("You are now on Growth")).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(offer(page, "Growth")).to_contain_text("Your plan")
    expect(invoices.get_by_role("row").nth(1)).to_contain_text("$60.00")

    # A downgrade waits for the end of the period, and can be taken back.
    page.get_by_role("button", name="Change to Starter").click()
    expect(dialog).to_contain_text("Nothing is charged today. You keep your 30,000 executions")
    expect(dialog.locator(".amounts")).to_have_count(0)
    dialog.get_by_role("button", name=re.compile("^Change on ")).click()
    expect(page.get_by_text(re.compile("^Starter starts on"))).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(page.locator(".terms")).to_contain_text("Changes to Starter ($19.00 a month) on")
    page.get_by_role("button", name="Stay on Growth").click()
    expect(page.locator(".terms")).to_contain_text("Renews on", timeout=TOLD_WITHIN_MS)

    # Cancel at the end of the period, and come back.
    page.get_by_role("button", name="Cancel Growth").click()
    expect(dialog).to_contain_text("You keep 30,000 executions until")
    expect(dialog).to_contain_text(
        "You lose 30,000 executions right away, and nothing is refunded."
    )
    dialog.get_by_role("button", name=re.compile("^Cancel on ")).click()
    expect(page.locator(".terms")).to_contain_text(
        "You keep 30,000 executions until then.", timeout=TOLD_WITHIN_MS
    )
    page.get_by_role("button", name="Keep the plan").click()
    expect(page.get_by_text("Growth continues")).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(page.locator(".terms")).to_contain_text("Renews on")

    # Now, the harder way; afterwards the card on file is only charged after a yes.
    page.get_by_role("button", name="Cancel Growth").click()
    dialog.get_by_text("Now", exact=True).click()
    dialog.get_by_role("button", name="Cancel now and lose 30,000 executions").click()
    expect(page.get_by_text("Growth is cancelled")).to_be_visible(timeout=TOLD_WITHIN_MS)
    page.get_by_role("button", name="Choose Starter").click()
    expect(dialog).to_contain_text("$19.00 is charged to your Visa ending in 4242 today")
    expect(dialog).to_contain_text("They are used first; what you have now stays.")
    dialog.get_by_role("button", name="Pay $19.00").click()
    expect(page.get_by_text("Starter is active", exact=True)).to_be_visible(timeout=TOLD_WITHIN_MS)
    paid = mary.rows("SELECT sum(amount_paid_minor) FROM invoices WHERE account_id = %s")
    assert paid == [(1_900 + 6_000 + 1_900,)]


def test_packs_and_invoices_fit_on_a_phone(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app, size=PHONE)
    page = mary.page
    subscribe(mary, "Starter")
    client = running_app.sandbox.client()
    ((customer_id,),) = mary.rows(
        "SELECT customer_id FROM provider_customers WHERE account_id = %s"
    )
    (charge,) = client.v1.charges.list({"customer": customer_id}).data
    client.v1.refunds.create({"charge": charge.id, "amount": 1_234})
    invoices = page.get_by_role("table", name="Invoices")
    expect(invoices).to_contain_text("$12.34 refunded", timeout=TOLD_WITHIN_MS)
    for link in ("View", "PDF"):
        invoices.get_by_role("link", name=link).scroll_into_view_if_needed()
        expect(invoices.get_by_role("link", name=link)).to_be_in_viewport(ratio=1)
    assert not invoices.evaluate("table => table.scrollWidth > table.parentElement.clientWidth")
    expect(page.locator(".pack-executions")).to_be_visible()


def test_single_offer_keeps_its_width(open_context: OpenContext, running_app: RunningApp) -> None:
    page = new_customer(open_context, running_app).page
    page.get_by_role("button", name="Yearly").click()
    expect(page.locator(".offer")).to_have_count(1)
    (alone,) = page.locator(".offer").evaluate_all("all => all.map(each => each.offsetWidth)")
    (whole,) = page.locator(".offers").evaluate_all("all => all.map(each => each.offsetWidth)")
    assert alone == pytest.approx(whole / 3, abs=3)


def test_portal_and_return(open_context: OpenContext, running_app: RunningApp) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    page.get_by_role("button", name="Manage in Stripe").click()
    page.wait_for_url("**/portal/**")
    page.get_by_role("link", name="Return to the service").click()
    page.wait_for_url(f"**{routes.OVERVIEW}")
    expect(page.get_by_role("heading", name="Plans", exact=True)).to_be_visible()


@pytest.mark.parametrize("number", [DECLINED, POOR])
def test_declined_checkout_can_be_left_and_paid_later(
    open_context: OpenContext, running_app: RunningApp, number: str
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    page.get_by_role("button", name="Choose Starter").click()
    page.wait_for_url("**/checkout/**")
    first = page.url
    type_card(page, number, "Subscribe")
    expect(page.get_by_role("alert")).to_be_visible()
    page.goto(f"{routes.OVERVIEW}?checkout=left")
    expect(page.get_by_text("Checkout not completed")).to_be_visible()
    expect(page.get_by_text("Nothing was charged.")).to_be_visible()
    page.wait_for_url(f"**{routes.OVERVIEW}")
    open_overview(page)
    expect(page.get_by_text("Checkout not completed")).to_be_hidden()
    page.get_by_role("button", name="Continue checkout: Starter").click()
    page.wait_for_url("**/checkout/**")
    assert page.url == first, "the open checkout is taken up again"
    type_card(page, VISA, "Subscribe")
    expect(page.get_by_text(paid_for("Starter"))).to_be_visible(timeout=TOLD_WITHIN_MS)
    assert mary.rows("SELECT count(*) FROM checkouts WHERE account_id = %s") == [(1,)]


def test_bank_challenge_is_completed(open_context: OpenContext, running_app: RunningApp) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    page.get_by_role("button", name="Choose Starter").click()
    page.wait_for_url("**/checkout/**")
    type_card(page, CHALLENGED, "Subscribe")
    page.wait_for_url("**/challenge/**")
    page.get_by_role("button", name="Complete").click()
    expect(page.get_by_text(paid_for("Starter"))).to_be_visible(timeout=TOLD_WITHIN_MS)


def test_buy_extra_executions(open_context: OpenContext, running_app: RunningApp) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    page.get_by_role("button", name="Buy: Extra pack").click()
    page.wait_for_url("**/checkout/**")
    type_card(page, VISA, "Pay")
    expect(page.get_by_text(paid_for("Extra pack"))).to_be_visible(timeout=TOLD_WITHIN_MS)
    pack = page.locator(".queue-item").filter(has_text="Extra pack")
    expect(pack).to_contain_text("10,000")

    # Who leaves the next checkout is told nothing of the one before.
    page.wait_for_url("**/overview")
    page.get_by_role("button", name="Buy: Extra pack").click()
    page.wait_for_url("**/checkout/**")
    page.go_back()
    expect(pack).to_contain_text("10,000")
    expect(page.get_by_text("Your payment is being confirmed")).to_have_count(0)
    assert page.url.endswith(routes.OVERVIEW)


def test_declined_upgrade_explains_and_changes_nothing(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    subscribe(mary, "Starter")
    client = running_app.sandbox.client()
    ((customer_id,),) = mary.rows(
        "SELECT customer_id FROM provider_customers WHERE account_id = %s"
    )
    method = client.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": customer_id}
    ).id
    (found,) = client.v1.subscriptions.list({"customer": customer_id}).data
    client.v1.subscriptions.update(found.id, {"default_payment_method": method})
    page.get_by_role("button", name="Change to Growth").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Pay $60.00 and change now").click()
    alert = dialog.get_by_role("alert")
    expect(alert).to_contain_text("The payment was declined", timeout=TOLD_WITHIN_MS)
    expect(alert).to_contain_text("Nothing was charged.")
    expect(dialog.get_by_role("button", name="Update card")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    open_overview(page)
    expect(offer(page, "Starter")).to_contain_text("Your plan")

"""When executions run out: what helps is said and done on the spot, and told only once."""

import re

from playwright.sync_api import Page, expect

from billing_app import routes
from tests.factories import connect
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import TOLD_WITHIN_MS, new_customer, open_overview, subscribe
from tests.pages.test_accessibility import faults
from tests.pages.test_limits import consume, order


def open_dashboard(page: Page) -> None:
    page.goto(routes.DASHBOARD)
    page.locator("#remaining").wait_for()


def test_next_period_starts_now_and_is_announced_once(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    subscribe(mary, "Starter")
    start = page.get_by_role("button", name="Start the next period now")
    expect(start).to_have_count(0)
    consume(mary, 5_000 + 100, f"all-{mary.user_id}")
    expect(start.first).to_be_visible(timeout=TOLD_WITHIN_MS)
    found = faults(page, "running-out-overview")
    open_dashboard(page)
    expect(page.get_by_text("New executions are refused until Starter renews")).to_be_visible()
    found += faults(page, "running-out-dashboard")
    start.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(
        "$19.00 is charged to your Visa ending in 4242 today", timeout=TOLD_WITHIN_MS
    )
    found += faults(page, "running-out-next-period", within="[role=dialog]")
    dialog.get_by_role("button", name="Pay $19.00 and start now").click()
    done = page.get_by_text("The next period of Starter has started")
    expect(done).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(page.locator("#remaining")).to_have_text("5,000", timeout=TOLD_WITHIN_MS)
    found += faults(page, "running-out-started")
    paid = mary.rows("SELECT sum(amount_paid_minor) FROM invoices WHERE account_id = %s")
    assert paid == [(2 * 1_900,)]
    open_dashboard(page)
    expect(done).to_be_hidden()
    open_overview(page)
    expect(done).to_be_hidden()
    assert found == []


def test_limit_near_and_reached_is_raised_on_the_spot(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    subscribe(mary, "Scale")
    order(page, "Spending limit").get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Limit per period, in USD").fill("20")
    dialog.get_by_role("button", name="Save a limit of $20.00").click()
    expect(dialog).to_be_hidden()
    consume(mary, 100 + 150_000 + 7_000, f"near-{mary.user_id}")
    near = page.get_by_text("$17.50 of your $20.00 spending limit is used")
    expect(near).to_be_visible(timeout=TOLD_WITHIN_MS)
    found = faults(page, "limit-near-overview")
    open_dashboard(page)
    expect(near).to_be_visible()
    expect(page.get_by_text("Running beyond your plan")).to_be_visible()
    found += faults(page, "limit-near-dashboard")
    consume(mary, 1_000, f"reached-{mary.user_id}")
    reached = page.get_by_text("Your $20.00 spending limit is reached")
    expect(reached).to_be_visible(timeout=TOLD_WITHIN_MS)
    found += faults(page, "limit-reached-dashboard")
    page.get_by_role("link", name="Raise the limit").click()
    page.locator(".offers").wait_for()
    expect(page.locator("#spending")).to_be_in_viewport()
    expect(reached).to_be_visible()
    page.get_by_role("button", name="Raise the limit").click()
    dialog.get_by_label("Limit per period, in USD").fill("40")
    dialog.get_by_role("button", name="Save a limit of $40.00").click()
    expect(reached).to_be_hidden(timeout=TOLD_WITHIN_MS)
    expect(page.get_by_text("Executions continue within your spending limit")).to_be_visible()
    consume(mary, 1, f"more-{mary.user_id}")
    assert found == []


def test_stopped_top_up_is_not_called_on(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    subscribe(mary, "Starter")
    open_overview(page)
    order(page, "Automatic top-up").get_by_role("button").click()
    page.get_by_role("dialog").get_by_role("button", name="Allow up to").click()
    is_on = page.get_by_text("Automatic top-up is on")
    expect(is_on).to_be_visible(timeout=TOLD_WITHIN_MS)
    with connect(running_app.database_url) as connection:
        connection.execute(
            "UPDATE top_ups SET stopped_because = 'Your card was declined.' WHERE account_id = %s",
            [mary.account_number],
        )
    stopped = page.get_by_text("Automatic top-up has stopped")
    expect(stopped).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(is_on).to_be_hidden()
    found = faults(page, "top-up-stopped-overview")
    open_dashboard(page)
    expect(stopped).to_be_visible()
    expect(page.get_by_text("Update the card in Stripe, then turn it on again.")).to_be_visible()
    found += faults(page, "top-up-stopped-dashboard")
    page.get_by_role("link", name="See the automatic top-up").click()
    expect(order(page, "Automatic top-up")).to_contain_text("Stopped")
    assert found == []


def test_pack_is_charged_to_the_card_on_file_after_a_yes(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    subscribe(mary, "Starter")
    page.get_by_role("button", name="Buy: Extra pack").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(
        "$29.00 is charged to your Visa ending in 4242 today, once.", timeout=TOLD_WITHIN_MS
    )
    expect(dialog.get_by_role("button", name="Pay another way")).to_be_visible()
    found = faults(page, "pack-dialog", within="[role=dialog]")
    dialog.get_by_role("button", name="Pay $29.00").click()
    expect(page.get_by_text("Paid: Extra pack is queued")).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(dialog).to_be_hidden()
    expect(page.locator(".queue-item").filter(has_text="Extra pack")).to_contain_text("10,000")
    invoices = page.get_by_role("table", name="Invoices")
    expect(invoices.get_by_role("row").filter(has_text="$29.00")).to_contain_text("Extra pack")
    starter = invoices.get_by_role("row").filter(has_text="$19.00")
    expect(starter).to_contain_text(re.compile(r"Starter, \d+ \w+ \d+ \u2013 \d+ \w+ \d+"))
    found += faults(page, "pack-bought")
    paid = mary.rows("SELECT sum(amount_paid_minor) FROM invoices WHERE account_id = %s")
    assert paid == [(1_900 + 2_900,)]
    assert found == []

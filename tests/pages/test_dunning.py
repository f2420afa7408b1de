"""A payment that fails: everybody sees it on every page, until it is paid."""

import re
from typing import LiteralString

from playwright.sync_api import expect

from billing_app import routes
from tests.factories import connect
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import (
    TOLD_WITHIN_MS,
    VISA,
    fail_the_renewal,
    new_customer,
    on_test_clock,
    open_overview,
    subscribe,
    type_card,
)
from tests.pages.test_accessibility import grave_violations

DAYS_IN_GRACE = 33
DAYS_AFTER_GRACE = 45


def test_overdue_banner_stays_on_every_page_until_paid(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    clock_id = on_test_clock(mary, days_ago=DAYS_IN_GRACE)
    subscribe(mary, "Starter")
    fail_the_renewal(mary, clock_id)
    banner = page.locator(".notice").filter(has_text="$19.00 for Starter could not be charged")
    expect(banner).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(banner).to_contain_text("Executions continue until")
    for path in (routes.DASHBOARD, routes.USAGE):
        page.goto(path)
        expect(banner).to_be_visible()
    assert grave_violations(page) == []
    with mary.context.expect_page() as opened:
        banner.get_by_role("link", name="Pay $19.00").click()
    invoice = opened.value
    type_card(invoice, VISA, "Pay")
    expect(banner).to_be_hidden(timeout=TOLD_WITHIN_MS)


def test_executions_are_refused_after_grace_and_the_card_can_be_changed(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    clock_id = on_test_clock(mary, days_ago=DAYS_AFTER_GRACE)
    with connect(running_app.database_url) as connection:
        connection.execute(
            "UPDATE plans SET ends_at = now(), ended_at = now(), ended_because = 'period_ended'"
            " WHERE account_id = %s",
            [mary.account_number],
        )
    subscribe(mary, "Starter")
    fail_the_renewal(mary, clock_id)
    banner = page.locator(".notice").filter(has_text="Executions have been refused since")
    expect(banner).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(banner).to_contain_text("$19.00 for Starter is overdue")
    open_overview(page)
    page.get_by_role("button", name="Change to Growth").click()
    expect(page.get_by_role("alert")).to_contain_text("Pay the open invoice first")
    page.keyboard.press("Escape")
    expect(page.get_by_role("table", name="Invoices")).to_contain_text("Unpaid")
    banner.get_by_role("button", name="Update card").click()
    page.wait_for_url("**/portal/**")


def test_paused_plan_and_blocked_account_are_explained(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)

    def stop(what: LiteralString) -> None:
        with connect(running_app.database_url) as connection:
            query: LiteralString = "UPDATE plans SET " + what + " WHERE account_id = %s"  # noqa: S608
            connection.execute(query, [mary.account_number])

    stop("paused_at = now()")
    expect(mary.page.get_by_text("Trial is paused")).to_be_visible()
    stop("paused_at = NULL, blocked_at = now()")
    expect(mary.page.get_by_text("This account is blocked")).to_be_visible()
    expect(
        mary.page.get_by_text(
            re.compile("New executions have been refused since .* Contact support")
        )
    ).to_be_visible()
    stop("blocked_at = NULL")
    expect(mary.page.get_by_text("This account is blocked")).to_be_hidden()

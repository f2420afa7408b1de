"""The console's main paths, with real services, a worker and the payment sandbox."""

import re
import secrets

from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.db.enums import StaffRole
from tests.factories import connect
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import TOLD_WITHIN_MS, new_customer
from tests.pages.staff import expect_said, open_console, undo_at_once
from tests.pages.staff_scenes import draft
from tests.pages.test_accessibility import faults, grave_violations, picture

WHY = "Their run failed on our side"


def open_northwind(page: Page) -> None:
    page.get_by_label("Search customers").fill("north")
    page.get_by_role("link", name="Northwind").click()
    expect(page.get_by_role("heading", name="Northwind", exact=True)).to_be_visible()


def left(page: Page) -> int:
    return int(page.locator(".figure-value").first.inner_text().replace(",", ""))


def test_search_open_grant_and_undo(open_context: OpenContext, running_app: RunningApp) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS)
    open_northwind(page)
    before = left(page)
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Grant executions").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Executions").fill("700")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="Review").click()
    expect(dialog.locator("#consequence")).to_contain_text(
        f"Remaining executions go from {before:,} to {before + 700:,}."
    )
    dialog.get_by_role("button", name="Grant executions").click()
    expect_said(page, "700 executions granted")
    expect(page.locator(".figure-value").first).to_have_text(f"{before + 700:,}")
    undo_at_once(page)
    expect(page.locator(".figure-value").first).to_have_text(f"{before:,}")
    page.get_by_role("tab", name="Audit").click()
    rows = page.get_by_role("table", name="Audit").get_by_role("row")
    expect(rows.nth(2)).to_contain_text("700 executions granted")
    expect(rows.nth(2)).to_contain_text("Undone")


def test_refused_repair_explains_and_changes_nothing(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS, role=StaffRole.SUPPORT)
    open_northwind(page)
    before = left(page)
    page.get_by_role("button", name="Actions").click()
    adjust = page.get_by_role("menuitem", name="Adjust used executions")
    expect(adjust).to_have_attribute("aria-disabled", "true")
    page.get_by_role("menuitem", name="Grant executions").click()
    dialog = page.get_by_role("dialog")
    for executions, told in (
        ("-5", "Enter a whole number greater than 0."),
        ("99999999999999", "Enter a whole number greater than 0."),
        ("5000", "The role support may move at most 1,000 executions at a time."),
    ):
        dialog.get_by_label("Executions").fill(executions)
        dialog.get_by_label("Reason").fill(WHY)
        dialog.get_by_role("button", name="Review").click()
        expect(dialog).to_contain_text(told)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert left(page) == before


def test_published_draft_is_shown_to_customers(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    code = f"team-{secrets.token_hex(3)}"
    page = open_console(open_context, running_app, routes.STAFF_OFFERS)
    page.get_by_role("link", name="New offer").click()
    page.get_by_label("Code").fill(code)
    page.get_by_label("Name", exact=True).fill("Team Nine")
    page.get_by_label("Executions included").fill("9000")
    page.get_by_label("Price", exact=True).fill("39.50")
    expect(page.locator("#preview")).to_contain_text("$39.50")
    expect(page.locator("#preview")).to_contain_text("9,000 executions")
    page.get_by_role("button", name="Save draft").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("A new size")
    dialog.get_by_role("button", name="Save draft").click()
    page.wait_for_url(f"**{routes.staff_offer(code)}")
    page.get_by_role("button", name="Publish").click()
    dialog.get_by_label("Reason").fill("A new size")
    dialog.get_by_role("button", name="Publish draft").click()
    expect_said(page, "Version 1 is on sale.")
    expect(page.get_by_role("table", name="Versions")).to_contain_text("$39.50")
    mary = new_customer(open_context, running_app)
    mary.page.goto(routes.OVERVIEW)
    expect(mary.page.locator(".offer").filter(has_text="Team Nine")).to_be_visible()
    page.get_by_role("button", name="Archive").click()
    dialog.get_by_label("Reason").fill("Only a test")
    dialog.get_by_role("button", name="Archive offer").click()
    expect_said(page, "Offer archived.")


def test_two_people_edit_the_same_draft(open_context: OpenContext, running_app: RunningApp) -> None:
    path = routes.staff_offer("scale")
    first = open_console(open_context, running_app, path)
    second = open_console(open_context, running_app, path)
    for page, words in ((first, "For companies"), (second, "For big companies")):
        page.get_by_label("Description").fill(words)
        page.get_by_role("button", name="Save draft").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("Better words")
        page.get_by_role("dialog").get_by_role("button", name="Save draft").click()
        if page is first:
            expect_said(page, "Draft saved.")
    changes = second.get_by_role("table", name="Changes")
    expect(changes).to_contain_text("Description")
    expect(changes).to_contain_text("For companies")
    expect(changes).to_contain_text("For big companies")
    second.get_by_role("button", name="Take theirs").click()
    expect(second.get_by_label("Description")).to_have_value("For companies")


def test_keep_mine_keeps_what_a_colleague_changed(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    code = draft(running_app)
    first, second = (
        open_console(open_context, running_app, routes.staff_offer(code)) for _ in range(2)
    )

    def save(page: Page) -> None:
        page.get_by_role("button", name="Save draft").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("Better words")
        page.get_by_role("dialog").get_by_role("button", name="Save draft").click()

    first.get_by_label("Price", exact=True).fill("45.00")
    first.get_by_label("Name", exact=True).fill("Theirs")
    save(first)
    expect_said(first, "Draft saved.")
    second.get_by_label("Name", exact=True).fill("Mine")
    save(second)
    changes = second.get_by_role("table", name="Changes")
    expect(changes.get_by_role("row").filter(has_text="Price")).to_contain_text("not changed")
    second.get_by_role("button", name="Keep mine").dblclick()
    expect(changes).to_have_count(0)
    expect(second.get_by_label("Price", exact=True)).to_have_value("45.00")
    expect(second.get_by_label("Name", exact=True)).to_have_value("Mine")
    save(second)
    expect_said(second, "Draft saved.")
    second.get_by_label("Name", exact=True).fill("Never saved")
    expect(second.get_by_role("heading", level=1)).to_have_text("Never saved")
    first.reload()
    second.reload()
    for page in (first, second):
        expect(page.get_by_label("Name", exact=True)).to_have_value("Mine")
        expect(page.get_by_label("Price", exact=True)).to_have_value("45.00")


def test_view_as_customer_and_end_the_view(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS)
    open_northwind(page)
    page.get_by_role("button", name="View as customer").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="View as customer").click()
    banner = page.get_by_role("region", name="View as customer")
    for path in routes.SIGNED_IN_PAGES:
        page.goto(path)
        expect(banner).to_contain_text(
            re.compile(r"Viewing Northwind as its owner, read-only until \d\d:\d\d UTC")
        )
    page.goto(routes.OVERVIEW)
    expect(page.get_by_role("heading", name="Support activity")).to_be_visible()
    expect(page.locator(".step").first).to_contain_text("Your pages were viewed, read-only")
    expect(page.locator(".step").first).to_contain_text(WHY)
    page.goto(routes.DASHBOARD)
    expect(page.locator("#remaining")).to_be_visible()
    assert grave_violations(page) == []
    picture(page, "viewing")
    banner.get_by_role("button", name="End").click()
    expect(page.get_by_role("heading", name="Northwind", exact=True)).to_be_visible()
    expect(banner).to_be_hidden()
    page.get_by_role("tab", name="Audit").click()
    rows = page.get_by_role("table", name="Audit").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("Stopped viewing as customer")
    expect(rows.nth(2)).to_contain_text(WHY)


def test_open_page_closes_when_the_view_expires(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS)
    open_northwind(page)
    page.get_by_role("button", name="View as customer").click()
    page.get_by_role("dialog").get_by_label("Reason").fill(WHY)
    page.get_by_role("dialog").get_by_role("button", name="View as customer").click()
    expect(page.locator("#remaining")).to_be_visible()
    with connect(running_app.database_url) as connection:
        connection.execute("UPDATE staff_views SET until = now()")
    expect(page.locator(".console")).to_be_visible(timeout=TOLD_WITHIN_MS)


def test_console_is_hidden_from_customers(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    for path in (*routes.STAFF_PAGES, routes.staff_customer(mary.account_id)):
        mary.page.goto(path)
        expect(mary.page.get_by_role("heading", name="Not found")).to_be_attached()
        expect(mary.page.locator(".console")).to_have_count(0)
    signed_out = open_context().new_page()
    signed_out.goto(routes.STAFF_CUSTOMERS)
    signed_out.wait_for_url(f"**{routes.SIGN_IN}**")


def test_pages_are_accessible_and_fit(open_context: OpenContext, running_app: RunningApp) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS)
    open_northwind(page)
    account = page.url
    found: list[str] = []
    for path in (*routes.STAFF_PAGES, routes.staff_offer("growth"), account):
        page.goto(path)
        page.locator(".console h1").wait_for()
        name = "customer" if path == account else path.strip("/").replace("/", "-")
        found += faults(page, name)
    assert found == []

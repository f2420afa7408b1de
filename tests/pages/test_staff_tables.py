"""Tables of the console: sorted by their heads, filtered, searched on, and what a forger sends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from billing_app import routes
from billing_app.db.enums import StaffRole
from billing_app.states.staff.customers import StaffCustomersState
from billing_app.states.staff.operations import StaffOperationsState
from tests.factories import Holder, connect, organization
from tests.pages.conftest import DESKTOP, PHONE, OpenContext, RunningApp
from tests.pages.staff import cookie_of, open_console, send
from tests.pages.staff_scenes import by_admin, run, subscribe_by_card

MANY = 250_000
DRAWN_MS = 200
LONG_NAME = "Verein zur Förderung des langen Namens in allen seinen Formen und Farben e. V."


def head(page: Page, table: str, name: str) -> Locator:
    """A column's head, with its aria-sort."""
    return page.get_by_role("table", name=table).get_by_role("columnheader", name=name)


def cells(page: Page, table: str, column: int) -> list[str]:
    rows = page.get_by_role("table", name=table).locator("tbody tr")
    return [row.locator("td").nth(column).inner_text() for row in rows.all()]


def expect_sorted(page: Page, table: str, name: str, way: str) -> None:
    expect(head(page, table, name)).to_have_attribute("aria-sort", way)
    expect(page.locator(".listing.busy")).to_have_count(0)


@pytest.fixture
def holder(running_app: RunningApp) -> Holder:
    """An account with more events than a page has."""
    holder = organization(running_app.database_url, 100)
    began = datetime(2024, 3, 1, tzinfo=UTC)
    with connect(running_app.database_url) as connection:
        for n in range(60):
            at = began + timedelta(hours=n)
            connection.execute(
                "INSERT INTO execution_events (account_id, number, plan_sequence, kind, executions,"
                " plan_used_after, remaining_after, workflow, user_id, idempotency_key, reason,"
                " occurred_at) VALUES (%s, %s, 1, %s, 1, 0, %s, %s, '', '', '', %s)",
                [
                    holder.account_number,
                    int(at.timestamp()) * 1_000_000,
                    "commit" if n % 6 == 0 else "consume",
                    n,
                    "even" if n % 2 == 0 else "odd",
                    at,
                ],
            )
    return holder


def test_column_header_sorts_both_ways(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    page = open_console(open_context, running_app, routes.staff_customer(holder.account_id))
    page.get_by_role("tab", name="Ledger").click()
    expect_sorted(page, "Ledger", "Time (UTC)", "descending")
    assert cells(page, "Ledger", 6) == [str(n) for n in range(59, 9, -1)]
    head(page, "Ledger", "Time (UTC)").get_by_role("button").click()
    expect_sorted(page, "Ledger", "Time (UTC)", "ascending")
    assert cells(page, "Ledger", 6) == [str(n) for n in range(50)]
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("Page 2")).to_be_visible()
    expect(page.locator(".listing.busy")).to_have_count(0)
    assert cells(page, "Ledger", 6) == [str(n) for n in range(50, 60)]
    page.get_by_label("Kind").select_option("commit")
    expect(page.get_by_text("Page 2")).to_have_count(0)
    expect(page.locator(".listing.busy")).to_have_count(0)
    assert cells(page, "Ledger", 6) == [str(n) for n in range(0, 60, 6)]
    page.get_by_label("From").fill("2024-03-02")
    expect(page.get_by_role("table", name="Ledger").locator("tbody tr")).to_have_count(6)
    page.get_by_label("From").fill("2024-08-02")
    expect(page.get_by_text("No matches")).to_be_visible()
    page.get_by_label("From").fill("2025-03-02")
    page.get_by_label("to", exact=True).fill("2024-03-02")
    expect(page.get_by_text("The first day must not be after the last day.")).to_be_visible()


def test_column_header_sorts_by_keyboard(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.STAFF_OFFERS)
    expect_sorted(page, "Offers", "Position", "ascending")
    expect_sorted(page, "Offers", "Price", "none")
    button = head(page, "Offers", "Price").get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    expect_sorted(page, "Offers", "Price", "descending")
    expect_sorted(page, "Offers", "Position", "none")
    falling = cells(page, "Offers", 4)
    expect(button).to_be_focused()
    page.keyboard.press("Space")
    expect_sorted(page, "Offers", "Price", "ascending")
    rising = cells(page, "Offers", 4)
    assert rising == falling[::-1]
    assert rising != falling


def test_rows_link_to_their_account_and_truncate_long_names(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url, 100)
    rename = "UPDATE organizations SET name = %s WHERE id = %s"
    run(running_app, rename, LONG_NAME, holder.organization_id)
    subscribe_by_card(running_app, holder)
    by_admin(running_app, f"/accounts/{holder.account_id}/grants", executions=3)
    for path, table in ((routes.STAFF_AUDIT, "Audit"), (routes.STAFF_OPERATIONS, "Webhooks")):
        for size in (DESKTOP, PHONE):
            page = open_console(open_context, running_app, path, size=size)
            rows = page.get_by_role("table", name=table)
            link = rows.get_by_role("link", name=LONG_NAME).first
            expect(link).to_have_attribute("title", LONG_NAME)
            assert link.evaluate("link => link.scrollWidth > link.clientWidth")
            assert link.evaluate("link => getComputedStyle(link).textOverflow") == "ellipsis"
            scroll = page.locator(".table-scroll").first
            assert scroll.evaluate("box => box.scrollWidth <= box.clientWidth"), (table, size)
            link.click()
            page.wait_for_url(f"**{routes.staff_customer(holder.account_id)}")


def test_every_table_sorts_by_every_column(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    """Each head that can be pressed is what its table is sorted by, afterwards."""
    page = open_console(open_context, running_app, routes.STAFF)
    found = 0
    account = routes.staff_customer(holder.account_id)
    tabs: dict[str, list[str]] = {path: [""] for path in routes.STAFF_PAGES}
    tabs[routes.STAFF_OPERATIONS] = ["Webhooks", "Reconciliation", "Jobs"]
    tabs[account] = ["Summary", "Ledger"]
    tabs[routes.staff_offer("growth")] = [""]
    for path, names in tabs.items():
        page.goto(path)
        page.locator(".console h1").wait_for()
        for name in names:
            if name:
                tab = page.get_by_role("tab", name=name)
                tab.click()
                expect(tab).to_have_attribute("aria-selected", "true")
                expect(page.locator(".listing.busy")).to_have_count(0)
                page.wait_for_timeout(DRAWN_MS)
            for button in page.locator(".sort-button:visible").all():
                button.click()
                sorted_by = button.locator("xpath=..")
                expect(sorted_by).not_to_have_attribute("aria-sort", "none")
                expect(page.locator(".listing.busy")).to_have_count(0)
                expect(page.locator(".page-broken, .notice.bad")).to_have_count(0)
                found += 1
    assert found > 20


def test_every_table_rejects_an_invalid_date_range(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    """A wrong choice is told where it was made; the page itself goes on."""
    account = routes.staff_customer(holder.account_id)
    tables = {
        account: ["Ledger", "Reservations", "Billing", "Webhooks", "Audit"],
        routes.STAFF_OPERATIONS: ["Webhooks", "Jobs"],
        routes.STAFF_CUSTOMERS: [""],
        routes.STAFF_AUDIT: [""],
    }
    page = open_console(open_context, running_app, routes.STAFF)
    for path, names in tables.items():
        page.goto(path)
        page.locator(".console h1").wait_for()
        for name in names:
            if name:
                page.get_by_role("tab", name=name).click()
            part = page.get_by_role("tabpanel", name=name) if name else page
            part.get_by_label("From", exact=True).fill("2025-03-02")
            part.get_by_label("to", exact=True).fill("2024-03-02")
            expect(
                page.get_by_text("The first day must not be after the last day.")
            ).to_be_visible()
            page.get_by_role("button", name="Clear filters").first.click()
            expect(page.get_by_text("The first day must not be after the last day.")).to_have_count(
                0
            )
            expect(page.get_by_text("Not up to date")).to_have_count(0)


def test_search_sorts_by_name(open_context: OpenContext, running_app: RunningApp) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS)
    expect_sorted(page, "Customers", "Since", "descending")
    page.get_by_label("Search customers").fill("nor")
    expect_sorted(page, "Customers", "Customer", "ascending")
    expect(page.get_by_role("link", name="Northwind")).to_be_visible()
    page.get_by_label("Search customers").fill("")
    expect_sorted(page, "Customers", "Since", "descending")


def test_forged_sort_is_ignored(running_app: RunningApp) -> None:
    cookie = cookie_of(running_app, StaffRole.SUPPORT)
    northwind = {"table": "customers", "name": "query", "value": "northwind"}
    for sort in ("password_hash", "created_at; DROP TABLE users", "", "WORD", "executions"):
        answers = send(
            running_app,
            cookie,
            routes.STAFF_CUSTOMERS,
            [
                (StaffCustomersState, "load", {}),
                (StaffCustomersState, "filter_by", northwind),
                (StaffCustomersState, "sort_by", {"table": "customers", "sort": sort}),
                (StaffCustomersState, "sort_by", {"table": "users", "sort": "made"}),
                (
                    StaffCustomersState,
                    "filter_by",
                    {"table": "users", "name": "x" * 99, "value": "y"},
                ),
                (StaffCustomersState, "show_older", {"table": "users"}),
                (StaffCustomersState, "show_newer", {"table": "users"}),
                (StaffOperationsState, "sort_by", {"table": "jobs", "sort": sort}),
            ],
        )
        assert "Northwind" in answers
        assert '"is_broken' not in answers.replace('"is_broken_rx_state_":false', "")
        assert "x" * 99 not in answers


@pytest.fixture
def crowd(running_app: RunningApp) -> Iterator[None]:
    """So many accounts without a plan that no search gets through all in its time."""
    url = running_app.database_url
    with connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO accounts (id, kind, organization_id, user_id, created_at)"
            " SELECT n, 'user', (SELECT min(id) FROM organizations), 'crowd-' || n,"
            " now() + n * interval '1 microsecond' FROM generate_series(1, %s) AS n",
            [MANY],
        )
        connection.execute("ANALYZE accounts")
        yield
        connection.execute("DELETE FROM accounts WHERE id <= %s", [MANY])


@pytest.mark.usefixtures("crowd")
def test_unfinished_search_can_continue(open_context: OpenContext, running_app: RunningApp) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS)
    page.get_by_label("Plan").select_option("paid")
    told = page.locator(".empty-title")
    expect(told).to_contain_text("No match in")
    assert int(told.inner_text().split()[3].replace(",", "")) >= 5_000
    rows, presses = page.get_by_role("table", name="Customers").locator("tbody tr"), 0
    while told.count() and presses < 60:
        page.get_by_role("button", name="Keep searching").click()
        presses += 1
        expect(page.get_by_text(f"Page {presses + 1}")).to_be_visible()
        expect(page.locator(".listing.busy")).to_have_count(0)
    assert presses
    expect(rows.first).to_contain_text("Paid")
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_text(f"Page {presses}", exact=True)).to_be_visible()

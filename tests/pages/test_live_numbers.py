"""The numbers are right, and move while executions happen."""

import csv
import re
import secrets

from playwright.sync_api import Page, StorageState, expect

from billing_app import routes
from billing_app.states.usage_stats import ALL
from tests.pages.conftest import OpenContext, RunningApp, open_page

MOVES_WITHIN_MS = 5_000


def remaining(page: Page) -> int:
    return int(page.locator("#remaining").inner_text().replace(",", ""))


def test_dashboard_updates_without_a_reload(
    open_context: OpenContext, running_app: RunningApp, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    before = remaining(page)
    workflow = f"live-{secrets.token_hex(3)}"
    answer = running_app.consume(17, workflow=workflow, key=workflow)
    left = f"{before - 17:,}"
    expect(page.locator("#remaining")).to_have_text(left, timeout=MOVES_WITHIN_MS)
    newest = page.get_by_role("row").filter(has_text=workflow)
    expect(newest).to_contain_text("17")
    expect(newest).to_contain_text(left)
    expect(page.locator(".legend")).to_contain_text(workflow)
    assert answer["executions_remaining"] == before - 17
    assert loads == []


def test_usage_matches_the_ledger(
    open_context: OpenContext, running_app: RunningApp, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.USAGE)
    workflow = f"exact-{secrets.token_hex(3)}"
    for number in range(3):
        running_app.consume(5, workflow=workflow, key=f"{workflow}-{number}")
    expect(page.locator(".legend li").filter(has_text=workflow)).to_contain_text(
        "15", timeout=MOVES_WITHIN_MS
    )
    page.get_by_label("Workflow", exact=True).select_option(f"={workflow}")
    rows = page.get_by_role("table", name="Events").get_by_role("row")
    expect(rows).to_have_count(4)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 4
    assert all(workflow in line for line in lines[1:])
    page.get_by_label("Workflow", exact=True).select_option(ALL)
    page.get_by_label("User", exact=True).select_option("=mira")
    expect(page.get_by_role("link", name="CSV")).to_have_attribute(
        "href", re.compile("user_id=mira")
    )
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert {row["user_id"] for row in rows} == {"mira"}


def test_usage_ranges_groups_and_pages(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.USAGE)
    page.get_by_role("button", name="90 days").click()
    expect(page.get_by_role("button", name="90 days")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="User", exact=True).click()
    expect(page.locator(".legend")).to_contain_text("mira")
    days = page.locator(".card").filter(has=page.get_by_role("heading", name="Days", exact=True))
    first_day = days.locator("tbody tr td").first.inner_text()
    days.get_by_role("button", name="Older").click()
    expect(days.get_by_text("Page 2")).to_be_visible()
    assert days.locator("tbody tr td").first.inner_text() != first_day
    events = page.locator("#events")
    events.get_by_role("button", name="Older").click()
    expect(events.get_by_text("Page 2")).to_be_visible()
    events.get_by_role("button", name="Newer").click()
    expect(events.get_by_text("Page 1")).to_be_visible()
    page.get_by_label("From").fill("2050-01-01")
    expect(page.get_by_text("Invalid date range")).to_be_visible()


def test_chart_is_drawn(open_context: OpenContext, owner_session: StorageState) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    expect(page.locator(".chart .bars path").first).to_be_attached()
    expect(
        page.get_by_role("img", name=re.compile("Executions per day by workflow"))
    ).to_be_visible()


def test_overview_shows_queue_and_history(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.OVERVIEW)
    queue = page.locator(".queue-item")
    expect(queue).to_have_count(2)
    expect(queue.first).to_contain_text("In use")
    expect(queue.last).to_contain_text("Takes over automatically")
    history = page.get_by_role("table", name="Plan history")
    expect(history.get_by_role("row").last).to_contain_text("first plan")


def test_depleted_trial_is_explained(
    open_context: OpenContext, trial_session: StorageState
) -> None:
    page = open_page(open_context(session=trial_session), routes.DASHBOARD)
    expect(page.locator("#remaining")).to_have_text("0")
    expect(page.get_by_text("All executions are used", exact=True)).to_be_visible()
    page = open_page(page.context, routes.OVERVIEW)
    expect(page.get_by_text("No plans queued")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("All executions are used")
    expect(page.get_by_text("Last plan", exact=True)).to_be_visible()
    expect(page.locator(".measures")).to_contain_text("Used up")
    expect(page.locator(".details")).to_contain_text("Ended")
    expect(page.get_by_text("does not renew")).to_be_hidden()


def test_leaving_a_page_stops_its_polling(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    """From page to page inside one tab; the last page alone keeps moving."""
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    navigation = page.get_by_role("navigation", name="Main", exact=True)
    navigation.get_by_role("link", name="Plans").click()
    expect(page.get_by_role("heading", name="Plans", exact=True)).to_be_visible()
    navigation.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    navigation.get_by_role("link", name="Dashboard").click()
    expect(page.locator("#remaining")).to_be_visible()

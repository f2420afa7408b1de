"""The usage page: what its filters move, and how they are cleared."""

import re
import secrets

from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.demo.seed import OWNER_EMAIL
from billing_app.states.usage_stats import ALL
from tests.factories import connect, session_token
from tests.pages.conftest import OpenContext, RunningApp, open_page
from tests.pages.test_accessibility import faults

MOVES_WITHIN_MS = 5_000


def chart_of(page: Page, executions: str) -> None:
    """The chart is of this total alone."""
    name = re.compile(rf"^Executions per day by \w+, {executions} in total$")
    expect(page.get_by_role("img", name=name)).to_be_visible(timeout=MOVES_WITHIN_MS)


def usage_page(open_context: OpenContext, app: RunningApp) -> Page:
    """Of the demo's owner, in a session of its own: other tests end theirs."""
    with connect(app.database_url) as connection:
        row = connection.execute("SELECT id FROM users WHERE email = %s", [OWNER_EMAIL]).fetchone()
    assert row is not None
    context, token = open_context(), session_token(app.database_url, row[0])
    context.add_cookies([{"name": routes.SESSION_COOKIE, "value": token, "url": app.base_url}])
    return open_page(context, routes.USAGE)


def test_filters_move_totals_charts_days_and_events(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = usage_page(open_context, running_app)
    workflow = f"chosen-{secrets.token_hex(3)}"
    running_app.consume(3, workflow=workflow, key=workflow)
    page.get_by_role("button", name="7 days").click()
    expect(page.locator(".legend")).to_contain_text(workflow, timeout=MOVES_WITHIN_MS)
    expect(page.get_by_role("button", name="Clear filters")).to_be_hidden()
    page.get_by_label("Workflow", exact=True).select_option(f"={workflow}")
    chart_of(page, "3")
    expect(page.locator(".legend li")).to_have_count(1)
    expect(page.get_by_role("heading", name="Cumulative", exact=True)).to_be_visible()
    for name in ("Days", "Events"):
        rows = page.get_by_role("table", name=name, exact=True).get_by_role("row")
        expect(rows).to_have_count(2)
    ticks = page.locator(".chart").first.locator(".ytick text")
    expect(ticks).to_have_text(["0", "1", "2", "3"])
    assert faults(page, "usage-filtered") == []


def test_filters_that_match_nothing_can_be_cleared(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = usage_page(open_context, running_app)
    workflow = f"nobody-{secrets.token_hex(3)}"
    running_app.consume(2, workflow=workflow, key=workflow)
    page.get_by_role("button", name="7 days").click()
    expect(page.locator(".legend")).to_contain_text(workflow, timeout=MOVES_WITHIN_MS)
    page.get_by_label("Workflow", exact=True).select_option(f"={workflow}")
    chart_of(page, "2")
    page.get_by_label("User", exact=True).select_option("=mira")
    expect(page.get_by_text("No matching executions").first).to_be_visible()
    assert faults(page, "usage-nothing-matches") == []
    page.get_by_role("button", name="Clear filters").first.click()
    expect(page.locator(".legend li").nth(1)).to_be_visible()
    for name in ("Workflow", "User", "Kind"):
        expect(page.get_by_label(name, exact=True)).to_have_value(ALL)
    expect(page.get_by_role("button", name="Clear filters")).to_be_hidden()

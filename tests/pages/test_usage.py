"""The usage page: what its filters move, and how they are cleared."""

import re
import secrets
from dataclasses import replace

from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.db.enums import Role
from billing_app.states.usage_stats import ALL
from tests.factories import membership, organization, person, session_token
from tests.pages.conftest import OpenContext, RunningApp, open_page
from tests.pages.test_accessibility import faults

MOVES_WITHIN_MS = 5_000


def chart_of(page: Page, executions: str) -> None:
    """The chart is of this total alone."""
    name = re.compile(rf"^Executions per day by \w+, {executions} in total$")
    expect(page.get_by_role("img", name=name)).to_be_visible(timeout=MOVES_WITHIN_MS)


def usage_page(open_context: OpenContext, app: RunningApp) -> tuple[Page, RunningApp]:
    """Of an organization of its own, which others use too: other tests count for the demo's."""
    holder, owner = organization(app.database_url, 1_000), person(app.database_url)
    membership(app.database_url, holder.organization_id, owner.user_id, Role.OWNER)
    own = replace(app, organization_id=holder.organization_id)
    own.consume(7, workflow="nightly", key=secrets.token_hex(8), user_id="mira")
    own.consume(5, workflow="triage", key=secrets.token_hex(8))
    context, token = open_context(), session_token(app.database_url, owner.user_id)
    context.add_cookies([{"name": routes.SESSION_COOKIE, "value": token, "url": app.base_url}])
    return open_page(context, routes.USAGE), own


def test_filters_move_totals_charts_days_and_events(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page, own = usage_page(open_context, running_app)
    workflow = f"chosen-{secrets.token_hex(3)}"
    own.consume(3, workflow=workflow, key=workflow)
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
    page, own = usage_page(open_context, running_app)
    workflow = f"nobody-{secrets.token_hex(3)}"
    own.consume(2, workflow=workflow, key=workflow)
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

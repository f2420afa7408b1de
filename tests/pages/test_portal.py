"""People who come through a portal link: one account, and the way back."""

from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from billing_app import routes
from billing_app.db.enums import Scope
from tests.factories import Holder, api_key, organization
from tests.pages.conftest import FRAMING_PRODUCT, OpenContext, RunningApp

RETURN_URL = "https://app.acme.test/settings"


@pytest.fixture
def holder(running_app: RunningApp) -> Holder:
    return organization(running_app.database_url, 10)


def link_of(app: RunningApp, holder: Holder, **more: Any) -> str:
    key = api_key(app.database_url, Scope.ACCOUNTS)
    body: dict[str, Any] = {
        "organization_id": holder.organization_id,
        "person": {"id": "u-7", "name": "Ada"},
        "role": "owner",
        "return_url": RETURN_URL,
    }
    answer = httpx.post(
        app.base_url + routes.PORTAL_LINKS,
        headers={"Authorization": f"Bearer {key}"},
        json=body | more,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["url"]


def opened(context: BrowserContext, url: str) -> Any:
    page = context.new_page()
    page.goto(url)
    page.locator(".page-head .live").wait_for()
    return page


def test_link_opens_the_page_with_the_way_back(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    page = opened(open_context(), link_of(running_app, holder, page="plans"))
    expect(page).to_have_url(running_app.base_url + routes.OVERVIEW)
    expect(page.get_by_role("link", name="Back to Acme")).to_have_attribute("href", RETURN_URL)
    page.get_by_role("button", name="Signed in as").first.click()
    expect(page.get_by_role("menuitem", name="Sign out")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Change password")).to_have_count(0)
    expect(page.get_by_role("menuitem", name="Your details")).to_have_count(0)


def test_people_of_a_product_are_asked_for_no_key(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    """The product counts for them."""
    page = opened(open_context(), link_of(running_app, holder))
    expect(page.get_by_text("No executions yet")).to_be_visible()
    expect(page.get_by_text("Count your first execution")).to_have_count(0)
    expect(page.get_by_role("link", name="API keys")).to_have_count(0)
    expect(page.get_by_role("link", name="Members")).to_have_count(0)
    page.goto(routes.KEYS)
    expect(page.get_by_text("You can't see the API keys of this account")).to_be_visible()
    page.goto(routes.MEMBERS)
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    expect(page.get_by_role("button", name="Invite")).to_have_count(0)


def test_embedded_pages_have_no_navigation(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    page = opened(open_context(), link_of(running_app, holder) + "?embed=1")
    expect(page).to_have_url(f"{running_app.base_url}/?embed=1")
    expect(page.get_by_role("navigation")).to_have_count(0)
    expect(page.get_by_role("link", name="Back to Acme")).to_have_count(0)


def test_used_link_says_what_to_do(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    url = link_of(running_app, holder)
    opened(open_context(), url)
    page = open_context().new_page()
    page.goto(url)
    expect(page.get_by_text("This link has expired or was used already.")).to_be_visible()


@pytest.mark.parametrize("path", routes.SIGNED_IN_PAGES)
def test_configured_origins_may_frame_customers_pages(running_app: RunningApp, path: str) -> None:
    cookies = {routes.SESSION_COOKIE: "x"}
    answer = httpx.get(running_app.base_url + path, cookies=cookies)
    policy = answer.headers["content-security-policy"]
    assert f"frame-ancestors {FRAMING_PRODUCT} https://app.acme.test;" in policy
    staff = httpx.get(running_app.base_url + routes.STAFF, cookies=cookies)
    assert "frame-ancestors 'none'" in staff.headers["content-security-policy"]

"""Every page in both themes and both sizes: accessible, inside the screen, and pictured."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, StorageState, expect

from billing_app import routes
from tests.pages.conftest import ARTIFACTS, DESKTOP, PHONE, OpenContext, open_page

PAGES = (*routes.SIGNED_IN_PAGES, *routes.OPEN_PAGES)
SIZES = {"desktop": DESKTOP, "phone": PHONE}
GRAVE = ("serious", "critical")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", PAGES)
def test_page_is_accessible_and_fits(
    open_context: OpenContext, owner_session: StorageState, path: str, size: str, scheme: str
) -> None:
    session = owner_session if path in routes.SIGNED_IN_PAGES else None
    context = open_context(size=SIZES[size], scheme=scheme, session=session)
    page = open_page(context, path)
    expect(page.locator("html")).to_have_class(scheme)
    ARTIFACTS.mkdir(exist_ok=True)
    name = path.strip("/") or "dashboard"
    page.screenshot(path=ARTIFACTS / f"{name}-{size}-{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert grave_violations(page) == []


def test_menus_are_accessible_and_work_by_keyboard(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_role("button", name="Signed in as").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Sign out", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menuitem", name="Sign out", exact=True)).to_be_hidden()


def test_the_theme_can_be_switched_and_stays(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    page.get_by_role("button", name="Switch between light and dark").first.click()
    expect(page.locator("html")).to_have_class("dark")
    page.reload()
    expect(page.locator("html")).to_have_class("dark")


def grave_violations(page: Page) -> list[str]:
    """What axe finds serious or critical, one line each."""
    results = Axe().run(page)
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in results.response["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]

"""Every page in both themes and both sizes: accessible, inside the screen, and pictured."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, StorageState, expect

from billing_app import routes
from tests.pages.conftest import (
    ARTIFACTS,
    DESKTOP,
    PHONE,
    OpenContext,
    RunningApp,
    open_page,
)

NOWHERE = "/nowhere"
PAGES = (*routes.SIGNED_IN_PAGES, *routes.OPEN_PAGES, NOWHERE)
LONG_NAME = "a name of a workflow that goes on " * 7
SIZES = {"desktop": DESKTOP, "phone": PHONE}
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module", autouse=True)
def _long_names(running_app: RunningApp) -> None:
    running_app.consume(1, workflow=LONG_NAME, key="long name")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_are_accessible_and_fit(
    open_context: OpenContext, owner_session: StorageState, size: str, scheme: str
) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    signed_in = open_context(size=SIZES[size], scheme=scheme, session=owner_session)
    signed_out = open_context(size=SIZES[size], scheme=scheme)
    found: dict[str, list[str]] = {}
    for path in PAGES:
        page = open_page(signed_in if path in routes.SIGNED_IN_PAGES else signed_out, path)
        expect(page.locator("html")).to_have_class(scheme)
        name = path.strip("/") or "dashboard"
        page.screenshot(path=ARTIFACTS / f"{name}-{size}-{scheme}.png", full_page=True)
        found[path] = grave_violations(page)
        if page.evaluate("document.documentElement.scrollWidth") > SIZES[size][0]:
            found[path].append("wider than the screen")
        page.close()
    assert found == {path: [] for path in PAGES}


def test_menus_are_accessible_and_work_by_keyboard(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_role("button", name="Signed in as").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Sign out", exact=True)).to_be_visible()
    menu = page.get_by_role("menu").bounding_box()
    assert menu is not None
    assert menu["height"] < DESKTOP[1] / 2
    assert grave_violations(page, within="[role=menu]") == []
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


def grave_violations(page: Page, *, within: str | None = None) -> list[str]:
    """What axe finds serious or critical, one line each."""
    results = Axe().run(page, context=within)
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in results.response["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]

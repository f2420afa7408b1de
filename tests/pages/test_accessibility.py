"""Every page: accessible in both themes, inside the screen in both sizes."""

import os
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, StorageState, TimeoutError, expect  # noqa: A004

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
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
GRAVE = ("serious", "critical")
FOLLOWS_WITHIN_MS = 5_000
WIDTH = "document.documentElement.scrollWidth"
PICTURES = bool(os.environ.get("PICTURES"))


@pytest.fixture(scope="module", autouse=True)
def _long_names(running_app: RunningApp) -> None:
    running_app.consume(1, workflow=LONG_NAME, key="long name")


def test_pages_are_accessible_and_fit(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    signed_in, signed_out = open_context(session=owner_session), open_context()
    found: list[str] = []
    for path in PAGES:
        page = open_page(signed_in if path in routes.SIGNED_IN_PAGES else signed_out, path)
        found += faults(page, path.strip("/") or "dashboard")
        page.close()
    assert found == []


def test_menus_are_accessible_by_keyboard(
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


def test_theme_choice_survives_a_reload(
    open_context: OpenContext, owner_session: StorageState
) -> None:
    page = open_page(open_context(session=owner_session), routes.DASHBOARD)
    page.get_by_role("button", name="Switch between light and dark").first.click()
    expect(page.locator("html")).to_have_class("dark")
    page.reload()
    expect(page.locator("html")).to_have_class("dark")
    page.evaluate("localStorage.clear()")  # this browser is used again
    page.goto("about:blank")


def faults(page: Page, name: str, *, within: str | None = None) -> list[str]:
    """What is wrong with a page of desktop size: what people who can't see it well miss in either
    theme, and what a phone's screen cuts off. Its pictures are taken on the way."""
    found: list[str] = []
    page.wait_for_load_state("networkidle")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_class(scheme)
        found += grave_violations(page, within=within)
        for size_name, size in SIZES.items() if scheme == "light" or PICTURES else ():
            resize(page, size)
            if is_cut_off(page, size[0]):
                found.append(f"wider than the {size_name}")
            picture(page, f"{name}-{size_name}-{scheme}", full_page=within is None)
        resize(page, DESKTOP)
    page.emulate_media(color_scheme="light")
    return [f"{name}: {each}" for each in found]


def resize(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})


def is_cut_off(page: Page, width: int) -> bool:
    """Charts take a moment to follow the size of their page."""
    try:
        page.wait_for_function(f"{WIDTH} <= {width}", timeout=FOLLOWS_WITHIN_MS)
    except TimeoutError:
        return True
    return False


def picture(page: Page, name: str, *, full_page: bool = False) -> None:
    """For people to look at, when PICTURES is set."""
    if PICTURES:
        page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=full_page)


def grave_violations(page: Page, *, within: str | None = None) -> list[str]:
    """What axe finds serious or critical, one line each."""
    results = Axe().run(page, context=within, options={"resultTypes": ["violations"]})
    return [
        f"{violation['id']}: {node['html'][:160]}"
        for violation in results.response["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]

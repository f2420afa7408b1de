"""Every state of paying in both themes and both sizes: accessible, inside the screen, pictured."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect

from billing_app import routes
from tests.pages.conftest import ARTIFACTS, WAIT_MS, OpenContext, RunningApp
from tests.pages.customers import (
    TOLD_WITHIN_MS,
    fail_the_renewal,
    new_customer,
    on_test_clock,
    open_overview,
    paid_for,
    subscribe,
)
from tests.pages.test_accessibility import SIZES, grave_violations


@dataclass(frozen=True, slots=True)
class People:
    """Cookies of somebody on a trial, somebody who pays, and somebody who should have."""

    trial: StorageState
    paying: StorageState
    overdue: StorageState


@pytest.fixture(scope="module")
def people(browser: Browser, running_app: RunningApp) -> People:
    def open_one(**_: object) -> BrowserContext:
        context = browser.new_context(base_url=running_app.base_url)
        context.set_default_timeout(WAIT_MS)
        return context

    trial, paying, overdue = (new_customer(open_one, running_app) for _ in range(3))
    subscribe(paying, "Growth")
    clock_id = on_test_clock(overdue, days_ago=33)
    subscribe(overdue, "Starter")
    fail_the_renewal(overdue, clock_id)
    expect(overdue.page.get_by_text("could not be charged")).to_be_visible(timeout=TOLD_WITHIN_MS)
    states = [each.context.storage_state() for each in (trial, paying, overdue)]
    for each in (trial, paying, overdue):
        each.context.close()
    return People(*states)


class Look:
    """Pictures and finds of one size and theme."""

    def __init__(self, size: str, scheme: str) -> None:
        self.size, self.scheme = size, scheme
        self.found: list[str] = []

    def take(self, page: Page, name: str, *, within: str | None = None) -> None:
        path: Path = ARTIFACTS / f"{name}-{self.size}-{self.scheme}.png"
        page.screenshot(path=path, full_page=within is None)
        self.found += [f"{name}: {each}" for each in grave_violations(page, within=within)]
        if page.evaluate("document.documentElement.scrollWidth") > SIZES[self.size][0]:
            self.found.append(f"{name}: wider than the screen")

    def dialog(self, page: Page, button: str, name: str, ready: str) -> None:
        page.get_by_role("button", name=button).click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text(ready).first).to_be_visible(timeout=TOLD_WITHIN_MS)
        page.wait_for_timeout(300)
        self.take(page, name, within="[role=dialog]")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_state_is_accessible_and_fits(
    open_context: OpenContext, people: People, size: str, scheme: str
) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    look = Look(size, scheme)
    dress = {"size": SIZES[size], "scheme": scheme}
    page = open_context(session=people.trial, **dress).new_page()
    open_overview(page)
    look.take(page, "paying-trial")
    page = open_context(session=people.paying, **dress).new_page()
    page.goto(f"{routes.OVERVIEW}?checkout=done")
    expect(page.get_by_text(paid_for("Growth"))).to_be_visible()
    expect(page.get_by_text("Visa ending in 4242")).to_be_visible()
    look.take(page, "paying-paid")
    look.dialog(page, "Change to Scale", "paying-change", "Pay $220.00 and change now")
    look.dialog(page, "Change to Starter", "paying-downgrade", "Nothing is charged today")
    look.dialog(page, "Cancel Growth", "paying-cancel", "You lose 30,000 executions")
    look.dialog(page, "Set the automatic top-up", "paying-top-up", "Pack to buy")
    page = open_context(session=people.overdue, **dress).new_page()
    open_overview(page)
    expect(page.get_by_text("could not be charged")).to_be_visible()
    look.take(page, "paying-overdue")
    look.dialog(page, "Change to Growth", "paying-refused", "Pay the open invoice first")
    assert look.found == []


def test_a_dialog_works_by_keyboard(open_context: OpenContext, people: People) -> None:
    page = open_context(session=people.paying).new_page()
    open_overview(page)
    button = page.get_by_role("button", name="Cancel Growth")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Cancel Growth")
    expect(dialog).to_be_visible()
    expect(dialog.locator(":focus")).to_have_count(1)
    expect(dialog.get_by_role("radio").first).to_be_checked()
    dialog.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowDown")
    expect(dialog.get_by_role("button", name="Cancel now and lose")).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        expect(dialog.locator(":focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()

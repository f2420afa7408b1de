"""Every state of paying: accessible in both themes, inside the screen in both sizes."""

from dataclasses import dataclass

import pytest
from playwright.sync_api import BrowserContext, Page, StorageState, expect

from billing_app import routes
from tests.pages.conftest import DESKTOP, ContextPool, OpenContext, RunningApp
from tests.pages.customers import (
    TOLD_WITHIN_MS,
    fail_the_renewal,
    new_customer,
    on_test_clock,
    open_overview,
    paid_for,
    subscribe,
)
from tests.pages.test_accessibility import faults


@dataclass(frozen=True, slots=True)
class People:
    """Cookies of somebody on a trial, somebody who pays, and somebody who should have."""

    trial: StorageState
    paying: StorageState
    overdue: StorageState


@pytest.fixture(scope="module")
def people(context_pool: ContextPool, running_app: RunningApp) -> People:
    def open_one() -> BrowserContext:
        return context_pool.take(running_app.base_url, DESKTOP, "light")

    trial, paying, overdue = (new_customer(open_one, running_app) for _ in range(3))
    subscribe(paying, "Growth")
    clock_id = on_test_clock(overdue, days_ago=33)
    subscribe(overdue, "Starter")
    fail_the_renewal(overdue, clock_id)
    expect(overdue.page.get_by_text("could not be charged")).to_be_visible(timeout=TOLD_WITHIN_MS)
    states = [each.context.storage_state() for each in (trial, paying, overdue)]
    context_pool.give_back()
    return People(*states)


def dialog_faults(page: Page, button: str, name: str, ready: str) -> list[str]:
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(ready).first).to_be_visible(timeout=TOLD_WITHIN_MS)
    found = faults(page, name, within="[role=dialog]")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    return found


def test_payment_pages_are_accessible_and_fit(open_context: OpenContext, people: People) -> None:
    page = open_context(session=people.trial).new_page()
    open_overview(page)
    found = faults(page, "paying-trial")
    page = open_context(session=people.paying).new_page()
    page.goto(f"{routes.OVERVIEW}?checkout=done")
    expect(page.get_by_text(paid_for("Growth"))).to_be_visible()
    expect(page.get_by_text("Visa ending in 4242")).to_be_visible()
    found += faults(page, "paying-paid")
    for button, name, ready in (
        ("Change to Scale", "paying-change", "Pay $220.00 and change now"),
        ("Change to Starter", "paying-downgrade", "Nothing is charged today"),
        ("Cancel Growth", "paying-cancel", "You lose 30,000 executions"),
        ("Set the automatic top-up", "paying-top-up", "Pack to buy"),
    ):
        found += dialog_faults(page, button, name, ready)
    page = open_context(session=people.overdue).new_page()
    open_overview(page)
    expect(page.get_by_text("could not be charged")).to_be_visible()
    found += faults(page, "paying-overdue")
    found += dialog_faults(page, "Change to Growth", "paying-refused", "Pay the open invoice first")
    assert found == []


def test_dialog_works_by_keyboard(open_context: OpenContext, people: People) -> None:
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

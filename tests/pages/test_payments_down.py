"""Stripe does not answer: the page shows all that is local, and says what is unavailable."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import TOLD_WITHIN_MS, new_customer, open_overview, subscribe

MANY = 1_000
SLOW_MS = 60_000


@pytest.fixture
def heal(running_app: RunningApp) -> Iterator[None]:
    """The sandbox answers again after the test."""
    yield
    running_app.sandbox.http.delete("/_sandbox/faults")


@pytest.mark.usefixtures("heal")
@pytest.mark.parametrize("kind", ["status", "reset", "hang"])
def test_page_shows_local_data_without_stripe(
    open_context: OpenContext, running_app: RunningApp, kind: str
) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    subscribe(mary, "Starter")
    seconds = 60 if kind == "hang" else 0
    running_app.sandbox.fault(kind=kind, path="/v1/*", times=MANY, status=503, seconds=seconds)
    open_overview(page)
    expect(page.locator(".method")).to_contain_text(
        "Stripe is not responding", timeout=TOLD_WITHIN_MS
    )
    expect(page.locator(".terms")).to_contain_text("Renews on")
    expect(page.get_by_role("table", name="Invoices")).to_contain_text("$19.00")
    expect(page.get_by_role("button", name="Change to Growth")).to_be_enabled()
    page.get_by_role("button", name="Change to Growth").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("Nothing was changed", timeout=SLOW_MS)
    page.keyboard.press("Escape")
    running_app.sandbox.http.delete("/_sandbox/faults")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".method")).to_contain_text("Visa ending in 4242", timeout=TOLD_WITHIN_MS)


@pytest.mark.usefixtures("heal")
def test_unanswered_charge_is_looked_up_not_repeated(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    """The upgrade goes through at Stripe; its answer is lost."""
    mary = new_customer(open_context, running_app)
    page = mary.page
    subscribe(mary, "Starter")
    page.get_by_role("button", name="Change to Growth").click()
    dialog = page.get_by_role("dialog")
    yes = dialog.get_by_role("button", name="Pay $60.00 and change now")
    expect(yes).to_be_enabled(timeout=TOLD_WITHIN_MS)
    running_app.sandbox.fault(
        kind="reset", when="after", method="POST", path="/v1/subscriptions/*", times=MANY
    )
    yes.click()
    expect(dialog.get_by_role("alert")).to_contain_text(
        "may or may not have gone through", timeout=SLOW_MS
    )
    running_app.sandbox.http.delete("/_sandbox/faults")
    yes.click()
    expect(page.get_by_text("You are now on Growth")).to_be_visible(timeout=TOLD_WITHIN_MS)
    paid = mary.rows("SELECT sum(amount_paid_minor) FROM invoices WHERE account_id = %s")
    assert paid == [(1_900 + 6_000,)]

"""What a review says before the yes, and what is said afterwards: moves and refunds of a range."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from billing_app import routes
from billing_app.db.enums import StaffRole
from tests.factories import staff_key
from tests.pages.conftest import DESKTOP, PHONE, OpenContext, RunningApp
from tests.pages.customers import TOLD_WITHIN_MS, Customer, new_customer, subscribe
from tests.pages.staff import expect_said, open_console
from tests.pages.test_accessibility import grave_violations, picture

WHY = "Their contract says so"
MANY = 1_000
SLOW_MS = 90_000


@pytest.fixture
def heal(running_app: RunningApp) -> Iterator[None]:
    """The sandbox answers again after the test."""
    yield
    running_app.sandbox.http.delete("/_sandbox/faults")


def review_move(page: Page, offer: str, when: str) -> Locator:
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Move to another offer").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Offer").select_option(offer)
    dialog.get_by_label("When").select_option(when)
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="Review").click()
    return dialog


def console_of(
    open_context: OpenContext, app: RunningApp, customer: Customer, **look: object
) -> Page:
    path = routes.staff_customer(customer.account_id)
    return open_console(open_context, app, path, role=StaffRole.BILLING, **look)


def test_immediate_move_charges_the_reviewed_amount(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    subscribe(mary, "Starter")
    page = console_of(open_context, running_app, mary)
    dialog = review_move(page, "growth", "period_end")
    told = dialog.locator("#consequence")
    expect(told).to_contain_text("Nothing is charged now.")
    expect(told).to_contain_text("Next invoice on ")
    expect(told).to_contain_text("$79.00")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    dialog = review_move(page, "growth", "now")
    expect(told).to_contain_text("The payment method on file is charged $60.00 now")
    expect(told).to_contain_text("\N{MINUS SIGN}$19.00")
    expect(told).to_contain_text("5,000 executions left in this period are forfeited.")
    assert grave_violations(page, within="[role=dialog]") == []
    picture(page, "move-review")
    dialog.get_by_role("button", name="Move to another offer").click()
    expect_said(page, "Moved from Starter to Growth immediately")
    due = mary.rows(
        "SELECT amount_due_minor, amount_paid_minor FROM invoices WHERE account_id = %s"
        " ORDER BY issued_at DESC, amount_due_minor DESC LIMIT 1"
    )
    assert due == [(6_000, 6_000)]
    page.get_by_role("tab", name="Audit").click()
    audit = page.get_by_role("table", name="Audit")
    expect(audit).to_contain_text("Charge ordered: $60.00")
    expect(audit).not_to_contain_text("none")


def test_moving_a_cancelled_customer_keeps_the_cancellation(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    subscribe(mary, "Starter")
    mary.page.get_by_role("button", name="Cancel Starter").click()
    mary.page.get_by_role("dialog").get_by_role("button", name="Cancel on ").click()
    expect(mary.page.get_by_role("button", name="Keep the plan")).to_be_visible()
    page = console_of(open_context, running_app, mary)
    dialog = review_move(page, "growth", "period_end")
    expect(dialog).to_contain_text("Withdraw the cancellation to move it")
    dialog.get_by_label("When").select_option("now")
    dialog.get_by_role("button", name="Review").click()
    told = dialog.locator("#consequence")
    expect(told).to_contain_text("Customer: ")
    expect(told).to_contain_text("The subscription was cancelled and would end on ")
    expect(told).to_contain_text("The cancellation is kept: it ends on ")
    expect(told).to_contain_text(f"Reason: {WHY}")
    expect(told).not_to_contain_text("Next invoice")
    picture(page, "move-review-cancelled")
    dialog.get_by_role("button", name="Move to another offer").dblclick()
    expect_said(page, "Moved from Starter to Growth immediately; the cancellation was kept.")
    is_cancelled = "SELECT cancel_at_period_end FROM subscriptions WHERE account_id = %s"
    assert mary.rows(is_cancelled) == [(True,)]


@pytest.mark.usefixtures("heal")
def test_unknown_charge_cannot_be_confirmed(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    mary = new_customer(open_context, running_app)
    subscribe(mary, "Starter")
    page = console_of(open_context, running_app, mary)
    running_app.sandbox.fault(kind="status", path="/v1/*", times=MANY, status=503)
    dialog = review_move(page, "growth", "now")
    expect(dialog).to_contain_text(
        "Stripe is not responding, so the charge can't be calculated.", timeout=SLOW_MS
    )
    expect(dialog.locator("#consequence")).to_have_count(0)
    expect(dialog.get_by_role("button", name="Move to another offer")).to_have_count(0)
    running_app.sandbox.http.delete("/_sandbox/faults")
    dialog.get_by_role("button", name="Review").click()
    expect(dialog.locator("#consequence")).to_contain_text(
        "The payment method on file is charged $60.00 now", timeout=TOLD_WITHIN_MS
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_range_refund_states_what_it_refunds(
    open_context: OpenContext, running_app: RunningApp, scheme: str
) -> None:
    size = DESKTOP if scheme == "light" else PHONE
    workflow = f"broken-{secrets.token_hex(3)}"
    events = [
        running_app.consume(n, workflow=workflow, key=secrets.token_hex(8)) for n in (2, 3, 4, 5)
    ]
    headers = {"Authorization": f"Bearer {staff_key(running_app.database_url, StaffRole.ADMIN)}"}
    for event, executions in ((events[0], None), (events[1], 1)):
        answer = httpx.post(
            f"{running_app.base_url}/billing/admin/executions/{event['event_id']}/refund",
            headers=headers,
            json={"reason": WHY} | ({"executions": executions} if executions else {}),
        )
        assert answer.status_code == 200, answer.text
    path = routes.staff_customer(str(events[0]["account_id"]))
    page = open_console(open_context, running_app, path, size=size, scheme=scheme)
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Refund a workflow").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Workflow").select_option(workflow)
    now = datetime.now(UTC)
    dialog.get_by_label("From (UTC)").fill(f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}")
    dialog.get_by_label("Before (UTC)").fill(f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="Review").click()
    told = dialog.locator("#consequence")
    expect(told).to_contain_text("3 events with 11 executions are refunded.")
    expect(told).to_contain_text("1 execution of these events was already refunded.")
    expect(told).to_contain_text("1 event in this range was already refunded.")
    picture(page, f"range-review-{scheme}")
    dialog.get_by_role("button", name="Refund a workflow").click()
    expect_said(page, f"11 executions refunded for 3 events of {workflow}.")
    expect_said(page, "1 event in this range was already refunded.")
    picture(page, f"range-done-{scheme}")
    page.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Refund a workflow").click()
    dialog.get_by_label("Workflow").select_option(workflow)
    dialog.get_by_label("From (UTC)").fill(f"{now - timedelta(hours=1):%Y-%m-%dT%H:%M}")
    dialog.get_by_label("Before (UTC)").fill(f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name="Review").click()
    expect(dialog).to_contain_text("4 events in this range were already refunded.")
    expect(told).to_have_count(0)

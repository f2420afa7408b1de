"""When executions run out: the spending limit and the automatic top-up, set by their holder."""

import httpx
from playwright.sync_api import Locator, Page, expect

from billing_app import routes
from tests.conftest import PUBLIC
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import TOLD_WITHIN_MS, Customer, new_customer, open_overview, subscribe


def order(page: Page, name: str) -> Locator:
    return page.locator(".spending-item").filter(has=page.get_by_role("heading", name=name))


def consume(mary: Customer, executions: int, key: str) -> None:
    answer = httpx.post(
        mary.app.base_url + routes.CHECK_EXECUTIONS,
        headers={"Authorization": f"Bearer {mary.app.key}", "Idempotency-Key": key},
        json={
            "organization_id": PUBLIC,
            "user_id": mary.user_id,
            "mode": "consume",
            "executions": executions,
        },
    )
    assert answer.status_code == 200, answer.text


def test_spending_limit_and_overage(open_context: OpenContext, running_app: RunningApp) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    limit = order(page, "Spending limit")
    expect(limit).to_contain_text("Nothing is charged beyond it.")
    expect(limit.get_by_role("button")).to_have_count(0)
    subscribe(mary, "Scale")
    expect(limit).to_contain_text("at $0.25 per 100 executions, up to 100,000 executions a period")
    limit.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Limit per period, in USD").fill("a lot")
    dialog.get_by_role("button", name="Set limit").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Enter an amount in USD")
    for typed, says in (("1,234", "1,234 could mean 1,234.00 or 1.234."), ("1.2,3", "USD")):
        dialog.get_by_label("Limit per period, in USD").fill(typed)
        dialog.get_by_role("button", name="Set limit").click()
        expect(dialog.get_by_role("alert")).to_contain_text(says)
    dialog.get_by_label("Limit per period, in USD").fill("12,50")
    dialog.get_by_role("button", name="Save a limit of $12.50").dblclick()
    expect(dialog).to_be_hidden()
    expect(limit).to_contain_text("up to $12.50 a period")
    consume(mary, 100 + 150_000 + 230, f"beyond-{mary.user_id}")
    expect(limit).to_contain_text("230 executions used this period: $0.75 on the next invoice")
    page.goto(routes.DASHBOARD)
    expect(page.get_by_text("All executions in your plans are used")).to_be_visible()
    expect(
        page.get_by_text("Executions continue within your spending limit: $0.75")
    ).to_be_visible()


def test_automatic_top_up(open_context: OpenContext, running_app: RunningApp) -> None:
    mary = new_customer(open_context, running_app)
    page = mary.page
    top_up = order(page, "Automatic top-up")
    expect(top_up).to_contain_text("Off. Nothing is bought automatically.")
    top_up.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Allow up to $58.00 a month").click()
    expect(dialog.get_by_role("alert")).to_contain_text("There is no card on file")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    subscribe(mary, "Starter")
    open_overview(page)
    top_up.get_by_role("button").click()
    dialog.get_by_label("When fewer are left than").fill("250")
    dialog.get_by_label("Limit per month, in USD").fill("87,00")
    dialog.get_by_role("button", name="Allow up to $87.00 a month").dblclick()
    expect(top_up).to_contain_text(
        "When fewer than 250 executions are left, Extra pack ($29.00) is bought",
        timeout=TOLD_WITHIN_MS,
    )
    expect(top_up).to_contain_text("$0.00 of $87.00 spent this month")
    top_up.get_by_role("button", name="Turn off the automatic top-up").click()
    expect(top_up).to_contain_text("Off. Nothing is bought automatically.")

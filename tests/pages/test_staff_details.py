"""What the console remembers, explains and leaves out: forms, trouble, filters, what is unknown."""

from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from billing_app import routes
from billing_app.db.enums import StaffRole
from billing_app.states.staff.offers import NEW
from tests.factories import organization, person, trial
from tests.pages.conftest import PHONE, OpenContext, RunningApp
from tests.pages.customers import TOLD_WITHIN_MS
from tests.pages.staff import open_console, open_desk, quiet_fingerprint
from tests.pages.staff_scenes import (
    WHY,
    by_admin,
    dead_letter,
    dispute_payment,
    run,
    subscribe_by_card,
    use,
)
from tests.pages.test_accessibility import faults, grave_violations, resize

MANY = 50


def test_back_restores_the_form(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    desk = open_desk(open_context, running_app, holder, StaffRole.SUPPORT)
    last_day = (datetime.now(UTC).date() + timedelta(days=10)).isoformat()
    desk.choose("Grant executions")
    desk.fill(Executions="500", Valid_through=last_day)
    for _ in range(2):
        desk.review("A plan of 500 executions is added to the queue, valid through")
        desk.dialog.get_by_role("button", name="Back").click()
        expect(desk.dialog.get_by_label("Executions")).to_have_value("500")
        expect(desk.dialog.get_by_label("Executions")).to_be_focused()
        expect(desk.dialog.get_by_label("Valid through")).to_have_value(last_day)
        expect(desk.dialog.get_by_label("Reason")).to_have_value(WHY)
    desk.page.keyboard.press("Escape")
    desk.choose("Grant executions")
    expect(desk.dialog.get_by_label("Executions")).to_have_value("")
    expect(desk.dialog.get_by_label("Reason")).to_have_value("")
    desk.page.keyboard.press("Escape")
    billing = open_desk(open_context, running_app, holder)
    billing.choose("Block account")
    billing.fill()
    billing.review("New executions are refused")
    expect(billing.dialog.locator("#consequence")).not_to_contain_text("0 reserved")
    billing.dialog.get_by_role("button", name="Back").click()
    expect(billing.dialog.get_by_label("Reason")).to_have_value(WHY)
    expect(billing.dialog.get_by_label("Reason")).to_be_focused()


def test_form_is_kept_when_confirming_is_refused(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url, MANY)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Adjust used executions")
    desk.select("Direction", "Increase used executions")
    desk.fill(Executions=str(MANY))
    desk.review(f"Plan 1: used executions go from 0 to {MANY}.")
    use(running_app, holder, 4)
    desk.dialog.get_by_role("button", name="Adjust used executions").click()
    expect(desk.dialog.locator(".notice.bad")).to_be_visible()
    expect(desk.page.locator(".notice.result")).to_have_count(0)
    desk.dialog.get_by_role("button", name="Back").click()
    expect(desk.dialog.get_by_label("Executions")).to_have_value(str(MANY))
    expect(desk.dialog.get_by_label("Direction")).to_have_value("more")
    expect(desk.dialog.get_by_label("Reason")).to_have_value(WHY)
    desk.page.keyboard.press("Escape")
    desk.expect_left(MANY - 4)


def test_trial_review_rejects_what_the_service_rejects(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    url = running_app.database_url
    holder = trial(url, person(url).user_id, MANY)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Extend trial")
    expect(desk.dialog).to_contain_text("This trial has no end date.")
    expect(desk.dialog.get_by_label("Valid through")).to_have_count(0)
    desk.fill(More_executions="7")
    desk.review(f"Trial executions go from {MANY} to {MANY + 7}")
    desk.page.keyboard.press("Escape")
    query = "UPDATE plans SET ends_at = now() + interval '3 days' WHERE account_id = %s"
    run(running_app, query, holder.account_number)
    today = datetime.now(UTC).date()
    for days, told in (
        (-5, "The end date must be within the next"),
        (1, "The trial is already valid through"),
    ):
        desk.choose("Extend trial")
        desk.fill(Valid_through=(today + timedelta(days=days)).isoformat())
        desk.review()
        expect(desk.dialog.locator(".notice.bad")).to_contain_text(told)
        desk.page.keyboard.press("Escape")


def test_repair_form_offers_only_valid_choices(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url, MANY, 30)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Adjust used executions")
    chosen = desk.dialog.get_by_label("Plan", exact=True).locator("option:checked")
    expect(chosen).to_contain_text("Plan 1: 0 of 50 used, In use")
    desk.page.keyboard.press("Escape")
    subscribe_by_card(running_app, holder)
    desk.page.reload()
    expect(desk.page.locator(".figure-value").nth(3)).to_have_text("Starter")
    desk.choose("Move to another offer")
    offers = desk.dialog.get_by_label("Offer", exact=True)
    expect(offers.locator("option").filter(has_text="Growth, 30,000")).to_have_count(1)
    expect(offers.locator("option").filter(has_text="Starter, 5,000")).to_have_count(0)


def test_overdue_payment_is_explained(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url)
    subscribe_by_card(running_app, holder)
    # What Stripe sends about the purchase would say that all is paid.
    quiet_fingerprint(running_app)
    number = holder.account_number
    run(running_app, "UPDATE invoices SET status = 'open' WHERE account_id = %s", number)
    query = (
        "UPDATE subscriptions SET status = 'past_due', past_due_since = now() WHERE account_id = %s"
    )
    run(running_app, query, number)
    stop = "UPDATE plans SET suspended_at = now() + interval '{}' WHERE account_id = %s"
    run(running_app, stop.format("3 days"), number)
    desk = open_desk(open_context, running_app, holder)
    notice = desk.page.locator(".notice.bad")
    expect(notice).to_contain_text("A payment has been overdue since")
    expect(notice).to_contain_text("Executions continue until")
    run(running_app, stop.format("-1 hour"), number)
    expect(notice).to_contain_text("New executions have been refused since")


def test_disputed_payment_is_shown_until_decided(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url)
    subscribe_by_card(running_app, holder)
    desk = open_desk(open_context, running_app, holder)
    notices = desk.page.locator(".notice.bad")
    expect(desk.page.locator(".figure-value").nth(2)).to_have_text("Starter")
    expect(notices).to_have_count(0)
    dispute_id = dispute_payment(running_app, holder)
    notice = notices.filter(has_text="$19.00 for Starter has been disputed since")
    expect(notice).to_be_visible(timeout=TOLD_WITHIN_MS)
    expect(notice).to_contain_text("The plan is suspended until the bank decides")
    expect(notice).to_contain_text("Submit evidence at Stripe by")
    expect(desk.page.locator(".title-row .badge").first).to_have_text("Disputed")
    plans = desk.page.get_by_role("table", name="Plans")
    expect(plans.get_by_role("row").nth(1)).to_contain_text("Suspended")
    with desk.page.context.expect_page() as opened:
        notice.get_by_role("link", name="View payment at Stripe").click()
    expect(opened.value.get_by_text("$19.00").first).to_be_visible()
    desk.show("Webhooks")
    received = desk.page.get_by_role("table", name="Webhooks")
    expect(received.get_by_text("charge.dispute.created").first).to_be_visible()
    assert grave_violations(desk.page) == []
    running_app.sandbox.client().v1.disputes.update(
        dispute_id, {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
    )
    expect(notices).to_have_count(0, timeout=TOLD_WITHIN_MS)


def test_denials_are_shown_on_the_summary(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url, MANY)
    query = (
        "INSERT INTO daily_denials (account_id, day, workflow, user_id, reason, denied)"
        " VALUES (%s, current_date, 'nightly', '', 'insufficient_executions', 12)"
    )
    run(running_app, query, holder.account_number)
    desk = open_desk(open_context, running_app, holder)
    row = desk.page.get_by_role("table", name="Refused").get_by_role("row").nth(1)
    for told in ("Not enough executions", "nightly", "12"):
        expect(row).to_contain_text(told)


def test_one_click_clears_all_filters(open_context: OpenContext, running_app: RunningApp) -> None:
    page = open_console(open_context, running_app, routes.STAFF_CUSTOMERS)
    clear = page.get_by_role("button", name="Clear filters")
    rows = page.get_by_role("table", name="Customers").get_by_role("row")
    expect(rows.nth(1)).to_be_visible()
    expect(clear).to_have_count(0)
    page.get_by_label("Search customers").fill("nobody has this name")
    expect(page.locator(".empty").get_by_role("button", name="Clear filters")).to_be_visible()
    page.locator(".listing-tools").get_by_role("button", name="Clear filters").click()
    expect(rows.nth(1)).to_be_visible()
    expect(page.get_by_label("Search customers")).to_have_value("")
    expect(clear).to_have_count(0)


def test_unknown_record_links_to_its_list(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.staff_customer("acc_0123456789abcdef"))
    expect(page.locator("main")).to_have_count(1)
    expect(page.locator("#content")).to_have_count(1)
    page.get_by_role("link", name="Back to customers").click()
    page.wait_for_url(f"**{routes.STAFF_CUSTOMERS}")
    page.goto(routes.staff_offer("no-such-offer"))
    page.get_by_role("link", name="Back to offers").click()
    page.wait_for_url(f"**{routes.STAFF_OFFERS}")


def test_new_offer_does_not_preview_another(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.STAFF_OFFERS)
    page.get_by_role("link", name="Growth").first.click()
    expect(page.locator("#preview")).to_contain_text("Growth")
    page.get_by_role("link", name="Offers").first.click()
    page.get_by_role("link", name="New offer").click()
    page.wait_for_url(f"**{routes.staff_offer(NEW)}")
    expect(page.get_by_text("No preview yet")).to_be_visible()
    expect(page.locator("#preview")).to_have_count(0)


def test_time_moves_below_on_a_phone(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    use(running_app, holder, 4)
    desk = open_desk(open_context, running_app, holder, size=PHONE)
    desk.show("Ledger")
    row = desk.page.get_by_role("table", name="Ledger").get_by_role("row").nth(1)
    expect(row.locator(".lead .at")).to_be_visible()
    expect(row.locator("td").first).to_be_hidden()
    scroll = desk.page.locator(".table-scroll").first
    assert scroll.evaluate("box => box.scrollWidth <= box.clientWidth")


def test_audit_log_and_menu_work_on_a_phone(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url, MANY)
    path = f"/accounts/{holder.account_id}/grants"
    by_admin(running_app, path, executions=5)
    page = open_console(open_context, running_app, routes.STAFF_AUDIT, size=PHONE)
    entry = page.get_by_role("table", name="Audit").get_by_role("row").nth(1)
    expect(entry.get_by_text(WHY).locator("visible=true")).to_have_count(1)
    expect(entry.get_by_text("Admin").locator("visible=true")).to_have_count(1)
    page.get_by_role("button", name="Signed in as").locator("visible=true").click()
    expect(page.get_by_role("menuitem", name="Staff console")).to_have_count(0)
    page.get_by_role("menuitem", name="Customer pages").click()
    page.wait_for_url(f"{running_app.base_url}{routes.DASHBOARD}")


def test_trouble_leads_to_its_list_on_a_phone(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    dead_letter(running_app)
    page = open_console(open_context, running_app, routes.STAFF, size=PHONE)
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    menu = page.get_by_role("navigation", name="Console, at the bottom")
    expect(menu.get_by_role("img", name="to resolve")).to_be_visible()
    assert faults(page, "staff-trouble") == []
    resize(page, PHONE)
    page.get_by_role("link", name="dead letter").click()
    page.wait_for_url(f"{running_app.base_url}{routes.STAFF_OPERATIONS}*")
    found = page.get_by_role("table", name="Webhooks").get_by_text("Dead letter")
    expect(found.first).to_be_visible()
    expect(page.get_by_label("Status")).to_have_value("dead")

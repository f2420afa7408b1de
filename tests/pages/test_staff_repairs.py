"""Each repair of an account as a person does it: the form, the review, the yes, what is told."""

from datetime import UTC, datetime, timedelta

import httpx
from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.billing.staff.access.permissions import OwnAccountError
from billing_app.db.enums import StaffRole
from tests.factories import Holder, membership, organization, person, portal_session, trial
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.staff import (
    CustomerDesk,
    confirm_undo,
    expect_said,
    open_desk,
    signed_in,
    undo_at_once,
)
from tests.pages.staff_scenes import WHY, WORKFLOW, rows, run, somebody, subscribe_by_card, use
from tests.pages.test_accessibility import faults

MANY = 50


def answer_to_a_run(app: RunningApp, holder: Holder) -> int:
    """The status that a service gets which asks whether a run may begin."""
    return httpx.post(
        app.base_url + routes.CHECK_EXECUTIONS,
        headers={"Authorization": f"Bearer {app.key}"},
        json={"organization_id": holder.organization_id},
    ).status_code


def test_refund_an_event(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    event_id = use(running_app, holder, 4)
    desk = open_desk(open_context, running_app, holder)
    desk.expect_left(MANY - 4)
    desk.show("Ledger")
    ledger = desk.page.get_by_role("table", name="Ledger")
    ledger.get_by_role("button", name=f"Refund: {event_id}").click()
    expect(desk.dialog.get_by_label("Event", exact=True)).to_have_value(event_id)
    desk.fill(Executions="3")
    desk.review(f"Event of {WORKFLOW}", "3 executions go back to the plan that was charged.")
    desk.confirm("Refund an event", "3 executions refunded. Recorded in the audit log.")
    desk.expect_left(MANY - 1)
    expect(ledger.get_by_role("row").nth(1)).to_contain_text("Refund")
    expect(ledger.get_by_role("row").nth(2)).to_contain_text("3 of 4 refunded")
    scroll = desk.page.get_by_role("region", name="Ledger")
    assert scroll.evaluate("box => box.scrollWidth <= box.clientWidth")
    desk.choose("Refund an event")
    desk.fill(Event=event_id, Executions="2")
    desk.review()
    refused = "Only 1 execution of this event can be refunded."
    expect(desk.dialog.locator(".notice.bad")).to_contain_text(refused)
    expect(desk.page.locator(".notice.result")).to_have_count(0)
    desk.fill(Executions="")
    desk.review("1 execution goes back to the plan that was charged.")
    desk.confirm("Refund an event", "1 execution refunded.")
    desk.expect_left(MANY)
    row = ledger.get_by_role("row").filter(has_text=event_id)
    expect(row.locator(".badge").last).to_have_text("Refunded")
    expect(row.get_by_role("button", name="Refund")).to_have_count(0)
    desk.expect_entries("1 execution refunded", "3 executions refunded")
    desk.expect_told(open_context, "1 execution refunded")


def test_refund_a_failed_workflow(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    for executions in (3, 4):
        use(running_app, holder, executions)
    use(running_app, holder, 5, workflow="fine")
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Refund a workflow")
    desk.select("Workflow", WORKFLOW)
    now = datetime.now(UTC)
    span = [at.strftime("%Y-%m-%dT%H:%M") for at in (now - timedelta(hours=1), now + timedelta(1))]
    desk.dialog.get_by_label("From (UTC)").fill(span[0])
    desk.dialog.get_by_label("Before (UTC)").fill(span[1])
    desk.fill()
    desk.review("2 events with 7 executions are refunded.", f"Remaining now: {MANY - 12}")
    desk.confirm("Refund a workflow", "7 executions refunded for 2 events of broken")
    desk.expect_left(MANY - 5)
    desk.expect_entries("7 executions refunded for 2 events of broken")
    desk.expect_told(open_context, "7 executions refunded for 2 events of broken")


def test_extend_a_trial(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = trial(running_app.database_url, person(running_app.database_url).user_id, MANY)
    query = "UPDATE plans SET ends_at = now() + interval '3 days' WHERE account_id = %s"
    run(running_app, query, holder.account_number)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Extend trial")
    last_day = datetime.now(UTC).date() + timedelta(days=10)
    desk.fill(More_executions="7", Valid_through=last_day.isoformat())
    desk.review(f"Trial executions go from {MANY} to {MANY + 7}", "Valid through")
    end = last_day.isoformat()
    desk.confirm("Extend trial", f"Trial extended by 7 executions, valid through {end}")
    desk.expect_left(MANY + 7)
    desk.expect_entries("Trial extended by 7 executions")


def test_adjust_used_executions(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Adjust used executions")
    desk.select("Direction", "Increase used executions")
    desk.fill(Executions="3")
    desk.review(
        "Plan 1: used executions go from 0 to 3.", f"Remaining in this plan: {MANY} → {MANY - 3}"
    )
    desk.confirm("Adjust used executions", "Used executions corrected by +3")
    desk.expect_left(MANY - 3)
    desk.show("Ledger")
    expect(desk.page.get_by_role("table", name="Ledger").get_by_role("row").nth(1)).to_contain_text(
        "Adjust"
    )
    desk.expect_entries("Used executions corrected by +3")
    desk.expect_told(open_context, "Used executions corrected by +3")


def test_pause_and_resume_a_plan(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    desk = open_desk(open_context, running_app, holder)
    desk.page.get_by_role("button", name="Pause: Plan 1").click()
    desk.fill()
    desk.review(f"Usable executions go from {MANY} to 0.")
    desk.confirm("Pause plan", "Plan 1 paused")
    desk.expect_left(0)
    assert answer_to_a_run(running_app, holder) == 402
    desk.page.get_by_role("button", name="Resume: Plan 1").click()
    desk.fill()
    desk.review(f"Plan 1, with {MANY} executions left, can be used again.")
    desk.confirm("Resume plan", "Plan 1 resumed")
    desk.expect_left(MANY)
    assert answer_to_a_run(running_app, holder) == 200
    desk.expect_entries("Plan 1 resumed", "Plan 1 paused")
    desk.expect_told(open_context, "Plan 1 resumed")


def test_block_and_unblock_an_account(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Block account")
    desk.fill()
    desk.review("New executions are refused", "Subscriptions are still charged.")
    desk.confirm("Block account", "Account blocked")
    expect(desk.page.locator(".page-head .badge").first).to_have_text("Blocked")
    notice = desk.page.locator(".notice.bad")
    expect(notice).to_contain_text("Blocked since")
    expect(notice).to_contain_text(WHY)
    expect(desk.page.locator(".figure-value").first).to_have_text(f"{MANY} · blocked")
    expect(desk.page.locator(".figure-value").nth(2)).to_have_text("Plan 1")
    assert answer_to_a_run(running_app, holder) == 402
    desk.choose("Unblock account")
    desk.fill()
    desk.review(f"New executions are allowed again. {MANY} executions left.")
    desk.confirm("Unblock account", "Account unblocked")
    desk.expect_left(MANY)
    expect(notice).to_have_count(0)
    assert answer_to_a_run(running_app, holder) == 200
    desk.expect_entries("Account unblocked", "Account blocked")
    desk.expect_told(open_context, "Account unblocked")


def test_move_at_period_end_can_be_undone(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url)
    subscribe_by_card(running_app, holder)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Move to another offer")
    desk.select("Offer", "Growth, 30,000 executions")
    desk.select("When", "At the end of the period")
    desk.fill()
    desk.review("From Starter version 1 to Growth", "Nothing is charged now.")
    desk.confirm("Move to another offer", "Moved from Starter to Growth at the end of the period")
    desk.show("Billing")
    subscription = desk.page.get_by_role("table", name="Subscriptions").get_by_role("row").nth(1)
    expect(subscription).to_contain_text("Changes to Growth")
    undo_at_once(desk.page)
    expect(subscription).to_contain_text("Renews")
    desk.expect_entries("Undone: Moved from Starter to Growth", "Moved from Starter to Growth")
    entries = desk.page.get_by_role("table", name="Audit").get_by_role("row")
    expect(entries.nth(2)).to_contain_text("Undone")


def test_immediate_move_is_charged_and_cannot_be_undone(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url)
    subscribe_by_card(running_app, holder)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Move to another offer")
    desk.select("Offer", "Growth, 30,000 executions")
    desk.select("When", "Now, charging the card on file")
    desk.fill()
    desk.review(
        "From Starter version 1 to Growth", "The payment method on file is charged $60.00 now"
    )
    desk.confirm("Move to another offer", "Moved from Starter to Growth immediately")
    expect(desk.page.locator(".figure-value").nth(3)).to_have_text("Growth")
    expect(desk.page.locator(".figure-value").nth(2)).to_have_text("Growth", timeout=20_000)
    desk.show("Billing")
    invoices = desk.page.get_by_role("table", name="Invoices").get_by_role("row")
    expect(invoices).to_have_count(3)
    expect(invoices.nth(1)).to_contain_text("Paid")
    undo = desk.page.locator(".notice.result").get_by_role("button", name="Undo")
    expect(undo).to_have_count(0)
    desk.expect_entries("Moved from Starter to Growth immediately")
    desk.expect_told(open_context, "Moved from Starter to Growth immediately")


def test_undo_a_repair_from_the_audit_log(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url, MANY)
    desk = open_desk(open_context, running_app, holder)
    desk.choose("Grant executions")
    desk.fill(Executions="7")
    desk.review(f"Remaining executions go from {MANY} to {MANY + 7}.")
    desk.confirm("Grant executions", "7 executions granted")
    page = desk.page
    page.goto(routes.STAFF_AUDIT)
    page.get_by_role("searchbox", name="Account").fill(holder.account_id)
    entries = page.get_by_role("table", name="Audit").get_by_role("row")
    expect(entries).to_have_count(2)
    entries.nth(1).get_by_role("button", name="Undo: 7 executions granted").click()
    expect(page.get_by_role("dialog").locator("#consequence")).to_be_visible()
    assert faults(page, "staff-undo", within="[role=dialog]") == []
    confirm_undo(
        page, "Customer: ", "The granted plan of 7 executions ends unused.", reason="By mistake"
    )
    expect_said(page, "Undone: 7 executions granted.")
    expect(entries.nth(2)).to_contain_text("Undone")
    page.goto(routes.staff_customer(holder.account_id))
    desk.expect_left(MANY)
    desk.expect_entries("Undone: 7 executions granted", "7 executions granted")
    expect(page.get_by_role("table", name="Audit").get_by_role("row").nth(1)).to_contain_text(
        "By mistake"
    )
    expect(page.get_by_role("table", name="Audit")).not_to_contain_text("Executions: 7")


def test_sign_a_customer_out(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    owner = person(running_app.database_url, "Grace").user_id
    membership(running_app.database_url, holder.organization_id, owner, "owner")
    theirs = signed_in(open_context, running_app, owner)
    theirs.goto(routes.DASHBOARD)
    expect(theirs.locator("#remaining")).to_be_visible()
    desk = open_desk(open_context, running_app, holder, StaffRole.SUPPORT)
    desk.show("Access")
    people = desk.page.get_by_role("table", name="People").get_by_role("row")
    expect(people.filter(has_text="Grace")).to_contain_text("Owner")
    sessions = desk.page.get_by_role("table", name="Sessions")
    sessions.get_by_role("button", name="Sign out: Grace").click()
    expect(desk.dialog.get_by_role("heading")).to_have_text("Sign Grace out everywhere")
    desk.fill()
    desk.confirm("Sign out everywhere", "1 session ended.")
    expect(desk.page.get_by_text("Nobody is signed in")).to_be_visible()
    theirs.wait_for_url(f"**{routes.SIGN_IN}**")
    desk.expect_entries("Signed a member out everywhere")
    query = "SELECT revoked_at IS NOT NULL FROM sessions WHERE user_id = %s"
    assert rows(running_app, query, owner) == [(True,)]


def test_end_portal_sessions(open_context: OpenContext, running_app: RunningApp) -> None:
    holder = organization(running_app.database_url, MANY)
    portal_session(running_app.database_url, holder, "ada-7")
    desk = open_desk(open_context, running_app, holder, StaffRole.SUPPORT)
    desk.show("Access")
    sessions = desk.page.get_by_role("table", name="Portal sessions")
    sessions.get_by_role("button", name="End sessions: ada-7").click()
    expect(desk.dialog.get_by_role("heading")).to_have_text("End the portal sessions of ada-7")
    desk.fill()
    desk.confirm("End sessions", "1 session ended.")
    expect(desk.page.get_by_text("No portal sessions")).to_be_visible()
    desk.expect_entries("Ended a person's portal sessions")
    query = "SELECT revoked_at IS NOT NULL FROM portal_sessions WHERE account_id = %s"
    assert rows(running_app, query, holder.account_number) == [(True,)]


def own_desk(open_context: OpenContext, app: RunningApp, role: StaffRole) -> CustomerDesk:
    """Staff on the page of an organization that they belong to."""
    holder, who = organization(app.database_url, MANY), somebody(app, role)
    membership(app.database_url, holder.organization_id, who.user_id)
    page = signed_in(open_context, app, who.user_id)
    page.goto(routes.staff_customer(holder.account_id))
    _expect_own(page)
    return CustomerDesk(page, app, holder)


def _expect_own(page: Page) -> None:
    expect(page.locator(".page-head .badge").nth(1)).to_have_text("Your own account")


def test_billing_staff_cannot_repair_their_own_account(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    desk = own_desk(open_context, running_app, StaffRole.BILLING)
    desk.choose("Grant executions")
    desk.fill(Executions="7")
    desk.dialog.get_by_role("button", name="Review").click()
    expect(desk.dialog.locator(".notice.bad")).to_contain_text(OwnAccountError.title)
    desk.page.keyboard.press("Escape")
    desk.expect_left(MANY)


def test_admin_repair_of_own_account_is_marked_in_the_audit_log(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    desk = own_desk(open_context, running_app, StaffRole.ADMIN)
    desk.choose("Grant executions")
    desk.fill(Executions="7")
    desk.review("This is your own account. The audit log will flag this entry.")
    desk.confirm("Grant executions", "7 executions granted")
    desk.expect_left(MANY + 7)
    desk.expect_entries("Own account")
    expect(desk.page.get_by_role("table", name="Audit")).to_contain_text(WHY)

"""Offers, the team, and what runs by itself, as a person works on them in the console."""

import secrets

from playwright.sync_api import Locator, Page, expect

from billing_app import routes
from billing_app.db.enums import StaffRole
from billing_app.states.staff.offers import NEW
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import new_customer, open_overview, subscribe
from tests.pages.staff import expect_said, open_console, signed_in
from tests.pages.staff_scenes import WHY, dead_letter, draft, rows, run, somebody
from tests.pages.test_accessibility import picture
from tests.payments.test_outages import TRIES

JOB_WITHIN_MS = 60_000


def say_why(page: Page, yes: str) -> None:
    """Pressed twice: it is done once, and no error covers the success."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_role("button", name=yes, exact=True).dblclick()


def table_rows(page: Page, name: str) -> Locator:
    return page.get_by_role("table", name=name).get_by_role("row")


def expect_audited(page: Page, by: str, *words: str) -> None:
    """The newest entries of somebody, newest first."""
    page.goto(routes.STAFF_AUDIT)
    page.get_by_label("Actor").select_option(label=by)
    for place, each in enumerate(words, 1):
        expect(table_rows(page, "Audit").nth(place)).to_contain_text(each)
        expect(table_rows(page, "Audit").nth(place)).to_contain_text(WHY)


def sole_name(app: RunningApp, user_id: str) -> str:
    """A name that nobody else of the team has."""
    name = f"Robin {secrets.token_hex(3)}"
    run(app, "UPDATE users SET name = %s WHERE id = %s", name, user_id)
    return name


def open_as(
    open_context: OpenContext, app: RunningApp, path: str, role: StaffRole
) -> tuple[Page, str, str]:
    """A page of the console, and the name and id of whose it is."""
    who = somebody(app, role)
    name = sole_name(app, who.user_id)
    page = signed_in(open_context, app, who.user_id)
    page.goto(path)
    page.locator(".console h1").wait_for()
    return page, name, who.user_id


def test_new_offer_is_previewed_once_complete(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    path = routes.staff_offer(NEW)
    page, _, _ = open_as(open_context, running_app, path, StaffRole.ADMIN)
    expect(page.get_by_text("No preview yet")).to_be_visible()
    expect(page.locator(".editor [aria-invalid=true], .notice.warning")).to_have_count(0)
    expect(page.locator("#preview")).to_have_count(0)
    page.get_by_label("Code", exact=True).fill("new-here")
    page.get_by_label("Name", exact=True).fill("New here")
    expect(page.locator("#preview")).to_contain_text("Choose New here")


def test_draft_errors_appear_below_their_fields(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.staff_offer(draft(running_app)))
    price, preview = page.get_by_label("Price", exact=True), page.locator("#preview")
    expect(preview).to_contain_text("$39.50/ month")
    expect(preview).to_contain_text("9,000 executions a month")
    for typed, is_wrong in (("abc", True), ("4,100", True), ("41,00", False)):
        price.fill(typed)
        expect(price).to_have_attribute("aria-invalid", "true" if is_wrong else "false")
        expect(preview).to_have_class("preview stale" if is_wrong else "preview")
        expect(page.locator("#offer-price-problem")).to_have_count(1 if is_wrong else 0)
    expect(price).to_have_accessible_description("")
    expect(preview).to_contain_text("$41.00")
    page.get_by_label("When used up").select_option(label="Charge overage")
    expect(page.get_by_text("Not ready to publish")).to_be_visible()
    page.get_by_label("Overage price").fill("x")
    expect(page.get_by_label("Overage price")).to_have_accessible_description(
        "Overage price: enter an amount in USD, for example 29.00."
    )
    expect(page.get_by_text("Not ready to publish")).to_have_count(0)


def test_edit_republish_archive_and_unarchive_an_offer(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    code = draft(running_app)
    path = routes.staff_offer(code)
    page, name, _ = open_as(open_context, running_app, path, StaffRole.ADMIN)
    expect(table_rows(page, "Versions")).to_have_count(0)
    page.get_by_role("button", name="Publish", exact=True).click()
    say_why(page, "Publish draft")
    expect_said(page, "Version 1 is on sale.")
    page.get_by_label("Name", exact=True).fill(f"Team {code}")
    page.get_by_label("Price", exact=True).fill("41.00")
    page.get_by_label("When used up").select_option(label="Charge overage")
    expect(page.get_by_text("Not ready to publish")).to_be_visible()
    expect(page.get_by_role("button", name="Save draft")).to_be_disabled()
    page.get_by_label("When used up").select_option(label="Stop")
    expect(page.locator("#preview")).to_contain_text("$41.00")
    expect(page.get_by_role("button", name="Publish", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Save draft").click()
    say_why(page, "Save draft")
    expect_said(page, "Draft saved. Customers don't see it until it is published.")
    expect(page.locator(".title-row")).to_contain_text("Not published")
    mary = new_customer(open_context, running_app)
    offers = mary.page.locator(".offers")
    expect(offers).not_to_contain_text(f"Team {code}")
    page.get_by_role("button", name="Publish", exact=True).click()
    say_why(page, "Publish draft")
    expect_said(page, "Version 2 is on sale.")
    versions = table_rows(page, "Versions")
    expect(versions.filter(has_text="$41.00")).to_have_count(1)
    expect(versions.filter(has_text="$39.50")).to_have_count(1)
    mary.page.reload()
    expect(offers).to_contain_text(f"Team {code}")
    page.get_by_role("button", name="Archive", exact=True).click()
    say_why(page, "Archive offer")
    expect_said(page, "Offer archived.")
    mary.page.reload()
    mary.page.locator(".offers").wait_for()
    expect(offers).not_to_contain_text(f"Team {code}")
    page.get_by_role("button", name="Unarchive").click()
    say_why(page, "Unarchive offer")
    expect_said(page, "Offer unarchived.")
    page.get_by_role("button", name="Archive", exact=True).click()
    say_why(page, "Archive offer")
    expect_said(page, "Offer archived.")
    expect_audited(
        page,
        name,
        "Archived an offer",
        "Unarchived an offer",
        "Archived an offer",
        "Published an offer",
        "Edited an offer draft",
    )


def test_subscriber_keeps_the_card_of_their_version(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    code = draft(running_app)
    page, _, _ = open_as(open_context, running_app, routes.staff_offer(code), StaffRole.ADMIN)
    page.get_by_label("Name", exact=True).fill(f"Club {code}")
    page.get_by_role("button", name="Save draft").click()
    say_why(page, "Save draft")
    page.get_by_role("button", name="Publish", exact=True).click()
    say_why(page, "Publish draft")
    expect_said(page, "Version 1 is on sale.")
    mary = new_customer(open_context, running_app)
    subscribe(mary, f"Club {code}")
    page.get_by_label("Price", exact=True).fill("41,00")
    page.get_by_role("button", name="Save draft").click()
    expect(page.get_by_role("dialog")).to_contain_text("for $41.00 / month")
    say_why(page, "Save draft")
    page.get_by_role("button", name="Publish", exact=True).click()
    say_why(page, "Publish draft")
    expect_said(page, "Version 2 is on sale.")
    open_overview(mary.page)
    cards = mary.page.locator(".offer").filter(has_text=f"Club {code}")
    expect(cards).to_have_count(2)
    expect(cards.filter(has_text="Your plan")).to_contain_text("$39.50")
    newer = cards.filter(has_text="New version")
    expect(newer).to_contain_text("$41.00")
    newer.get_by_role("button", name="Change to the new version").click()
    dialog = mary.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Change to the new version of Club {code}")
    expect(dialog.locator(".change-side").first).to_contain_text("$39.50")
    picture(mary.page, "change-to-new-version")
    mary.page.keyboard.press("Escape")
    picture(mary.page, "own-version-card")
    page.get_by_role("button", name="Archive", exact=True).click()
    say_why(page, "Archive offer")
    expect_said(page, "Offer archived.")


def test_non_admins_can_only_read_offers(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.staff_offer("growth"), StaffRole.BILLING)
    expect(page.get_by_label("Name", exact=True)).to_be_disabled()
    for name in ("Save draft", "Publish", "Archive"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


def test_member_is_added_promoted_and_removed(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page, admin, _ = open_as(open_context, running_app, routes.STAFF_TEAM, StaffRole.ADMIN)
    theirs, name, user_id = open_as(open_context, running_app, routes.STAFF, StaffRole.SUPPORT)
    page.get_by_label("Search members").fill(name)
    member = table_rows(page, "Members").filter(has_text=name)
    expect(member).to_contain_text("Support")
    member.get_by_role("button", name=f"Change role: {name}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Current role: support.")
    dialog.get_by_label("Role").select_option(label="Billing: grant, refund, move and pause plans")
    say_why(page, "Change role")
    expect_said(page, f"{name} now has the role billing.")
    expect(member).to_contain_text("Billing")
    expect(theirs.locator(".side-row .badge")).to_have_text("Billing")
    member.get_by_role("button", name=f"Remove: {name}").click()
    expect(dialog).to_contain_text("They lose access immediately.")
    say_why(page, "Remove")
    expect_said(page, f"{name} was removed from staff.")
    expect(member).to_have_count(0)
    expect(theirs.get_by_role("heading", name="Not found")).to_be_attached()
    expect(theirs.locator(".console")).to_have_count(0)
    page.get_by_role("button", name="Add member").click()
    dialog.get_by_label("Email").fill(f"{user_id}@example.com")
    dialog.get_by_label("Role").select_option(label="Support: read everything, grant small amounts")
    say_why(page, "Add")
    expect_said(page, "Staff member added.")
    expect(member).to_contain_text("Support")
    expect(page.locator("#password")).to_have_count(0)
    theirs.reload()
    expect(theirs.locator(".side-row .badge")).to_have_text("Support")
    expect_audited(
        page,
        admin,
        "Added a staff member",
        "Removed a staff member",
        "Changed a staff role",
    )


def test_new_member_password_is_shown_once(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page = open_console(open_context, running_app, routes.STAFF_TEAM)
    email = f"{secrets.token_hex(6)}@our.house"
    page.get_by_role("button", name="Add member").click()
    page.get_by_role("dialog").get_by_label("Email").fill(email)
    say_why(page, "Add")
    expect_said(page, "Staff member added.")
    password = page.locator("#password").inner_text()
    page.reload()
    page.locator(".console h1").wait_for()
    expect(page.locator("#password")).to_have_count(0)
    new = open_context().new_page()
    new.goto(routes.SIGN_IN)
    new.get_by_label("Email").fill(email)
    new.get_by_label("Password").fill(password)
    new.get_by_role("button", name="Sign in").click()
    new.wait_for_url(lambda url: routes.SIGN_IN not in url)
    new.goto(routes.STAFF)
    expect(new.locator(".side-row .badge")).to_have_text("Support")


def test_dead_letter_is_replayed(open_context: OpenContext, running_app: RunningApp) -> None:
    event_id = dead_letter(running_app)
    page, name, _ = open_as(open_context, running_app, routes.STAFF_OPERATIONS, StaffRole.BILLING)
    page.get_by_label("Status").select_option(label="Dead letter")
    row = table_rows(page, "Webhooks").filter(has_text=event_id)
    expect(row).to_contain_text("It broke")
    row.get_by_role("button", name=f"Replay: {event_id}").click()
    say_why(page, "Replay the event")
    expect_said(page, "The event is being processed again.")
    expect(row).to_have_count(0)
    page.get_by_label("Status").select_option(label="Any status")
    expect(row).to_contain_text("Processed")
    expect(row).not_to_contain_text("It broke")
    expect_audited(page, name, "Replayed a webhook")


def test_failed_reconciliation_is_retried(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    page, name, _ = open_as(open_context, running_app, routes.STAFF_OPERATIONS, StaffRole.BILLING)
    running_app.sandbox.fault(
        kind="status", when="before", method="GET", path="/v1/events", times=TRIES, status=503
    )
    page.get_by_role("tab", name="Reconciliation").click()
    page.get_by_role("button", name="Reconcile now").click()
    page.get_by_role("dialog").get_by_label("Mode").select_option(label="Report differences only")
    say_why(page, "Reconcile with Stripe")
    expect_said(page, "Reconciliation is running. Its results will appear here.")
    page.get_by_role("tab", name="Jobs").click()
    page.get_by_label("Status").select_option(label="Failed")
    job = table_rows(page, "Jobs").filter(has_text="reconcile now").first
    expect(job).to_contain_text("is not responding", timeout=JOB_WITHIN_MS)
    running_app.sandbox.http.delete("/_sandbox/faults")
    job.get_by_role("button", name="Retry: reconcile now").click()
    say_why(page, "Retry the job")
    expect_said(page, "The job is running again.")
    page.get_by_label("Status").select_option(label="Finished")
    expect(job).to_contain_text("Finished", timeout=JOB_WITHIN_MS)
    page.get_by_role("tab", name="Reconciliation").click()
    expect(table_rows(page, "Reconciliations").nth(1)).to_contain_text("Report only")
    query = "SELECT action, count(*) FROM audit_entries WHERE actor_name = %s GROUP BY 1 ORDER BY 1"
    assert rows(running_app, query, name) == [("reconcile", 1), ("retry_job", 1)]
    expect_audited(page, name, "Retried a job", "Ran a reconciliation")

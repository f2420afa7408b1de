"""Changing one's name, email and billing details, as a person does it."""

import secrets

import pytest
from playwright.sync_api import Locator, Page, expect

from billing_app import routes
from billing_app.billing.identity.email_changes import CHANGED_SUBJECT
from billing_app.billing.identity.email_links import LINK_SUBJECT
from billing_app.db.enums import Role
from tests.factories import organization
from tests.mailbox import Mailbox, link_in
from tests.pages.conftest import PHONE, OpenContext, RunningApp, sign_in
from tests.pages.customers import Customer, new_customer
from tests.pages.staff import wait_until_quiet
from tests.pages.test_accessibility import faults, grave_violations
from tests.pages.test_members import join, look_at

PASSWORD = "a creature of my own"


def new_address() -> str:
    return f"new-{secrets.token_hex(6)}@example.com"


def details(customer: Customer) -> Page:
    page = customer.page
    page.goto(routes.DETAILS)
    page.get_by_role("heading", name="Billing", exact=True).wait_for()
    return page


def confirm(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Email address confirmed")).to_be_visible()


def detail(page: Page, name: str) -> Locator:
    return page.locator("li", has=page.get_by_role("heading", name=name, exact=True))


def test_change_the_name(open_context: OpenContext, running_app: RunningApp) -> None:
    customer = new_customer(open_context, running_app)
    page = customer.page
    page.get_by_role("button", name="Account: Mary Shelley").first.click()
    page.get_by_role("menuitem", name="Details").click()
    page.get_by_role("button", name="Change name").click()
    page.get_by_role("textbox", name="Name").fill(" \u2003 ")
    page.get_by_role("dialog").get_by_role("button", name="Change name").click()
    expect(page.get_by_role("alert")).to_contain_text("1 to 255 characters")
    assert grave_violations(page, within="[role=dialog]") == []
    page.get_by_role("textbox", name="Name").fill("Mary Wollstonecraft Shelley \U0001f319")
    page.get_by_role("dialog").get_by_role("button", name="Change name").click()
    expect(page.get_by_text("Name changed")).to_be_visible()
    for name in ("Name", "Billing name"):
        expect(detail(page, name)).to_contain_text("Mary Wollstonecraft")
    page.reload()
    expect(page.get_by_role("button", name="Account: Mary Wollstonecraft").first).to_be_visible()
    expect(page.get_by_text("Name changed")).to_be_hidden()


def test_change_the_email(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    customer, new = new_customer(open_context, running_app), new_address()
    page, other = details(customer), open_context(size=PHONE).new_page()
    sign_in(other, customer.email, PASSWORD)
    page.get_by_role("button", name="Change email").click()
    page.get_by_role("textbox", name="New email").fill(new)
    page.get_by_label("Current password").fill("not this one")
    page.get_by_role("button", name="Email me a link").click()
    expect(page.get_by_role("alert")).to_contain_text("This is not your current password")
    page.get_by_label("Current password").fill(PASSWORD)
    assert faults(page, "details-email-dialog", within="[role=dialog]") == []
    page.get_by_role("button", name="Email me a link").click()
    waiting = page.get_by_text(f"Waiting for confirmation of {new}")
    expect(waiting).to_be_visible()
    assert faults(page, "details-waiting") == []
    voided = link_in(mailbox.wait_for(new, LINK_SUBJECT))
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("We emailed a new link")).to_be_visible()
    link = link_in(mailbox.wait_for(new, LINK_SUBJECT, count=2))
    elsewhere = open_context(size=PHONE).new_page()
    elsewhere.goto(voided)
    expect(elsewhere.get_by_text("This link has expired")).to_be_visible()
    elsewhere.goto(link)
    expect(elsewhere.get_by_text(f"Use {new} from now on.")).to_be_visible()
    assert link.rpartition("/")[2] not in elsewhere.url
    assert faults(elsewhere, "confirm-email") == []
    confirm(elsewhere, link)
    expect(detail(page, "Email")).to_contain_text(new)
    expect(waiting).to_be_hidden()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    mailbox.wait_for(customer.email, CHANGED_SUBJECT)
    sign_in(open_context().new_page(), new, PASSWORD)


def test_change_the_purchase_order(open_context: OpenContext, running_app: RunningApp) -> None:
    page = details(new_customer(open_context, running_app))
    expect(detail(page, "Purchase order")).to_contain_text("None")
    page.get_by_role("button", name="Change purchase order").click()
    page.get_by_role("textbox", name="Purchase-order number").fill("PO 4711/7")
    assert faults(page, "details-purchase-order", within="[role=dialog]") == []
    page.get_by_role("dialog").get_by_role("button", name="Change purchase order").click()
    expect(page.get_by_text("Purchase-order number changed")).to_be_visible()
    expect(detail(page, "Purchase order")).to_contain_text("PO 4711/7")
    assert faults(page, "details") == []
    page.get_by_role("button", name="Change purchase order").click()
    page.get_by_role("textbox", name="Purchase-order number").fill("")
    page.get_by_role("dialog").get_by_role("button", name="Change purchase order").click()
    expect(page.get_by_text("New invoices have none.")).to_be_visible()
    expect(detail(page, "Purchase order")).to_contain_text("None")


def test_links_are_limited(open_context: OpenContext, running_app: RunningApp) -> None:
    page = details(new_customer(open_context, running_app))
    page.get_by_role("button", name="Change billing email").click()
    page.get_by_role("textbox", name="Billing email").fill(new_address())
    page.get_by_role("dialog").get_by_role("button", name="Change billing email").click()
    for _ in range(5):
        expect(page.get_by_text("Check your email")).to_be_visible()
        page.get_by_role("button", name="Dismiss").click()
        expect(page.get_by_text("Check your email")).to_be_hidden()
        page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("Too many attempts")).to_be_visible()


def test_withdraw_a_change(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    customer, new = new_customer(open_context, running_app), new_address()
    page = details(customer)
    page.get_by_role("button", name="Change billing email").click()
    page.get_by_role("textbox", name="Billing email").fill(new)
    page.get_by_role("dialog").get_by_role("button", name="Change billing email").click()
    link = link_in(mailbox.wait_for(new, LINK_SUBJECT))
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_text("Change withdrawn")).to_be_visible()
    expect(page.get_by_text("Waiting for confirmation")).to_be_hidden()
    page.goto(link)
    expect(page.get_by_text("This link has expired")).to_be_visible()


def test_billing_details_reach_stripe(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    customer, new = new_customer(open_context, running_app), new_address()
    client = running_app.sandbox.client()
    made = client.v1.customers.create({"metadata": {"billing_account": customer.account_id}})
    customer.rows(
        f"INSERT INTO provider_customers SELECT %s, '{made.id}', now() RETURNING account_id"
    )
    page = details(customer)
    page.get_by_role("button", name="Change billing name").click()
    page.get_by_role("textbox", name="Billing name").fill("Shelley & Söhne")
    page.get_by_role("dialog").get_by_role("button", name="Change billing name").click()
    expect(page.get_by_text("Billing name changed")).to_be_visible()
    page.get_by_role("button", name="Change billing email").click()
    page.get_by_role("textbox", name="Billing email").fill(new)
    page.get_by_role("dialog").get_by_role("button", name="Change billing email").click()
    confirm(page, link_in(mailbox.wait_for(new, LINK_SUBJECT)))
    page.get_by_role("link", name="Go to your details").click()
    expect(detail(page, "Billing email")).to_contain_text(new)
    for _ in range(200):
        theirs = client.v1.customers.retrieve(made.id)
        if (theirs.name, theirs.email) == ("Shelley & Söhne", new):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"Stripe has {theirs.name}, {theirs.email}")


def test_member_sees_billing_details_read_only(
    open_context: OpenContext, running_app: RunningApp
) -> None:
    holder = organization(running_app.database_url)
    owner = new_customer(open_context, running_app)
    member = new_customer(open_context, running_app)
    join(running_app, owner, holder, Role.OWNER)
    join(running_app, member, holder, Role.MEMBER)
    look_at(member.page, "Acme")
    member.page.get_by_role("button", name="Account: Acme").first.click()
    member.page.get_by_role("menuitem", name="Details").click()
    expect(member.page.get_by_text("Mary Shelley can change these.")).to_be_visible()
    expect(member.page.get_by_text(owner.email)).to_be_visible()
    expect(member.page.get_by_role("button", name="Change billing")).to_have_count(0)
    expect(member.page.get_by_role("button", name="Change name")).to_be_visible()
    assert faults(member.page, "details-member") == []
    wait_until_quiet(running_app)

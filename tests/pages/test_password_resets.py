"""A password that was forgotten, and one that is changed, as a person does it."""

import secrets

from playwright.sync_api import expect

from billing_app import routes
from tests.mailbox import Mailbox, link_in
from tests.pages.conftest import PHONE, OpenContext, RunningApp, sign_in
from tests.pages.test_accessibility import grave_violations

OLD, NEW, NEWEST = "a creature of my own", "a better one than that", "the best one of them"


def new_person(open_context: OpenContext) -> str:
    """Somebody signs up with OLD and leaves; returns their address."""
    email = f"mary-{secrets.token_hex(4)}@example.com"
    page = open_context().new_page()
    page.goto(routes.SIGN_UP)
    page.get_by_label("Name").fill("Mary Shelley")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(OLD)
    page.get_by_role("button", name="Create account").click()
    page.locator("#remaining").wait_for()
    page.context.close()
    return email


def test_reset_a_forgotten_password(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    email = new_person(open_context)
    page = open_context(size=PHONE).new_page()
    page.goto(routes.SIGN_IN)
    page.get_by_role("link", name="Forgot your password?").click()
    expect(page.get_by_role("heading", name="Forgot your password?")).to_be_visible()
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name="Email me a link").click()
    expect(page.get_by_role("status")).to_contain_text("a link is on its way")
    assert grave_violations(page) == []
    link = link_in(mailbox.wait_for(email, "Choose a new password"))
    assert link.startswith(running_app.base_url)
    page.goto(link)
    expect(page.get_by_role("heading", name="Choose a new password")).to_be_visible()
    assert link.rpartition("/")[2] not in page.url
    expect(page.get_by_text(f"For {email}.")).to_be_visible()
    page.get_by_label("New password").fill(NEW)
    page.get_by_role("button", name="Set password").click()
    page.locator("#remaining").wait_for()
    page.goto(link)
    expect(page.get_by_text("This link has expired")).to_be_visible()
    sign_in(open_context().new_page(), email, NEW)


def test_change_the_password(open_context: OpenContext, mailbox: Mailbox) -> None:
    email = new_person(open_context)
    page, other = open_context().new_page(), open_context().new_page()
    sign_in(page, email, OLD)
    sign_in(other, email, OLD)
    page.get_by_role("button", name="Signed in as").click()
    page.get_by_role("menuitem", name="Change password").click()
    page.get_by_label("Current password").fill("something else")
    page.get_by_label("New password").fill(NEWEST)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("This is not your current password.")).to_be_visible()
    assert grave_violations(page) == []
    page.get_by_label("Current password").fill(OLD)
    page.get_by_label("New password").fill(NEWEST)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("Your password was changed")).to_be_visible()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_role("link", name="Back to the dashboard").click()
    page.locator("#remaining").wait_for()
    mailbox.wait_for(email, "Your password was changed")


def test_changing_the_password_requires_a_session(open_context: OpenContext) -> None:
    page = open_context().new_page()
    page.goto(routes.CHANGE_PASSWORD)
    expect(page).to_have_url(f"{page.url.partition('?')[0]}?next=/change-password")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

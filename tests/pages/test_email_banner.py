"""The banner that asks people to confirm their e-mail address."""

from playwright.sync_api import Page, expect

from billing_app import routes
from billing_app.billing.identity.email_links import WELCOME_SUBJECT
from billing_app.states.email_banner import EmailBannerState
from tests.factories import connect
from tests.mailbox import Mailbox, link_in
from tests.pages.conftest import OpenContext, RunningApp
from tests.pages.customers import Customer, new_customer
from tests.pages.sockets import forged
from tests.pages.test_accessibility import faults
from tests.pages.test_members import attack

ASKED = "Confirm your email address"


def unconfirmed(open_context: OpenContext, app: RunningApp) -> tuple[Customer, Page]:
    """As whoever signed up where mail is sent, in a tab that they open then."""
    customer = new_customer(open_context, app)
    with connect(app.database_url) as connection:
        connection.execute(
            "UPDATE users SET confirmation_asked_at = now() WHERE id = %s", [customer.user_id]
        )
    page = customer.context.new_page()
    page.goto(routes.USAGE)
    expect(page.get_by_role("region", name="Email address")).to_contain_text(ASKED)
    return customer, page


def test_banner_sends_the_link_again_and_goes_once_it_is_used(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    customer, page = unconfirmed(open_context, running_app)
    expect(page.get_by_text(f"Open the link that we emailed to {customer.email}.")).to_be_visible()
    assert faults(page, "email-banner") == []
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("We emailed a new link. Earlier links no longer work.")).to_be_visible()
    link = link_in(mailbox.wait_for(customer.email, WELCOME_SUBJECT))
    elsewhere = open_context().new_page()
    elsewhere.goto(link)
    elsewhere.get_by_role("button", name="Confirm").click()
    expect(elsewhere.get_by_text("Email address confirmed")).to_be_visible()
    expect(page.get_by_text(ASKED)).to_be_hidden()
    page.reload()
    expect(page.get_by_role("heading", name="Usage").first).to_be_visible()
    expect(page.get_by_text(ASKED)).to_be_hidden()


def test_links_of_the_banner_are_limited(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    customer, page = unconfirmed(open_context, running_app)
    for count in range(1, 6):
        page.get_by_role("button", name="Send again").click()
        mailbox.wait_for(customer.email, WELCOME_SUBJECT, count=count)
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("Too many attempts")).to_be_visible()
    assert len(mailbox.to(customer.email, WELCOME_SUBJECT)) == 5


def test_who_confirmed_long_ago_sees_no_banner_and_forges_no_mail(
    open_context: OpenContext, running_app: RunningApp, mailbox: Mailbox
) -> None:
    customer = new_customer(open_context, running_app)
    customer.page.goto(routes.USAGE)
    expect(customer.page.get_by_role("heading", name="Usage").first).to_be_visible()
    expect(customer.page.get_by_text(ASKED)).to_be_hidden()
    attack(running_app, customer, [forged(EmailBannerState, "send_again", routes.USAGE)])
    assert mailbox.to(customer.email, WELCOME_SUBJECT) == []

"""Signing up and what accounts are told: real jobs, a real SMTP server, real HTTP."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from billing_app.billing import ids
from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.actors import UserActor
from billing_app.billing.identity import email_changes
from billing_app.billing.identity.email_links import WELCOME_SUBJECT
from billing_app.db.engine import Database
from billing_app.jobs import webhooks
from billing_app.jobs.mail import DbosMailQueue
from billing_app.routes import (
    CONFIRM_EMAIL,
    EMAIL_CONFIRMATIONS,
    PASSWORD_RESET,
    PASSWORD_RESETS,
    USER_CREATE,
)
from tests.api.mailed_site import mailed_site, running_mailbox
from tests.api.server import ApiServer
from tests.api.test_password_resets import status_of
from tests.api.test_sign_in import PASSWORD, Browser, went_to
from tests.billing.notices.rows import happened, invoice, team
from tests.databases import create_database
from tests.factories import connect
from tests.mailbox import Mailbox, link_in, text_of

CONFIRMED = f"{CONFIRM_EMAIL}?said=confirmed"
OVER = f"{CONFIRM_EMAIL}?error=email_link_expired"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def url(server_url: str, database_template: str) -> str:
    return create_database(server_url, "welcome", database_template)


@pytest.fixture(scope="module")
def site(url: str, mailbox: Mailbox) -> Iterator[ApiServer]:
    """An API with mail, and its worker."""
    with mailed_site(url, mailbox) as started:
        yield started


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(url)
    yield opened
    await opened.dispose()


@pytest.fixture
def browser(site: ApiServer) -> Browser:
    return Browser(site.url)


@pytest.fixture
def ada(browser: Browser, url: str) -> UserActor:
    """Somebody who has just signed up, in `browser`."""
    address = f"{ids.new_id('')}@example.com"
    went_to(browser.post(USER_CREATE, email=address, password=PASSWORD, name="Ada"))
    with connect(url) as connection:
        row = connection.execute("SELECT id FROM users WHERE email = %s", [address]).fetchone()
    assert row is not None
    return UserActor(row[0], "Ada", address)


async def must_confirm(database: Database, who: UserActor) -> bool:
    person = await email_changes.read_person(database, who, datetime.now(UTC))
    assert person.pending is None
    return person.must_confirm


def use(browser: Browser, link: str) -> str:
    """Open the link and press the button; where that leads."""
    page = went_to(browser.client.get(urlsplit(link).path))
    return went_to(browser.post(EMAIL_CONFIRMATIONS, link=page.partition("=")[2]))


async def test_welcome_confirms_the_address_once_and_signs_nobody_out(
    mailbox: Mailbox, browser: Browser, ada: UserActor, database: Database
) -> None:
    welcome = mailbox.wait_for(ada.email, WELCOME_SUBJECT)
    assert welcome["List-Unsubscribe"] is None
    assert await must_confirm(database, ada)
    assert use(browser, link_in(welcome)) == CONFIRMED
    assert not await must_confirm(database, ada)
    assert status_of(browser) == 200
    assert went_to(browser.client.get(urlsplit(link_in(welcome)).path)) == OVER
    told = [mail["Subject"] for mail in mailbox.messages if mail["X-Envelope-To"] == ada.email]
    assert told == [WELCOME_SUBJECT]


async def test_newer_welcome_voids_the_link_before_and_none_follows_once_confirmed(
    mailbox: Mailbox, browser: Browser, ada: UserActor, database: Database
) -> None:
    first = link_in(mailbox.wait_for(ada.email, WELCOME_SUBJECT))
    queue = DbosMailQueue(webhooks.client(database.url))
    assert await email_changes.welcome_again(database, queue, ada, datetime.now(UTC))
    second = link_in(mailbox.wait_for(ada.email, WELCOME_SUBJECT, count=2))
    assert went_to(browser.client.get(urlsplit(first).path)) == OVER
    assert use(browser, second) == CONFIRMED
    assert not await email_changes.welcome_again(database, queue, ada, datetime.now(UTC))


async def test_link_of_a_welcome_lasts_a_week(
    mailbox: Mailbox, browser: Browser, ada: UserActor, url: str
) -> None:
    link = link_in(mailbox.wait_for(ada.email, WELCOME_SUBJECT))
    with connect(url) as connection:
        found = "SELECT expires_at - now() FROM email_changes WHERE user_id = %s"
        row = connection.execute(found, [ada.user_id]).fetchone()
        assert row is not None
        assert timedelta(days=6) < row[0] <= timedelta(days=7)
        connection.execute(
            "UPDATE email_changes SET expires_at = now() WHERE user_id = %s", [ada.user_id]
        )
    assert went_to(browser.client.get(urlsplit(link).path)) == OVER


async def test_password_that_was_reset_by_mail_confirms_the_address(
    mailbox: Mailbox, browser: Browser, ada: UserActor, database: Database
) -> None:
    mailbox.wait_for(ada.email, WELCOME_SUBJECT)
    browser.post(PASSWORD_RESETS, email=ada.email)
    link = link_in(mailbox.wait_for(ada.email, "Choose a new password"))
    page = went_to(browser.client.get(urlsplit(link).path))
    browser.post(PASSWORD_RESET, link=page.partition("=")[2], password="another good one")
    assert not await must_confirm(database, ada)


async def test_receipt_is_mailed_once_to_who_manages_the_organization(
    mailbox: Mailbox, database: Database, url: str, site: ApiServer
) -> None:
    acme = team(url)
    invoice(url, acme.holder, "in_1")
    await happened(database, acme.holder, EventType.INVOICE_PAID, key="invoice.paid:in_1")
    receipt = mailbox.wait_for(acme.owner.email, "Acme: Receipt for 29.00 USD")
    assert "https://pay.example/1" in text_of(receipt)
    assert receipt["List-Unsubscribe"].startswith(f"<{site.url}/billing/unsubscribe/")
    await happened(database, acme.holder, EventType.TOP_UP_STOPPED, reason="Not sold any more.")
    mailbox.wait_for(acme.owner.email, "Acme: Automatic top-ups have stopped")
    assert len(mailbox.to(acme.owner.email, "Acme: Receipt for 29.00 USD")) == 1

"""New e-mail addresses, confirmed by a mailed link: real jobs, a real SMTP server, real HTTP."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from billing_app.billing import ids
from billing_app.billing.actors import UserActor
from billing_app.billing.identity import email_changes
from billing_app.billing.identity.email_changes import CHANGED_SUBJECT
from billing_app.billing.identity.email_links import LINK_SUBJECT, TAKEN_SUBJECT
from billing_app.db.engine import Database
from billing_app.jobs import webhooks
from billing_app.jobs.mail import DbosMailQueue
from billing_app.routes import (
    CONFIRM_EMAIL,
    EMAIL_CONFIRMATIONS,
    EMAIL_COOKIE,
    EMAIL_LINKS,
    PASSWORD_RESETS,
    SESSION_CREATE,
    SIGN_IN,
    USER_CREATE,
)
from tests.api.mailed_site import mailed_site, running_mailbox
from tests.api.server import ApiServer
from tests.api.test_password_resets import MAILED, signed_in, status_of
from tests.api.test_sign_in import PASSWORD, Browser, went_to
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
    return create_database(server_url, "email_links", database_template)


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
def ada(site: ApiServer, url: str) -> UserActor:
    """Somebody with PASSWORD."""
    address = f"{ids.new_id('')}@example.com"
    went_to(Browser(site.url).post(USER_CREATE, email=address, password=PASSWORD, name="Ada"))
    with connect(url) as connection:
        row = connection.execute("SELECT id FROM users WHERE email = %s", [address]).fetchone()
    assert row is not None
    return UserActor(row[0], "Ada", address)


def new_address() -> str:
    return f"{ids.new_id('new-')}@example.com"


async def ask(database: Database, who: UserActor, email: str, token: str = "") -> None:
    await email_changes.request_email_change(
        database,
        DbosMailQueue(webhooks.client(database.url)),
        who,
        email=email,
        password=PASSWORD,
        token=token,
        now=datetime.now(UTC),
    )


async def mailed_path(database: Database, mailbox: Mailbox, who: UserActor, email: str) -> str:
    await ask(database, who, email)
    return urlsplit(link_in(mailbox.wait_for(email, LINK_SUBJECT))).path


def follow(browser: Browser, path: str) -> str:
    """Open the link; returns its hash, which the page has."""
    page = went_to(browser.client.get(path))
    assert page.startswith(f"{CONFIRM_EMAIL}?link=")
    return page.partition("=")[2]


async def test_link_changes_the_address_once(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    here, other, new = signed_in(site, ada.email), signed_in(site, ada.email), new_address()
    path = await mailed_path(database, mailbox, ada, new)
    link = follow(here, path)
    assert status_of(other) == 200
    signed_in(site, ada.email)
    assert went_to(here.post(EMAIL_CONFIRMATIONS, link=link)) == CONFIRMED
    assert EMAIL_COOKIE not in here.client.cookies
    assert (status_of(here), status_of(other)) == (200, 401)
    old = Browser(site.url).post(SESSION_CREATE, email=ada.email, password=PASSWORD)
    assert went_to(old) == f"{SIGN_IN}?error=invalid"
    signed_in(site, new)
    told = mailbox.wait_for(ada.email, CHANGED_SUBJECT)
    assert new not in text_of(told)
    assert went_to(here.client.get(path)) == OVER
    assert went_to(here.post(EMAIL_CONFIRMATIONS, link=link)) == OVER


async def test_token_is_hidden_and_opening_changes_nothing(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    path = await mailed_path(database, mailbox, ada, new_address())
    answer = Browser(site.url).client.get(path)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert f"path={EMAIL_CONFIRMATIONS};" in cookie
    assert "samesite=lax" in cookie
    assert path.rpartition("/")[2] not in answer.headers["location"]
    assert answer.headers["cache-control"] == "no-store"
    signed_in(site, ada.email)


async def test_password_link_to_the_old_address_is_void(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    assert went_to(Browser(site.url).post(PASSWORD_RESETS, email=ada.email)) == MAILED
    reset = urlsplit(link_in(mailbox.wait_for(ada.email, "Choose a new password"))).path
    browser = Browser(site.url)
    link = follow(browser, await mailed_path(database, mailbox, ada, new_address()))
    assert went_to(browser.post(EMAIL_CONFIRMATIONS, link=link)) == CONFIRMED
    assert "link_over" in went_to(Browser(site.url).client.get(reset))


async def test_taken_address_gets_a_notice_instead_of_a_link(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    taken = new_address()
    went_to(Browser(site.url).post(USER_CREATE, email=taken, password=PASSWORD))
    await ask(database, ada, taken)
    told = mailbox.wait_for(taken, TAKEN_SUBJECT)
    assert ada.email not in text_of(told)
    assert mailbox.to(taken, LINK_SUBJECT) == []


async def test_address_taken_since_is_refused(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    new, browser = new_address(), Browser(site.url)
    link = follow(browser, await mailed_path(database, mailbox, ada, new))
    went_to(Browser(site.url).post(USER_CREATE, email=new.upper(), password=PASSWORD))
    answer = browser.post(EMAIL_CONFIRMATIONS, link=link)
    assert went_to(answer) == f"{CONFIRM_EMAIL}?error=email_taken"
    signed_in(site, ada.email)


async def test_form_of_one_link_never_confirms_another(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    browser, first = Browser(site.url), new_address()
    link = follow(browser, await mailed_path(database, mailbox, ada, first))
    follow(browser, await mailed_path(database, mailbox, ada, new_address()))
    assert went_to(browser.post(EMAIL_CONFIRMATIONS, link=link)) == OVER
    signed_in(site, ada.email)


async def test_mail_is_retried_after_an_outage(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    new = new_address()
    mailbox.stop()
    try:
        await ask(database, ada, new)
    finally:
        mailbox.start()
    follow(Browser(site.url), urlsplit(link_in(mailbox.wait_for(new, LINK_SUBJECT))).path)


async def test_long_and_international_addresses_are_mailed(
    mailbox: Mailbox, ada: UserActor, database: Database
) -> None:
    labels = [letter * 60 for letter in "abc"]
    longest = f"{ids.new_id('l' * 48)}@{'.'.join(labels)}.example"[-254:]
    assert len(longest) == 254
    for new in (longest, f"{ids.new_id('')}@b\u00fccher.example"):
        await ask(database, ada, new)
        local, _, domain = new.partition("@")
        mailed = mailbox.wait_for(f"{local}@{domain.encode('idna').decode()}", LINK_SUBJECT)
        assert link_in(mailed)


@pytest.mark.parametrize("token", ["x", "%00", "%F0%9F%92%B8", "a" * 5000])
def test_unknown_link(site: ApiServer, token: str) -> None:
    assert went_to(Browser(site.url).client.get(f"{EMAIL_LINKS}/{token}")) == OVER
    assert went_to(Browser(site.url).post(EMAIL_CONFIRMATIONS, link=token[:64])) == OVER


@pytest.mark.parametrize("origin", [None, "https://elsewhere.example"])
async def test_cross_site_post_is_refused(
    site: ApiServer, mailbox: Mailbox, ada: UserActor, database: Database, origin: str | None
) -> None:
    browser = Browser(site.url)
    link = follow(browser, await mailed_path(database, mailbox, ada, new_address()))
    del browser.client.headers["Origin"]
    headers = {} if origin is None else {"Origin": origin}
    answer = browser.client.post(EMAIL_CONFIRMATIONS, data={"link": link}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_post")
    signed_in(site, ada.email)

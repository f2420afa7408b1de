"""A new password: by a link in a mail that a real server got, and with the old one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from billing_app.billing import ids
from billing_app.routes import (
    CHANGE_PASSWORD,
    DASHBOARD,
    FORGOT_PASSWORD,
    PASSWORD_CHANGE,
    PASSWORD_COOKIE,
    PASSWORD_RESET,
    PASSWORD_RESETS,
    RESET_PASSWORD,
    SESSION_CREATE,
    SIGN_IN,
    USER_CREATE,
)
from tests.api.server import ApiServer
from tests.api.test_sign_in import PASSWORD, Browser, went_to
from tests.conftest import create_database
from tests.factories import connect
from tests.mailbox import Mailbox, link_in
from tests.processes import free_port, start_command

NEW_PASSWORD = "a better one than before"
LINK_SUBJECT, CHANGED_SUBJECT = "Choose a new password", "Your password was changed"
MAILED = f"{FORGOT_PASSWORD}?said=mailed"
OVER = f"{FORGOT_PASSWORD}?error=link_over"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox(free_port())
    box.start()
    yield box
    box.stop()


@pytest.fixture(scope="module")
def database(server_url: str, database_template: str) -> str:
    return create_database(server_url, "passwords", database_template)


@pytest.fixture(scope="module")
def site(database: str, mailbox: Mailbox) -> Iterator[ApiServer]:
    """An API that sends mail, and the worker that does it."""
    started = ApiServer(database)
    started.environment |= mailbox.environment | {"PUBLIC_URL": started.url}
    worker = start_command(started.environment, "worker")
    try:
        started.start()
        yield started
    finally:
        worker.terminate()
        worker.communicate(timeout=20)
        started.stop()


@pytest.fixture
def email(site: ApiServer) -> str:
    """The address of somebody with PASSWORD."""
    address = f"{ids.new_id('')}@example.com"
    went_to(Browser(site.url).post(USER_CREATE, email=address, password=PASSWORD))
    return address


def signed_in(site: ApiServer, email: str, password: str = PASSWORD) -> Browser:
    browser = Browser(site.url)
    assert went_to(browser.post(SESSION_CREATE, email=email, password=password)) == DASHBOARD
    return browser


def mailed_link(site: ApiServer, mailbox: Mailbox, email: str) -> str:
    """The path of a link that was asked for and came."""
    assert went_to(Browser(site.url).post(PASSWORD_RESETS, email=email)) == MAILED
    link = link_in(mailbox.wait_for(email, LINK_SUBJECT))
    assert link.startswith(site.url)
    return urlsplit(link).path


def opened(site: ApiServer, path: str) -> Browser:
    browser = Browser(site.url)
    assert went_to(browser.client.get(path)) == RESET_PASSWORD
    return browser


def status_of(browser: Browser) -> int:
    return browser.current().status_code


def test_a_link_sets_the_password_once_and_ends_every_other_session(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    before = signed_in(site, email)
    path = mailed_link(site, mailbox, email.upper())
    assert status_of(before) == 200
    browser = opened(site, path)
    assert went_to(browser.post(PASSWORD_RESET, password="short")) == (
        f"{RESET_PASSWORD}?error=invalid_password"
    )
    assert went_to(browser.post(PASSWORD_RESET, password=NEW_PASSWORD)) == DASHBOARD
    assert (status_of(browser), status_of(before)) == (200, 401)
    assert PASSWORD_COOKIE not in browser.client.cookies
    old = Browser(site.url).post(SESSION_CREATE, email=email, password=PASSWORD)
    assert went_to(old) == f"{SIGN_IN}?error=invalid"
    assert status_of(signed_in(site, email, NEW_PASSWORD)) == 200
    assert went_to(browser.client.get(path)) == OVER
    told = mailbox.wait_for(email, CHANGED_SUBJECT)
    assert f"{site.url}{FORGOT_PASSWORD}" in told.get_content()


def test_the_link_leaves_its_token_where_no_script_and_no_address_has_it(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    path = mailed_link(site, mailbox, email)
    answer = Browser(site.url).client.get(path)
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{PASSWORD_COOKIE}=")
    assert "httponly" in cookie
    assert "path=/billing/passwords;" in cookie
    assert "samesite=lax" in cookie
    assert answer.headers["location"] == RESET_PASSWORD
    assert answer.headers["cache-control"] == "no-store"


def test_no_table_knows_the_token(
    site: ApiServer, mailbox: Mailbox, email: str, database: str
) -> None:
    token = mailed_link(site, mailbox, email).rpartition("/")[2]
    with connect(database) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 'dbos')"
        ).fetchall()
        assert ("dbos.workflow_status",) in tables
        for (table,) in tables:
            query = f"SELECT count(*) FROM {table} AS t WHERE t::text LIKE %s"  # noqa: S608
            row = connection.execute(query, [f"%{token}%"]).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
            assert row == (0,), table


def test_an_unknown_address_is_answered_the_same_and_gets_no_mail(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    nobody = f"no-{email}"
    unknown = Browser(site.url).post(PASSWORD_RESETS, email=nobody)
    known = Browser(site.url).post(PASSWORD_RESETS, email=email)
    assert went_to(unknown) == went_to(known) == MAILED
    assert unknown.content == known.content
    mailbox.wait_for(email, LINK_SUBJECT)
    assert mailbox.to(nobody, LINK_SUBJECT) == []


def test_of_one_link_used_at_once_only_one_counts(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    path = mailed_link(site, mailbox, email)
    browsers = [opened(site, path) for _ in range(6)]

    def use(number: int) -> str:
        form = {"password": f"{NEW_PASSWORD} {number}"}
        return went_to(browsers[number].post(PASSWORD_RESET, **form))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(use, range(6)))
    assert sorted(answers) == sorted([DASHBOARD, *[OVER] * 5])
    winner = answers.index(DASHBOARD)
    signed_in(site, email, f"{NEW_PASSWORD} {winner}")


def test_all_links_are_over_once_one_was_used(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    first = mailed_link(site, mailbox, email)
    assert went_to(Browser(site.url).post(PASSWORD_RESETS, email=email)) == MAILED
    newest = mailbox.wait_for(email, LINK_SUBJECT, count=2)
    browser, other = opened(site, urlsplit(link_in(newest)).path), opened(site, first)
    browser.post(PASSWORD_RESET, password=NEW_PASSWORD)
    assert went_to(other.post(PASSWORD_RESET, password=PASSWORD)) == OVER
    signed_in(site, email, NEW_PASSWORD)


def test_an_old_link_is_over(site: ApiServer, mailbox: Mailbox, email: str, database: str) -> None:
    path = mailed_link(site, mailbox, email)
    browser = opened(site, path)
    with connect(database) as connection:
        connection.execute("UPDATE password_resets SET expires_at = now() - interval '1 second'")
    assert went_to(Browser(site.url).client.get(path)) == OVER
    assert went_to(browser.post(PASSWORD_RESET, password=NEW_PASSWORD)) == OVER
    signed_in(site, email)


@pytest.mark.parametrize("token", ["x", "%00", "%F0%9F%92%B8", "a" * 5000])
def test_a_link_that_was_never_made(site: ApiServer, token: str) -> None:
    assert went_to(Browser(site.url).client.get(f"{PASSWORD_RESETS}/{token}")) == OVER
    assert went_to(Browser(site.url).post(PASSWORD_RESET, password=NEW_PASSWORD)) == OVER


def test_a_mail_server_that_was_away_gets_it_later(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    mailbox.stop()
    try:
        assert went_to(Browser(site.url).post(PASSWORD_RESETS, email=email)) == MAILED
    finally:
        mailbox.start()
    link = link_in(mailbox.wait_for(email, LINK_SUBJECT))
    opened(site, urlsplit(link).path)


def test_who_is_signed_in_changes_it_with_the_old_one(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    here, there = signed_in(site, email), signed_in(site, email)
    wrong = here.post(PASSWORD_CHANGE, current="not this one", password=NEW_PASSWORD)
    assert went_to(wrong) == f"{CHANGE_PASSWORD}?error=wrong_password"
    short = here.post(PASSWORD_CHANGE, current=PASSWORD, password="short")
    assert went_to(short) == f"{CHANGE_PASSWORD}?error=invalid_password"
    assert (status_of(here), status_of(there)) == (200, 200)
    done = here.post(PASSWORD_CHANGE, current=PASSWORD, password=NEW_PASSWORD)
    assert went_to(done) == f"{CHANGE_PASSWORD}?said=changed"
    assert (status_of(here), status_of(there)) == (200, 401)
    signed_in(site, email, NEW_PASSWORD)
    mailbox.wait_for(email, CHANGED_SUBJECT)


def test_nobody_changes_it_without_a_session(site: ApiServer) -> None:
    answer = Browser(site.url).post(PASSWORD_CHANGE, current=PASSWORD, password=NEW_PASSWORD)
    assert went_to(answer) == SIGN_IN


@pytest.mark.parametrize("path", [PASSWORD_RESETS, PASSWORD_RESET, PASSWORD_CHANGE])
@pytest.mark.parametrize("origin", [None, "https://elsewhere.example"])
def test_another_site_cannot_post(
    site: ApiServer, email: str, path: str, origin: str | None
) -> None:
    cookies = signed_in(site, email).client.cookies
    headers = {} if origin is None else {"Origin": origin}
    form = {"email": email, "current": PASSWORD, "password": NEW_PASSWORD}
    answer = httpx.post(site.url + path, data=form, headers=headers, cookies=cookies)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_post")
    signed_in(site, email)


def test_where_no_mail_is_sent_that_is_said(server: ApiServer) -> None:
    answer = Browser(server.url).post(PASSWORD_RESETS, email="somebody@example.com")
    assert went_to(answer) == f"{FORGOT_PASSWORD}?error=no_mail"


def test_what_is_no_address(site: ApiServer) -> None:
    for address in ("", "x", "a@b.c\r\nBcc: d@e.fg", "a\0b@c.de"):
        answer = Browser(site.url).post(PASSWORD_RESETS, email=address)
        assert went_to(answer) == f"{FORGOT_PASSWORD}?error=invalid_email"


def test_too_many_links_for_one_address(site: ApiServer) -> None:
    """Last here: all that is asked from this machine counts."""
    nobody = f"{ids.new_id('')}@example.com"
    asked = [went_to(Browser(site.url).post(PASSWORD_RESETS, email=nobody)) for _ in range(6)]
    assert asked == [*[MAILED] * 5, f"{FORGOT_PASSWORD}?error=rate_limited"]

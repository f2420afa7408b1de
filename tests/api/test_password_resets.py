"""Password resets by a mailed link (through a real SMTP server), and password changes."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from argon2 import PasswordHasher

from billing_app.billing import ids
from billing_app.billing.identity.sessions import hash_token
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
from tests.api.mailed_site import mailed_site, running_mailbox
from tests.api.server import ApiServer
from tests.api.test_sign_in import PASSWORD, Browser, went_to
from tests.databases import create_database
from tests.factories import connect
from tests.mailbox import Mailbox, link_in, text_of

NEW_PASSWORD = "a better one than before"
NO_ADDRESSES = (
    "",
    "x",
    "a@b.c\r\nBcc: d@e.fg",
    "a\0b@c.de",
    "(https://evil.example/)victim@gmail.example",
    "victim@gmail.example;.corp.com",
    "x<victim@gmail.example>.com",
    "a,victim@gmail.example",
    "=?utf-8?q?victim=40evil.com=2C?=@b.com",
    '"<v>@evil.com',
)
BREAK_SESSIONS = """
CREATE FUNCTION break_sessions() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P01'; END $$;
CREATE TRIGGER break_sessions BEFORE INSERT ON sessions
    FOR EACH ROW EXECUTE FUNCTION break_sessions()
"""
LINK_SUBJECT, CHANGED_SUBJECT = "Choose a new password", "Your password was changed"
MAILED = f"{FORGOT_PASSWORD}?said=mailed"
OVER = f"{FORGOT_PASSWORD}?error=link_over"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as box:
        yield box


@pytest.fixture(scope="module")
def database(server_url: str, database_template: str) -> str:
    return create_database(server_url, "passwords", database_template)


@pytest.fixture(scope="module")
def site(database: str, mailbox: Mailbox) -> Iterator[ApiServer]:
    """An API with mail, and its worker."""
    with mailed_site(database, mailbox) as started:
        yield started


@pytest.fixture
def email(site: ApiServer) -> str:
    """The address of a user with PASSWORD."""
    address = f"{ids.new_id('')}@example.com"
    went_to(Browser(site.url).post(USER_CREATE, email=address, password=PASSWORD))
    return address


@dataclass(frozen=True, slots=True)
class MadeLinks:
    """Links made without mail, whose number is limited."""

    email: str
    paths: list[str]

    @property
    def path(self) -> str:
        return self.paths[0]


def made_link(site: ApiServer, database: str, *, count: int = 1, email: str = "") -> MadeLinks:
    """Links of a user with PASSWORD."""
    paths: list[str] = []
    with connect(database) as connection:
        if not email:
            email = f"{ids.new_id('')}@example.com"
            connection.execute(
                "INSERT INTO users (id, name, email, password_hash, created_at)"
                " VALUES (%s, '', %s, %s, now())",
                [ids.new_id("usr_"), email, PasswordHasher().hash(PASSWORD)],
            )
        for _ in range(count):
            token = secrets.token_urlsafe(32)
            connection.execute(
                "INSERT INTO password_resets (token_hash, user_id, created_at, expires_at)"
                " SELECT %s, id, now(), now() + interval '1 hour' FROM users WHERE email = %s",
                [hash_token(token), email],
            )
            paths.append(f"{PASSWORD_RESETS}/{token}")
    return MadeLinks(email, paths)


def signed_in(site: ApiServer, email: str, password: str = PASSWORD) -> Browser:
    browser = Browser(site.url)
    assert went_to(browser.post(SESSION_CREATE, email=email, password=password)) == DASHBOARD
    return browser


def mailed_link(site: ApiServer, mailbox: Mailbox, email: str) -> str:
    """The path of a link that was requested and mailed."""
    assert went_to(Browser(site.url).post(PASSWORD_RESETS, email=email)) == MAILED
    link = link_in(mailbox.wait_for(email, LINK_SUBJECT))
    assert link.startswith(site.url)
    return urlsplit(link).path


class Opened(Browser):
    """A browser that followed a link to its page."""

    def __init__(self, url: str, path: str) -> None:
        super().__init__(url)
        self.follow(path)

    def follow(self, path: str) -> None:
        self.page = went_to(self.client.get(path))
        assert self.page.startswith(f"{RESET_PASSWORD}?link=")
        self.link = self.page.partition("=")[2]

    def choose(self, password: str) -> str:
        """The redirect after posting the form."""
        return went_to(self.post(PASSWORD_RESET, password=password, link=self.link))


def opened(site: ApiServer, path: str) -> Opened:
    return Opened(site.url, path)


def status_of(browser: Browser) -> int:
    return browser.current().status_code


def test_link_sets_password_once_and_ends_other_sessions(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    before = signed_in(site, email)
    path = mailed_link(site, mailbox, email.upper())
    assert status_of(before) == 200
    browser = opened(site, path)
    assert browser.choose("short") == f"{RESET_PASSWORD}?error=invalid_password&link={browser.link}"
    weak = browser.choose(email)
    assert weak == f"{RESET_PASSWORD}?error=personal_password&link={browser.link}"
    assert browser.choose(NEW_PASSWORD) == DASHBOARD
    assert (status_of(browser), status_of(before)) == (200, 401)
    assert PASSWORD_COOKIE not in browser.client.cookies
    old = Browser(site.url).post(SESSION_CREATE, email=email, password=PASSWORD)
    assert went_to(old) == f"{SIGN_IN}?error=invalid"
    assert status_of(signed_in(site, email, NEW_PASSWORD)) == 200
    assert went_to(browser.client.get(path)) == OVER
    told = mailbox.wait_for(email, CHANGED_SUBJECT)
    assert f"{site.url}{FORGOT_PASSWORD}" in text_of(told)


def test_token_is_hidden_from_scripts_and_addresses(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    path = mailed_link(site, mailbox, email)
    answer = Browser(site.url).client.get(path)
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{PASSWORD_COOKIE}=")
    assert "httponly" in cookie
    assert "path=/billing/passwords;" in cookie
    assert "samesite=lax" in cookie
    assert path.rpartition("/")[2] not in answer.headers["location"]
    assert answer.headers["cache-control"] == "no-store"


def test_no_table_stores_the_token(
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


def test_unknown_address_gets_same_response_and_no_mail(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    nobody = f"no-{email}"
    unknown = Browser(site.url).post(PASSWORD_RESETS, email=nobody)
    known = Browser(site.url).post(PASSWORD_RESETS, email=email)
    assert went_to(unknown) == went_to(known) == MAILED
    assert unknown.content == known.content
    mailbox.wait_for(email, LINK_SUBJECT)
    assert mailbox.to(nobody, LINK_SUBJECT) == []


def test_link_used_concurrently_works_once(site: ApiServer, mailbox: Mailbox, email: str) -> None:
    path = mailed_link(site, mailbox, email)
    browsers = [opened(site, path) for _ in range(6)]

    def use(number: int) -> str:
        return browsers[number].choose(f"{NEW_PASSWORD} {number}")

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(use, range(6)))
    assert sorted(answers) == sorted([DASHBOARD, *[OVER] * 5])
    winner = answers.index(DASHBOARD)
    signed_in(site, email, f"{NEW_PASSWORD} {winner}")


def test_using_a_link_expires_all_others(site: ApiServer, mailbox: Mailbox, email: str) -> None:
    first = mailed_link(site, mailbox, email)
    assert went_to(Browser(site.url).post(PASSWORD_RESETS, email=email)) == MAILED
    newest = mailbox.wait_for(email, LINK_SUBJECT, count=2)
    browser, other = opened(site, urlsplit(link_in(newest)).path), opened(site, first)
    browser.choose(NEW_PASSWORD)
    assert other.choose(PASSWORD) == OVER
    signed_in(site, email, NEW_PASSWORD)


def test_link_expires(site: ApiServer, mailbox: Mailbox, email: str, database: str) -> None:
    path = mailed_link(site, mailbox, email)
    browser = opened(site, path)
    with connect(database) as connection:
        connection.execute("UPDATE password_resets SET expires_at = now() - interval '1 second'")
    assert went_to(Browser(site.url).client.get(path)) == OVER
    assert browser.choose(NEW_PASSWORD) == OVER
    signed_in(site, email)


def test_form_of_one_link_never_sets_password_of_another(site: ApiServer, database: str) -> None:
    """Two links in one browser: the cookie belongs to the second, the form to the first."""
    first, second = (made_link(site, database) for _ in range(2))
    browser = opened(site, first.path)
    form_of_first = browser.link
    browser.follow(second.path)
    answer = browser.post(PASSWORD_RESET, password=NEW_PASSWORD, link=form_of_first)
    assert went_to(answer) == OVER
    for link in (first, second):
        signed_in(site, link.email)


def test_form_posted_before_script_runs_takes_link_from_referer(
    site: ApiServer, database: str
) -> None:
    browser = opened(site, made_link(site, database).path)
    referer = {"Referer": site.url + browser.page}
    form = {"password": NEW_PASSWORD, "link": ""}
    answer = browser.client.post(PASSWORD_RESET, data=form, headers=referer)
    assert went_to(answer) == DASHBOARD


def test_links_of_one_person_used_concurrently(site: ApiServer, database: str) -> None:
    """They do not deadlock."""
    made = made_link(site, database, count=4)
    for _ in range(3):
        browsers = [opened(site, path) for path in made.paths]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda each: each.choose(NEW_PASSWORD), browsers))
        assert sorted(answers) == sorted([DASHBOARD, *[OVER] * 3])
        made = made_link(site, database, count=4, email=made.email)


def test_failed_session_rolls_back_the_reset(site: ApiServer, database: str) -> None:
    made = made_link(site, database)
    before, browser = signed_in(site, made.email), opened(site, made.path)
    with connect(database) as connection:
        connection.execute(BREAK_SESSIONS)
        try:
            assert browser.choose(NEW_PASSWORD).startswith(f"{RESET_PASSWORD}?error=unreachable")
        finally:
            connection.execute("DROP FUNCTION break_sessions() CASCADE")
    assert status_of(before) != 401
    assert browser.choose(NEW_PASSWORD) == DASHBOARD
    assert status_of(before) == 401


def test_password_change_does_not_wait_for_mail(site: ApiServer, email: str, database: str) -> None:
    """A missing mail queue does not block it either."""
    browser = signed_in(site, email)
    with connect(database) as connection, connection.transaction():
        connection.execute("LOCK TABLE dbos.workflow_status IN EXCLUSIVE MODE")
        done = browser.post(PASSWORD_CHANGE, current=PASSWORD, password=NEW_PASSWORD)
        assert went_to(done) == f"{CHANGE_PASSWORD}?said=changed"
        signed_in(site, email, NEW_PASSWORD)


@pytest.mark.parametrize("token", ["x", "%00", "%F0%9F%92%B8", "a" * 5000])
def test_unknown_link(site: ApiServer, token: str) -> None:
    assert went_to(Browser(site.url).client.get(f"{PASSWORD_RESETS}/{token}")) == OVER
    form = {"password": NEW_PASSWORD, "link": token[:64]}
    assert went_to(Browser(site.url).post(PASSWORD_RESET, **form)) == OVER


def test_mail_is_retried_after_server_outage(site: ApiServer, mailbox: Mailbox, email: str) -> None:
    mailbox.stop()
    try:
        assert went_to(Browser(site.url).post(PASSWORD_RESETS, email=email)) == MAILED
    finally:
        mailbox.start()
    link = link_in(mailbox.wait_for(email, LINK_SUBJECT))
    opened(site, urlsplit(link).path)


def test_signed_in_person_changes_password_with_the_old_one(
    site: ApiServer, mailbox: Mailbox, email: str
) -> None:
    here, there = signed_in(site, email), signed_in(site, email)
    wrong = here.post(PASSWORD_CHANGE, current="not this one", password=NEW_PASSWORD)
    assert went_to(wrong) == f"{CHANGE_PASSWORD}?error=wrong_password"
    short = here.post(PASSWORD_CHANGE, current=PASSWORD, password="short")
    assert went_to(short) == f"{CHANGE_PASSWORD}?error=invalid_password"
    weak = here.post(PASSWORD_CHANGE, current=PASSWORD, password="pppppppppppp")
    assert went_to(weak) == f"{CHANGE_PASSWORD}?error=repeated_password"
    assert (status_of(here), status_of(there)) == (200, 200)
    done = here.post(PASSWORD_CHANGE, current=PASSWORD, password=NEW_PASSWORD)
    assert went_to(done) == f"{CHANGE_PASSWORD}?said=changed"
    assert (status_of(here), status_of(there)) == (200, 401)
    signed_in(site, email, NEW_PASSWORD)
    mailbox.wait_for(email, CHANGED_SUBJECT)


def test_change_requires_session(site: ApiServer) -> None:
    answer = Browser(site.url).post(PASSWORD_CHANGE, current=PASSWORD, password=NEW_PASSWORD)
    assert went_to(answer) == SIGN_IN


@pytest.mark.parametrize("path", [PASSWORD_RESETS, PASSWORD_RESET, PASSWORD_CHANGE])
@pytest.mark.parametrize("origin", [None, "https://elsewhere.example"])
def test_cross_site_post_is_refused(
    site: ApiServer, email: str, path: str, origin: str | None
) -> None:
    cookies = signed_in(site, email).client.cookies
    headers = {} if origin is None else {"Origin": origin}
    form = {"email": email, "current": PASSWORD, "password": NEW_PASSWORD}
    answer = httpx.post(site.url + path, data=form, headers=headers, cookies=cookies)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_post")
    signed_in(site, email)


def test_page_says_when_mail_is_not_configured(server: ApiServer) -> None:
    answer = Browser(server.url).post(PASSWORD_RESETS, email="somebody@example.com")
    assert went_to(answer) == f"{FORGOT_PASSWORD}?error=no_mail"


def test_invalid_address(site: ApiServer) -> None:
    for address in NO_ADDRESSES:
        answer = Browser(site.url).post(PASSWORD_RESETS, email=address)
        assert went_to(answer) == f"{FORGOT_PASSWORD}?error=invalid_email"


def test_too_many_links_for_one_address(site: ApiServer) -> None:
    """Last, because every request from this machine counts."""
    nobody = f"{ids.new_id('')}@example.com"
    asked = [went_to(Browser(site.url).post(PASSWORD_RESETS, email=nobody)) for _ in range(6)]
    held_up, _, wait = asked.pop().partition("&wait=")
    assert [*asked, held_up] == [*[MAILED] * 5, f"{FORGOT_PASSWORD}?error=rate_limited"]
    assert 3_500 < int(wait) <= 3_600

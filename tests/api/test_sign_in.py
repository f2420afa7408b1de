"""Signing up, in and out by form posts, over real HTTP."""

from typing import Any

import httpx
import pytest

from billing_app.billing import ids
from billing_app.billing.identity.sessions import hash_token
from billing_app.routes import (
    BROWSER_COOKIE,
    DASHBOARD,
    SESSION_COOKIE,
    SESSION_CREATE,
    SESSION_DELETE,
    SESSION_DELETE_ALL,
    SIGN_IN,
    SIGN_UP,
    USER_CREATE,
)
from tests.api.server import ApiServer
from tests.conftest import TRIAL_EXECUTIONS
from tests.factories import connect, counts

PASSWORD = "correct horse battery"


class Browser:
    """Posts forms as a browser on our own pages would."""

    def __init__(self, url: str, address: str = "127.0.0.1") -> None:
        self.client = httpx.Client(
            base_url=url,
            headers={"Origin": url},
            timeout=20,
            transport=httpx.HTTPTransport(local_address=address),
        )

    def post(self, path: str, **form: str) -> httpx.Response:
        return self.client.post(path, data=form)

    def current(self) -> httpx.Response:
        return self.client.get("/billing/plans/current")


@pytest.fixture
def browser(server: ApiServer) -> Browser:
    return Browser(server.url)


@pytest.fixture
def email() -> str:
    return f"{ids.new_id('')}@example.com"


@pytest.fixture(autouse=True)
def no_attempts(api_database_url: str) -> None:
    """All tests come from one address, which may sign up only so often in an hour."""
    with connect(api_database_url) as connection:
        connection.execute("DELETE FROM attempt_counters")


def went_to(response: httpx.Response) -> str:
    assert response.status_code == 303, response.text
    return response.headers["location"]


def test_sign_up_gives_a_trial_and_a_session(browser: Browser, email: str) -> None:
    assert browser.current().status_code == 401
    response = browser.post(USER_CREATE, email=email, password=PASSWORD, name="Ada")
    assert went_to(response) == DASHBOARD
    cookie = response.headers["set-cookie"].lower()
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    current = browser.current().json()
    assert current["plan"]["type"] == "trial"
    assert current["executions_total"] == TRIAL_EXECUTIONS


def test_sign_in_gives_no_hint_whether_the_address_exists(browser: Browser, email: str) -> None:
    browser.post(USER_CREATE, email=email, password=PASSWORD)
    wrong = browser.post(SESSION_CREATE, email=email, password="something else")
    unknown = browser.post(SESSION_CREATE, email=f"no-{email}", password=PASSWORD)
    assert went_to(wrong) == went_to(unknown) == f"{SIGN_IN}?error=invalid"
    assert wrong.content == unknown.content
    right = browser.post(SESSION_CREATE, email=email.upper(), password=PASSWORD)
    assert went_to(right) == DASHBOARD


def test_sign_out_ends_one_session_or_all(server: ApiServer, email: str) -> None:
    first, second, third = (Browser(server.url) for _ in range(3))
    first.post(USER_CREATE, email=email, password=PASSWORD)
    for other in (second, third):
        other.post(SESSION_CREATE, email=email, password=PASSWORD)
    token: Any = first.client.cookies[SESSION_COOKIE]
    assert went_to(first.post(SESSION_DELETE)) == SIGN_IN
    first.client.cookies.set(SESSION_COOKIE, token)
    assert [b.current().status_code for b in (first, second, third)] == [401, 200, 200]
    second.post(SESSION_DELETE_ALL)
    assert [b.current().status_code for b in (second, third)] == [401, 401]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"email": "x", "password": PASSWORD}, "invalid_email"),
        ({"email": "a@b.cd\0", "password": PASSWORD}, "invalid_email"),
        ({"email": "a@b.cd", "password": "short"}, "invalid_password"),
        ({"email": "a@b.cd", "password": "password2026"}, "common_password"),
        (
            {"email": "a@b.cd", "password": "adalovelace", "name": "Ada Lovelace"},
            "personal_password",
        ),
        ({"email": "a@b.cd", "password": PASSWORD, "name": "n" * 256}, "invalid_name"),
        ({"email": "a@b.cd", "password": PASSWORD, "name": "a\0b"}, "invalid_name"),
    ],
)
def test_invalid_sign_up(
    browser: Browser, api_database_url: str, form: dict[str, str], error: str
) -> None:
    before = counts(api_database_url)
    assert went_to(browser.post(USER_CREATE, **form)) == f"{SIGN_UP}?error={error}"
    attempts = {"attempt_counters": 1}
    assert counts(api_database_url) | attempts == before | attempts


def test_taken_address(browser: Browser, email: str, api_database_url: str) -> None:
    browser.post(USER_CREATE, email=email, password=PASSWORD)
    before = counts(api_database_url)
    again = browser.post(USER_CREATE, email=email.upper(), password=PASSWORD)
    assert went_to(again) == f"{SIGN_UP}?error=unavailable"
    assert counts(api_database_url) == before


def test_invalid_sign_in(browser: Browser) -> None:
    for form in ({}, {"email": "a\0b@c.de", "password": "x"}, {"password": "p" * 2000}):
        assert went_to(browser.post(SESSION_CREATE, **form)) == f"{SIGN_IN}?error=invalid"
    too_long = browser.post(SESSION_CREATE, email="e" * 3000)
    assert too_long.status_code == 422


def test_next_page_is_on_this_site(browser: Browser, email: str) -> None:
    browser.post(USER_CREATE, email=email, password=PASSWORD)
    for page, forward in (
        ("/usage", "/usage"),
        ("//evil.test", DASHBOARD),
        ("https://evil.test", DASHBOARD),
        ("/\\evil.test", DASHBOARD),
        ("//[", DASHBOARD),
    ):
        form = {"email": email, "password": PASSWORD, "next": page}
        assert went_to(browser.post(SESSION_CREATE, **form)) == forward


def test_next_page_comes_from_referer_before_script_runs(
    browser: Browser, server: ApiServer, email: str
) -> None:
    browser.post(USER_CREATE, email=email, password=PASSWORD)
    form = {"email": email, "password": PASSWORD, "next": DASHBOARD}
    for query, forward in (
        ("?next=%2Fusage", "/usage"),
        ("?error=invalid&next=%2Fusage", "/usage"),
        ("?next=%2F%2Fevil.test", DASHBOARD),
        ("?next=%2F%2F%5B&x=%5B[", DASHBOARD),
        ("", DASHBOARD),
    ):
        headers = {"Referer": f"{server.url}{SIGN_IN}{query}"}
        response = browser.client.post(SESSION_CREATE, data=form, headers=headers)
        assert went_to(response) == forward


@pytest.mark.parametrize("path", [SESSION_CREATE, USER_CREATE, SESSION_DELETE, SESSION_DELETE_ALL])
@pytest.mark.parametrize("origin", ["", "https://evil.test", "null"])
def test_cross_site_posts_are_refused(anyone: httpx.Client, path: str, origin: str) -> None:
    headers = {"Origin": origin} if origin else {}
    response = anyone.post(path, data={"email": "a@b.cd", "password": PASSWORD}, headers=headers)
    assert response.status_code == 403
    assert response.json()["code"] == "cross_site_post"


def test_person_cannot_see_other_accounts(browser: Browser, server: ApiServer, email: str) -> None:
    browser.post(USER_CREATE, email=email, password=PASSWORD)
    other = Browser(server.url)
    other.post(USER_CREATE, email=f"b{email}", password=PASSWORD)
    theirs = other.current().json()["account_id"]
    for path in ("plans/current", "plans/history", "usage", "usage/events", "usage/export.csv"):
        response = browser.client.get(f"/billing/{path}", params={"account_id": theirs})
        assert response.status_code == 404, path


def test_guesses_hold_up_the_guesser_and_nobody_who_is_known(
    server: ApiServer, api_database_url: str, email: str
) -> None:
    """A second process counts on, and knows the browsers."""
    known = Browser(server.url)
    response = known.post(USER_CREATE, email=email, password=PASSWORD)
    (cookie,) = [
        each.lower()
        for each in response.headers.get_list("set-cookie")
        if each.startswith(BROWSER_COOKIE)
    ]
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    token: Any = known.client.cookies[BROWSER_COOKIE]
    with connect(api_database_url) as connection:
        kept = connection.execute("SELECT token_hash FROM known_browsers").fetchall()
    assert (hash_token(token),) in kept
    known.post(SESSION_DELETE)
    assert known.client.cookies[BROWSER_COOKIE] == token
    other = ApiServer(api_database_url)
    other.start()
    try:
        sites = [server.url, other.url]
        for number in range(5):
            guesser = Browser(sites[number % 2])
            answer = guesser.post(SESSION_CREATE, email=email, password=f"guess {number}")
            assert went_to(answer) == f"{SIGN_IN}?error=invalid"
        for site in sites:
            stranger = went_to(Browser(site).post(SESSION_CREATE, email=email, password=PASSWORD))
            held_up, _, wait = stranger.partition("&wait=")
            assert held_up == f"{SIGN_IN}?error=rate_limited"
            assert 0 < int(wait) <= 15
        elsewhere = Browser(other.url, "127.0.0.2")
        assert went_to(elsewhere.post(SESSION_CREATE, email=email, password=PASSWORD)) == DASHBOARD
        back = Browser(other.url)
        back.client.cookies.set(BROWSER_COOKIE, token)
        assert went_to(back.post(SESSION_CREATE, email=email, password=PASSWORD)) == DASHBOARD
    finally:
        other.stop()


def test_known_browser_is_held_up_by_its_own_guesses(server: ApiServer, email: str) -> None:
    known = Browser(server.url)
    known.post(USER_CREATE, email=email, password=PASSWORD)
    for _ in range(5):
        known.post(SESSION_CREATE, email=email, password="a guess")
    answer = went_to(known.post(SESSION_CREATE, email=email, password=PASSWORD))
    assert answer.startswith(f"{SIGN_IN}?error=rate_limited&wait=")

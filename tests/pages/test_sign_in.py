"""Who gets in, who is kept out, and what leaving means."""

import secrets

from playwright.sync_api import Page, StorageState, expect

from billing_app import routes
from billing_app.demo.seed import OWNER_EMAIL
from tests.pages.conftest import OpenContext, open_page, sign_in


def test_sign_in_returns_to_the_requested_page(open_context: OpenContext) -> None:
    page = open_context().new_page()
    page.goto(routes.USAGE)
    expect(page).to_have_url(f"{_base(page)}{routes.SIGN_IN}?next=/usage")
    page.wait_for_load_state("networkidle")
    page.get_by_label("Email").fill(OWNER_EMAIL)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    expect(page).to_have_url(f"{_base(page)}{routes.USAGE}")


def test_wrong_password_and_unknown_address_look_the_same(open_context: OpenContext) -> None:
    page = open_context().new_page()
    for email in (OWNER_EMAIL, "nobody@example.com"):
        page.goto(routes.SIGN_IN)
        page.get_by_label("Email").fill(email)
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("The email address or password is wrong.")).to_be_visible()


def test_sign_in_page_that_was_open_long_still_works(open_context: OpenContext) -> None:
    """The server has forgotten a visitor's page by then (VISITOR_STATE_SECONDS)."""
    page = open_context().new_page()
    page.goto(f"{routes.SIGN_IN}?error=invalid&next=/usage")
    expect(page.get_by_text("The email address or password is wrong.")).to_be_visible()
    page.wait_for_timeout(3_000)
    page.get_by_role("link", name="Start a trial").click()
    expect(page.get_by_role("button", name="Create account")).to_be_visible()
    expect(page.get_by_text("The email address or password is wrong.")).not_to_be_visible()
    page.wait_for_timeout(3_000)
    page.go_back()
    page.get_by_label("Email").fill(OWNER_EMAIL)
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Usage", exact=True)).to_be_visible()


def test_rejected_form_keeps_all_but_the_password(open_context: OpenContext) -> None:
    page = open_context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(routes.SIGN_IN)
    page.get_by_label("Email").fill("nobody@example.com")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("The email address or password is wrong.")).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_label("Email")).to_have_value("nobody@example.com")
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_be_focused()
    assert not any("nobody" in url for url in asked)
    page.goto(routes.SIGN_UP)
    expect(page.get_by_label("Email")).to_have_value("")
    page.get_by_label("Name").fill("Grace")
    page.get_by_label("Email").fill(OWNER_EMAIL)
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("This email address can't be used.")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("Grace")
    expect(page.get_by_label("Email")).to_have_value(OWNER_EMAIL)


def test_rejected_form_is_refilled_without_scripts(
    open_context: OpenContext,
) -> None:
    page = open_context().new_page()
    page.route("**/assets/*.js", lambda route: route.abort())
    page.goto(routes.SIGN_IN)
    page.get_by_label("Email").fill("nobody@example.com")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/sign-in?error=invalid")
    expect(page.get_by_label("Email")).to_have_value("nobody@example.com")
    expect(page.get_by_label("Password")).to_be_focused()


def test_same_person_signs_up_again_without_a_second_trial(open_context: OpenContext) -> None:
    name = f"ada.{secrets.token_hex(6)}"
    for tag, shown in (("", "of 100 executions left"), ("+again", "No second trial")):
        page = open_context().new_page()
        page.goto(routes.SIGN_UP)
        page.get_by_label("Name").fill("Ada Lovelace")
        page.get_by_label("Email").fill(f"{name}{tag}@example.com")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_text(shown)).to_be_visible()
    page.goto(routes.OVERVIEW)
    expect(page.get_by_text("has already had a trial. Choose a plan to start.")).to_be_visible()
    expect(page.get_by_role("heading", name="Choose a plan")).to_be_visible()


def test_sign_up_starts_the_trial(open_context: OpenContext) -> None:
    page = open_context().new_page()
    page.goto(routes.SIGN_UP)
    page.get_by_label("Name").fill("Mary Shelley")
    page.get_by_label("Email").fill(f"mary-{secrets.token_hex(4)}@example.com")
    page.get_by_label("Password").fill("a creature of my own")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("#remaining")).to_have_text("100")
    expect(page.get_by_text("of 100 executions left")).to_be_visible()
    expect(page.get_by_text("Count your first execution")).to_be_visible()


def test_sign_out_clears_the_page(open_context: OpenContext) -> None:
    context = open_context()
    page = context.new_page()
    sign_in(page, OWNER_EMAIL)
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda f: frames.append(str(f))))
    page.get_by_role("button", name="Signed in as").click()
    page.get_by_role("menuitem", name="Sign out", exact=True).click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.wait_for_timeout(1000)
    assert all(cookie.get("name") != routes.SESSION_COOKIE for cookie in context.cookies())
    assert not any("Northwind" in frame or OWNER_EMAIL in frame for frame in frames)
    page.goto(routes.DASHBOARD)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_sign_out_everywhere_ends_other_sessions(open_context: OpenContext) -> None:
    here, there = open_context().new_page(), open_context().new_page()
    sign_in(here, OWNER_EMAIL)
    sign_in(there, OWNER_EMAIL)
    here.get_by_role("button", name="Signed in as").click()
    here.get_by_role("menuitem", name="Sign out everywhere").click()
    expect(here.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(there.get_by_role("heading", name="Sign in")).to_be_visible(timeout=8_000)


def test_next_user_of_a_tab_starts_empty(
    open_context: OpenContext, trial_session: StorageState
) -> None:
    """The tab keeps its token; the cookie is another person's."""
    context = open_context()
    page = context.new_page()
    sign_in(page, OWNER_EMAIL)
    cookies = trial_session.get("cookies", [])
    context.add_cookies([dict(cookie) for cookie in cookies])  # pyright: ignore[reportArgumentType]
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda f: frames.append(str(f))))
    page.reload()
    expect(page.locator(".page-note")).to_have_text("Ada Lovelace")
    assert not any(OWNER_EMAIL in frame for frame in frames)


def test_other_accounts_cannot_be_chosen(
    open_context: OpenContext, trial_session: StorageState
) -> None:
    """The list of accounts is the service's answer; the browser's word counts for nothing."""
    page = open_page(open_context(session=trial_session), routes.DASHBOARD)
    page.get_by_role("button", name="Account: Ada Lovelace").click()
    expect(page.get_by_role("menuitem")).to_have_text(
        ["Ada Lovelace", "Details", "Alerts", "API keys", "Copy account ID"]
    )


def _base(page: Page) -> str:
    return page.evaluate("location.origin")

"""The database goes away and comes back: pages say what is old, sign nobody out, and go on."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, StorageState, WebSocket, expect

from billing_app import routes
from billing_app.db.enums import Scope
from billing_app.demo.seed import OWNER_EMAIL, PASSWORD, STAFF_EMAIL
from billing_app.serving import build_pages
from billing_app.states.billing_dashboard import BillingDashboardState
from tests.conftest import server_environment
from tests.factories import api_key, connect
from tests.pages.conftest import ARTIFACTS, DESKTOP, WEBHOOK_SECRET, ContextPool, sign_in
from tests.pages.sockets import CONNECT, forged, replay
from tests.pages.test_accessibility import faults
from tests.pages.test_forged_events import SECRETS
from tests.postgres import OwnServer, own_server
from tests.processes import free_port, run_command, start_command, wait_until_ready
from tests.stripe_sandbox.running import KEY

OLD = "Out of date: last updated"
UNREADABLE = "This page can't be loaded right now"
CONSOLE = (routes.STAFF, routes.STAFF_CUSTOMERS, routes.STAFF_OPERATIONS, routes.STAFF_AUDIT)
NOTICED_WITHIN_MS = 15_000
# Buying is on, and Stripe is of no matter here.
NOBODY = "http://127.0.0.1:9"
ATTEMPTS = 10
# As short as a busy machine allows.
PATIENT = {
    "PAGE_POLL_SECONDS": "0.3",
    "PAGE_RETRY_SECONDS": "0.5",
    "PAGE_PATIENCE_SECONDS": "2",
}


@dataclass(frozen=True, slots=True)
class AppOnOwnServer:
    """The app on a PostgreSQL of its own, and browsers that are signed in there."""

    base_url: str
    server: OwnServer
    key: str
    organization_id: str
    open_context: Callable[..., BrowserContext]
    owner: StorageState
    staff: StorageState

    def consume(self) -> int:
        """What a service does; returns what is left."""
        answer = httpx.post(
            self.base_url + routes.CHECK_EXECUTIONS,
            headers={
                "Authorization": f"Bearer {self.key}",
                "Idempotency-Key": secrets.token_hex(8),
            },
            json={"organization_id": self.organization_id, "mode": "consume"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        left: int = answer.json()["executions_remaining"]
        return left

    def open(self, path: str, session: StorageState) -> Page:
        return open_in(self.open_context(session=session), path)


@pytest.fixture(scope="module")
def site(context_pool: ContextPool) -> Iterator[AppOnOwnServer]:
    port = free_port()
    base_url = f"http://localhost:{port}"

    def open_context(*, session: StorageState | None = None) -> BrowserContext:
        context = context_pool.take(base_url, DESKTOP, "light")
        if session is not None:
            context.add_cookies(session.get("cookies", []))  # pyright: ignore[reportArgumentType]
        return context

    def session_of(email: str) -> StorageState:
        context = open_context()
        page = context.new_page()
        if email == STAFF_EMAIL:
            sign_in_as_staff(page)
        else:
            sign_in(page, email)
        return context.storage_state()

    build_pages()
    ARTIFACTS.mkdir(exist_ok=True)
    log = (ARTIFACTS / "database-down.log").open("w")
    with log, own_server("p@ss:w/rd%") as server:
        url = server.url()
        environment = server_environment(
            url,
            PUBLIC_URL=base_url,
            STRIPE_SECRET_KEY=KEY,
            STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
            STRIPE_API_BASE=NOBODY,
            **PATIENT,
        )
        seeded = run_command(environment, "seed", "--demo")
        assert seeded.returncode == 0, seeded.stderr
        process = start_command(environment, "serve", "--port", str(port), log=log)
        try:
            wait_until_ready(base_url, process)
            yield AppOnOwnServer(
                base_url,
                server,
                api_key(url, Scope.EXECUTIONS),
                _organization_id(url),
                open_context,
                session_of(OWNER_EMAIL),
                session_of(STAFF_EMAIL),
            )
        finally:
            context_pool.give_back()
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture(autouse=True)
def _back_again(site: AppOnOwnServer, context_pool: ContextPool) -> Iterator[None]:
    """Whatever a test did to the server, the next one finds it running."""
    yield
    context_pool.give_back()
    if site.server.is_running():
        site.server.thaw()
    else:
        site.server.start()


def open_in(context: BrowserContext, path: str) -> Page:
    page = context.new_page()
    page.goto(path)
    return page


def sign_in_as_staff(page: Page) -> None:
    page.goto(f"{routes.SIGN_IN}?next={routes.STAFF}")
    expect(page.locator("input[name=next]")).to_have_value(routes.STAFF)
    page.get_by_label("Email").fill(STAFF_EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".console h1").wait_for()


def _organization_id(url: str) -> str:
    with connect(url) as connection:
        row = connection.execute("SELECT id FROM organizations WHERE name = 'Northwind'").fetchone()
    assert row is not None
    return row[0]


def heard(page: Page) -> list[str]:
    """What the server tells this page from now on."""
    frames: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: frames.append(str(frame)))

    page.on("websocket", listen)
    return frames


def expect_old(page: Page) -> None:
    expect(page.locator(".notice").filter(has_text=OLD)).to_be_visible(timeout=NOTICED_WITHIN_MS)


def expect_fresh(page: Page) -> None:
    expect(page.locator(".page-head h1")).to_be_visible(timeout=NOTICED_WITHIN_MS)
    expect(page.get_by_text(OLD)).to_be_hidden(timeout=NOTICED_WITHIN_MS)
    expect(page.get_by_text(UNREADABLE)).to_be_hidden(timeout=NOTICED_WITHIN_MS)


def expect_unreadable(page: Page) -> None:
    expect(page.get_by_role("alert").filter(has_text=UNREADABLE)).to_be_visible(
        timeout=NOTICED_WITHIN_MS
    )
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0)


def test_every_page_is_marked_out_of_date_and_recovers(site: AppOnOwnServer) -> None:
    owner, staff = site.open_context(session=site.owner), site.open_context(session=site.staff)
    pages = {path: open_in(owner, path) for path in routes.SIGNED_IN_PAGES}
    pages |= {path: open_in(staff, path) for path in CONSOLE}
    for page in pages.values():
        expect_fresh(page)
    site.server.kill()
    found: list[str] = []
    for path, page in pages.items():
        expect_old(page)
        assert "Traceback" not in page.content()
        found += faults(page, f"down-{path.strip('/').replace('/', '-') or 'dashboard'}")
    for path, context in ((routes.DASHBOARD, owner), (routes.STAFF, staff)):
        page = open_in(context, path)
        expect_unreadable(page)
        found += faults(page, f"down-fresh-{path.strip('/') or 'dashboard'}")
        page.close()
    assert found == []
    site.server.start()
    for page in pages.values():
        expect_fresh(page)
    left = site.consume()
    expect(pages[routes.DASHBOARD].locator("#remaining")).to_have_text(f"{left:,}")


def test_page_opened_during_an_outage_shows_no_data_and_keeps_the_session(
    site: AppOnOwnServer,
) -> None:
    site.server.stop()
    page = site.open_context(session=site.owner).new_page()
    frames = heard(page)
    page.goto(routes.DASHBOARD)
    expect_unreadable(page)
    expect(page).to_have_url(f"{site.base_url}{routes.DASHBOARD}")
    assert frames
    assert not [word for word in SECRETS if word in "".join(frames)]
    site.server.start()
    expect(page.locator("#remaining")).to_be_visible(timeout=NOTICED_WITHIN_MS)
    expect(page.get_by_role("button", name=f"Signed in as {OWNER_EMAIL}").first).to_be_visible()


def test_reload_during_an_outage_sends_no_old_data(site: AppOnOwnServer) -> None:
    page = site.open(routes.OVERVIEW, site.owner)
    expect_fresh(page)
    site.server.stop()
    expect_old(page)
    frames = heard(page)
    page.reload()
    expect_unreadable(page)
    assert not [word for word in SECRETS if word in "".join(frames)]
    site.server.start()
    expect_fresh(page)
    expect(page.locator(".method")).to_contain_text("No card on file")


def test_navigation_during_an_outage_does_not_hang(site: AppOnOwnServer) -> None:
    page = site.open(routes.DASHBOARD, site.owner)
    expect_fresh(page)
    site.server.stop()
    expect_old(page)
    navigation = page.get_by_role("navigation", name="Main", exact=True)
    navigation.get_by_role("link", name="Usage").click()
    expect_unreadable(page)
    navigation.get_by_role("link", name="Dashboard").click()
    expect_old(page)
    site.server.start()
    expect_fresh(page)
    left = site.consume()
    expect(page.locator("#remaining")).to_have_text(f"{left:,}")


def test_hanging_database_marks_the_page_out_of_date(site: AppOnOwnServer) -> None:
    page = site.open(routes.DASHBOARD, site.owner)
    expect(page.locator("#remaining")).to_be_visible()
    site.server.freeze()
    expect_old(page)
    site.server.thaw()
    expect(page.get_by_text(OLD)).to_be_hidden(timeout=NOTICED_WITHIN_MS)
    left = site.consume()
    expect(page.locator("#remaining")).to_have_text(f"{left:,}")


def test_button_reports_its_failure(site: AppOnOwnServer) -> None:
    page = site.open(routes.OVERVIEW, site.owner)
    expect_fresh(page)
    site.server.stop()
    page.get_by_role("button", name="Choose Growth").click()
    expect(page.get_by_text("Something went wrong")).to_be_visible()


def test_sign_in_and_sign_out_explain_the_outage(site: AppOnOwnServer) -> None:
    inside = site.open(routes.DASHBOARD, site.owner)
    expect_fresh(inside)
    site.server.stop()
    outside = site.open_context().new_page()
    outside.goto(routes.SIGN_IN)
    outside.get_by_label("Email").fill(OWNER_EMAIL)
    outside.get_by_label("Password").fill(PASSWORD)
    outside.get_by_role("button", name="Sign in").click()
    expect(outside.get_by_text("The server can't reach its database.")).to_be_visible()
    inside.get_by_role("button", name="Signed in as").first.click()
    inside.get_by_role("menuitem", name="Sign out", exact=True).click()
    expect(inside.get_by_text("This browser is signed out.")).to_be_visible()
    inside.goto(routes.DASHBOARD)
    expect(inside.get_by_label("Password")).to_be_visible()


def test_tab_contents_are_not_sent_to_anyone_else(site: AppOnOwnServer) -> None:
    page = site.open(routes.DASHBOARD, site.owner)
    expect_fresh(page)
    token = page.evaluate("sessionStorage.getItem('token')")
    site.server.stop()
    page.context.close()
    for cookie in ("", f"{routes.SESSION_COOKIE}={secrets.token_urlsafe(32)}"):
        frames = [CONNECT, forged(BillingDashboardState, "load", routes.DASHBOARD)]
        # For a moment the closed tab may still count as connected: then nothing is answered.
        for _ in range(ATTEMPTS):
            answers = replay(site, token, frames, path=routes.DASHBOARD, cookie=cookie)
            assert not [word for word in SECRETS if word in answers]
            if "sign-in" in answers or "sessionStorage.clear()" in answers:
                break
            time.sleep(1)
        else:
            raise AssertionError(f"nobody was sent to sign in: {answers}")

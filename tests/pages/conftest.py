"""The whole app on a free port with the demo's data, and browsers that look at it."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Error,
    Page,
    StorageState,
    expect,
    sync_playwright,
)

from billing_app import routes
from billing_app.db.enums import Scope
from billing_app.demo.seed import OWNER_EMAIL, PASSWORD, TRIAL_EMAIL
from billing_app.serving import build_pages
from tests.conftest import server_environment
from tests.databases import create_database
from tests.factories import api_key, connect
from tests.mailbox import Mailbox
from tests.pages.browser import find_browser
from tests.processes import free_port, run_command, start_command, wait_until_ready
from tests.stripe_sandbox.running import KEY, Sandbox

ARTIFACTS = Path(__file__).parent.parent / "artifacts"
# Each process of a run that is spread over several has an app of its own.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
DESKTOP = (1440, 900)
PHONE = (390, 844)
WAIT_MS = 15_000
WEBHOOK_SECRET = "whsec_pages"
# Another origin of the same site: see test_frames.py.
FRAMING_PORT = free_port()
FRAMING_PRODUCT = f"http://localhost:{FRAMING_PORT}"
# Pages that nobody waits for in vain: their polls are what tests wait for most.
QUICK_PAGES = {
    "PAGE_POLL_SECONDS": "0.5",
    "PAGE_RETRY_SECONDS": "1",
    "PAGE_PATIENCE_SECONDS": "6",
    "DIALOG_PATIENCE_SECONDS": "6",
    "SEARCH_SECONDS": "0.1",
    "VISITOR_STATE_SECONDS": "1",
}

# A run that is spread over processes by file begins with these: none is left alone with them.
LONGEST = (
    "test_database_down",
    "test_staff_events",
    "test_staff_keyboard",
    "test_staff_repairs",
    "test_staff_forms",
    "test_paying",
    "test_staff_tables",
    "test_payments_down",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(LONGEST, -len(LONGEST))}
    items.sort(key=lambda item: rank.get(item.path.stem, 0))


@dataclass(frozen=True, slots=True)
class RunningApp:
    """Where the app answers, and what a service needs to use it."""

    base_url: str
    database_url: str
    organization_id: str
    key: str
    sandbox: Sandbox

    def consume(
        self, executions: int, *, workflow: str, key: str, user_id: str = ""
    ) -> dict[str, object]:
        """What a service does; returns the answer."""
        user = {"user_id": user_id} if user_id else {}
        answer = httpx.post(
            self.base_url + routes.CHECK_EXECUTIONS,
            headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": key},
            json={
                "organization_id": self.organization_id,
                **user,
                "mode": "consume",
                "executions": executions,
                "workflow": workflow,
            },
        )
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    """Where the app's mail goes."""
    box = Mailbox(free_port())
    box.start()
    yield box
    box.stop()


@pytest.fixture(scope="session")
def running_app(server_url: str, database_template: str, mailbox: Mailbox) -> Iterator[RunningApp]:
    """`python -m billing_app serve` on demo data, with a worker, and the sandbox for payments."""
    url = create_database(server_url, "pages", database_template)
    port = free_port()
    base_url = f"http://localhost:{port}"
    hooks = ("--webhook-url", base_url + routes.STRIPE_WEBHOOKS)
    sandbox = Sandbox(free_port(), *hooks, "--webhook-secret", WEBHOOK_SECRET)
    environment = server_environment(
        url,
        PUBLIC_URL=base_url,
        STRIPE_SECRET_KEY=KEY,
        STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        STRIPE_API_BASE=sandbox.url,
        PORTAL_RETURN_ORIGINS=f"https://app.acme.test, {FRAMING_PRODUCT}",
        PORTAL_FRAME_ORIGINS=f"https://app.acme.test, {FRAMING_PRODUCT}",
        PRODUCT_NAME="Acme",
        WEBHOOK_ALLOW_PRIVATE="true",
        **mailbox.environment,
        **QUICK_PAGES,
    )
    seeded = run_command(environment, "seed", "--demo")
    assert seeded.returncode == 0, seeded.stderr
    build_pages()
    ARTIFACTS.mkdir(exist_ok=True)
    with (ARTIFACTS / f"servers{WORKER}.log").open("w") as log:
        process = start_command(environment, "serve", "--port", str(port), log=log)
        worker = start_command(environment, "worker", log=log)
        try:
            wait_until_ready(base_url, process)
            key = api_key(url, Scope.EXECUTIONS)
            yield RunningApp(base_url, url, _organization_id(url), key, sandbox)
        finally:
            for started in (worker, process):
                started.terminate()
            for started in (worker, process):
                started.wait(timeout=20)
            sandbox.stop()


def _organization_id(url: str) -> str:
    with connect(url) as connection:
        row = connection.execute("SELECT id FROM organizations WHERE name = 'Northwind'").fetchone()
    assert row is not None
    return row[0]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_browser()
    assert path is not None, "run `make test`, which finds or installs a browser"
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


OpenContext = Callable[..., BrowserContext]
Look = tuple[str, tuple[int, int], str]


class ContextPool:
    """Browsers without a session. One that was used before has the scripts of the pages compiled,
    which is half of the work of opening a page."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[Look, list[BrowserContext]] = {}
        self._used: list[tuple[Look, BrowserContext]] = []

    def take(self, base_url: str, size: tuple[int, int], scheme: str) -> BrowserContext:
        look = (base_url, size, scheme)
        free = self._free.get(look)
        context = free.pop() if free else self._open(*look)
        self._used.append((look, context))
        return context

    def give_back(self) -> None:
        """All that were taken; those that a test closed are gone."""
        for look, context in self._used:
            with suppress(Error):
                _forget_everything(context, look[0])
                self._free.setdefault(look, []).append(context)
        self._used = []

    def _open(self, base_url: str, size: tuple[int, int], scheme: str) -> BrowserContext:
        context = self._browser.new_context(
            base_url=base_url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        return context


def _forget_everything(context: BrowserContext, origin: str) -> None:
    """Raises Error when the context is closed."""
    context.clear_cookies()
    page = context.pages[-1] if context.pages else context.new_page()
    stored = {"origin": origin, "storageTypes": "local_storage,indexeddb,cache_storage"}
    context.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    for each in context.pages:
        each.close()


@pytest.fixture(scope="session")
def context_pool(browser: Browser) -> ContextPool:
    return ContextPool(browser)


@pytest.fixture
def open_context(context_pool: ContextPool, running_app: RunningApp) -> Iterator[OpenContext]:
    """Opens browsers without a session, in a size and a colour scheme."""

    def open_one(
        *,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        session: StorageState | None = None,
    ) -> BrowserContext:
        context = context_pool.take(running_app.base_url, size, scheme)
        if session is not None:
            context.add_cookies(session.get("cookies", []))  # pyright: ignore[reportArgumentType]
        return context

    yield open_one
    context_pool.give_back()


@pytest.fixture(scope="session")
def owner_session(browser: Browser, running_app: RunningApp) -> StorageState:
    """The cookie of the organization's owner."""
    return _session(browser, running_app, OWNER_EMAIL)


@pytest.fixture(scope="session")
def trial_session(browser: Browser, running_app: RunningApp) -> StorageState:
    """The cookie of a person on the trial plan."""
    return _session(browser, running_app, TRIAL_EMAIL)


def _session(browser: Browser, running_app: RunningApp, email: str) -> StorageState:
    context = browser.new_context(base_url=running_app.base_url)
    page = context.new_page()
    sign_in(page, email)
    state = context.storage_state()
    context.close()
    return state


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill in the form and wait for the dashboard's numbers."""
    page.goto(routes.SIGN_IN)
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#remaining").wait_for()


def open_page(context: BrowserContext, path: str) -> Page:
    """A page with its numbers on it."""
    page = context.new_page()
    page.goto(path)
    page.locator("h1").wait_for()
    if path in routes.SIGNED_IN_PAGES:
        page.locator(".page-head .live").wait_for()
    return page

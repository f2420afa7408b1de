"""The whole app on a free port with the demo's data, and browsers that look at it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
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
LOG = ARTIFACTS / "servers.log"
DESKTOP = (1440, 900)
PHONE = (390, 844)
WAIT_MS = 15_000
WEBHOOK_SECRET = "whsec_pages"


@dataclass(frozen=True, slots=True)
class RunningApp:
    """Where the app answers, and what a service needs to use it."""

    base_url: str
    database_url: str
    organization_id: str
    key: str
    sandbox: Sandbox

    def consume(self, executions: int, *, workflow: str, key: str) -> dict[str, object]:
        """What a service does; returns the answer."""
        answer = httpx.post(
            self.base_url + routes.CHECK_EXECUTIONS,
            headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": key},
            json={
                "organization_id": self.organization_id,
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
        **mailbox.environment,
    )
    seeded = run_command(environment, "seed", "--demo")
    assert seeded.returncode == 0, seeded.stderr
    build_pages()
    ARTIFACTS.mkdir(exist_ok=True)
    with LOG.open("w") as log:
        process = start_command(environment, "serve", "--port", str(port), log=log)
        worker = start_command(environment, "worker", log=log)
        try:
            wait_until_ready(base_url, process)
            key = api_key(url, Scope.EXECUTIONS)
            yield RunningApp(base_url, url, _organization_id(url), key, sandbox)
        finally:
            for started in (worker, process):
                started.terminate()
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


@pytest.fixture
def open_context(browser: Browser, running_app: RunningApp) -> Iterator[OpenContext]:
    """Opens browsers without a session, in a size and a colour scheme."""
    opened: list[BrowserContext] = []

    def open_one(
        *,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
        session: StorageState | None = None,
    ) -> BrowserContext:
        context = browser.new_context(
            base_url=running_app.base_url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
            storage_state=session,
        )
        context.set_default_timeout(WAIT_MS)
        opened.append(context)
        return context

    yield open_one
    for context in opened:
        context.close()


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
        page.wait_for_load_state("networkidle")
    return page

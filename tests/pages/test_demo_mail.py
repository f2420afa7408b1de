"""The demo shows its mail: each in a frame of its own that can do nothing, and its text."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from billing_app.billing.identity.email_links import welcome_letter
from billing_app.billing.mail import Letter, letter_mail, required_mail
from billing_app.mail.folder import FolderMailer
from billing_app.mail.kept_mails import list_mails
from billing_app.routes import DEMO_MAIL
from tests.api.server import ApiServer
from tests.pages.conftest import DESKTOP, PHONE, OpenContext
from tests.pages.test_accessibility import grave_violations, is_cut_off, picture, resize

SITE = "https://billing.example.com"
SCRIPT = "<script>document.title='bad'</script>"


async def keep(directory: Path) -> None:
    """A welcome, and a mail that looks like markup."""
    mailer = FolderMailer(directory)
    letter = welcome_letter(SITE, f"{SITE}/billing/email-links/abc")
    await mailer.send(required_mail("ada@example.com", "Welcome to Billing", letter, site=SITE))
    odd = Letter(SCRIPT, (f"It says {SCRIPT}.",), "See plans", SITE)
    await mailer.send(letter_mail("ada@example.com", f"Odd {SCRIPT}", odd))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mail")
    # Playwright runs an event loop in this thread.
    with ThreadPoolExecutor() as threads:
        threads.submit(asyncio.run, keep(made)).result()
    return made


def running(url: str, **environment: str) -> Iterator[ApiServer]:
    server = ApiServer(url)
    server.environment |= environment
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def demo(database_url: str, directory: Path) -> Iterator[ApiServer]:
    yield from running(database_url, BILLING_DEMO="1", MAIL_DIRECTORY=str(directory))


@pytest.fixture(scope="module")
def site(database_url: str, directory: Path) -> Iterator[ApiServer]:
    """As the demo, without being it."""
    yield from running(database_url, MAIL_DIRECTORY=str(directory))


def mail_of(directory: Path, subject: str) -> str:
    return next(each.id for each in list_mails(directory, 10) if each.subject.startswith(subject))


def test_mails_are_listed_and_shown(
    open_context: OpenContext, demo: ApiServer, directory: Path
) -> None:
    page: Page = open_context().new_page()
    page.goto(f"{demo.url}{DEMO_MAIL}?mail={mail_of(directory, 'Welcome')}")
    expect(page.get_by_role("heading", name="Welcome to Billing")).to_be_visible()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("link", name="Confirm email address")).to_be_visible()
    page.get_by_text("Text", exact=True).click()
    expect(page.locator("pre")).to_contain_text(f"{SITE}/billing/email-links/abc")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert grave_violations(page) == []
        for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
            resize(page, size)
            assert not is_cut_off(page, size[0])
            picture(page, f"demo-mail-{name}-{scheme}", full_page=True)
        resize(page, DESKTOP)
    page.get_by_role("link", name="Odd").click()
    expect(page.get_by_role("heading", name=f"Odd {SCRIPT}")).to_be_visible()
    expect(
        page.frame_locator("iframe").get_by_text(f"It says {SCRIPT}.", exact=True)
    ).to_be_visible()
    assert page.title() == "Mail of the demo"


def test_frame_runs_nothing_and_may_be_framed_here_only(demo: ApiServer, directory: Path) -> None:
    answer = httpx.get(f"{demo.url}{DEMO_MAIL}/{mail_of(directory, 'Welcome')}")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize("name", ["nobody", "..%2Fx", "20261201-000000-00000000", "a" * 300])
def test_unknown_mail_is_not_found(demo: ApiServer, name: str) -> None:
    assert httpx.get(f"{demo.url}{DEMO_MAIL}/{name}").status_code == 404
    assert httpx.get(f"{demo.url}{DEMO_MAIL}", params={"mail": name}).status_code == 200


def test_there_is_no_such_page_outside_of_the_demo(site: ApiServer, directory: Path) -> None:
    for path in (DEMO_MAIL, f"{DEMO_MAIL}/{mail_of(directory, 'Welcome')}"):
        answer = httpx.get(site.url + path)
        assert answer.status_code == 404
        assert "Welcome" not in answer.text


def test_demo_without_mail_says_what_would_be_shown(database_url: str, tmp_path: Path) -> None:
    for server in running(database_url, BILLING_DEMO="1", MAIL_DIRECTORY=str(tmp_path / "none")):
        answer = httpx.get(f"{server.url}{DEMO_MAIL}")
        assert answer.status_code == 200
        assert "No mail yet" in answer.text

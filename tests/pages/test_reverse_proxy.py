"""One port: what is a page, what is the API, and what a signed-out visitor is told."""

import httpx
import pytest
from playwright.sync_api import StorageState, expect

from billing_app import routes
from tests.conftest import server_environment
from tests.pages.conftest import OpenContext, RunningApp
from tests.processes import run_command


@pytest.mark.parametrize("path", ["/billing/x", "/billing", "/billing/plans/nothing"])
def test_unknown_api_path_returns_json_404(running_app: RunningApp, path: str) -> None:
    answer = httpx.get(running_app.base_url + path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_unknown_page_returns_html_404(running_app: RunningApp) -> None:
    answer = httpx.get(f"{running_app.base_url}/nothing-here")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", [*routes.SIGNED_IN_PAGES, "/usage/"])
def test_page_without_a_cookie_redirects_to_sign_in(running_app: RunningApp, path: str) -> None:
    answer = httpx.get(running_app.base_url + path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(routes.SIGN_IN)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", routes.OPEN_PAGES)
def test_pages_cannot_be_framed_or_cached(running_app: RunningApp, path: str) -> None:
    answer = httpx.get(running_app.base_url + path)
    assert answer.status_code == 200
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"


def test_other_origins_cannot_read_responses(running_app: RunningApp) -> None:
    answer = httpx.get(f"{running_app.base_url}/ping", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


INJECT = """() => {
    const script = document.createElement("script");
    script.textContent = "window.injected = true";
    document.body.append(script);
    return window.injected === true;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_run_their_own_scripts_only(
    open_context: OpenContext, owner_session: StorageState, running_app: RunningApp, scheme: str
) -> None:
    context = open_context(session=owner_session, scheme=scheme)
    page = context.new_page()
    refused: list[str] = []
    page.on(
        "console",
        lambda message: refused.append(message.text) if "Security Policy" in message.text else None,
    )
    for path in (*routes.SIGNED_IN_PAGES, routes.CHANGE_PASSWORD, "/nothing-here"):
        page.goto(path)
        expect(page.get_by_role("heading", level=1).first).to_be_attached()
        page.wait_for_load_state("networkidle")
    assert refused == []
    assert page.evaluate(INJECT) is False
    assert len(refused) == 1
    policy = httpx.get(running_app.base_url + routes.SIGN_IN).headers["content-security-policy"]
    (scripts,) = [each for each in policy.split("; ") if each.startswith("script-src ")]
    assert "*" not in scripts
    assert "unsafe-inline" not in scripts
    assert "http" not in scripts


def test_only_the_public_address_may_send_events(running_app: RunningApp) -> None:
    """`running_app` is no demo: its address on this machine is another site."""
    other = running_app.base_url.replace("localhost", "127.0.0.1")
    for origin, is_own in ((running_app.base_url, True), (other, False)):
        answer = httpx.get(f"{running_app.base_url}/_event/", headers={"Origin": origin})
        allowed = set(answer.headers.get("access-control-allow-origin", "").split(", "))
        assert allowed == ({origin} if is_own else {""})


def test_several_workers_require_redis(running_app: RunningApp) -> None:
    environment = server_environment(running_app.database_url)
    environment.pop("REFLEX_REDIS_URL", None)
    ended = run_command(environment, "serve", "--workers", "2")
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "REFLEX_REDIS_URL" in ended.stderr

"""One port: what is a page, what is the API, and what a signed-out visitor is told."""

import httpx
import pytest

from billing_app import routes
from tests.conftest import server_environment
from tests.pages.conftest import RunningApp
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


def test_several_workers_require_redis(running_app: RunningApp) -> None:
    environment = server_environment(running_app.database_url)
    environment.pop("REFLEX_REDIS_URL", None)
    ended = run_command(environment, "serve", "--workers", "2")
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "REFLEX_REDIS_URL" in ended.stderr

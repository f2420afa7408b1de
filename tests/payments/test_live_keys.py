"""A live key: refused by the demo before any call, and never in a log or an address."""

import httpx
import pytest
import structlog

from billing_app import logs
from billing_app.db.enums import Scope
from billing_app.settings import LIVE_KEY_REFUSED
from tests import factories
from tests.api.server import ApiServer
from tests.conftest import server_environment
from tests.payments.billing_harness import OFFERS, PUBLIC_URL, BillingHarness
from tests.processes import run_command
from tests.stripe_sandbox.running import Sandbox

LIVE = "sk_live_51NotARealKeyJustForThisTest"


@pytest.mark.parametrize("command", [("demo",), ("seed", "--demo")])
@pytest.mark.parametrize("name", ["STRIPE_SECRET_KEY", "stripe_secret_key"])
@pytest.mark.parametrize("key", [LIVE, LIVE.replace("sk_", "rk_"), f" {LIVE}"])
def test_demo_refuses_live_key(
    sandbox: Sandbox, own_database_url: str, command: tuple[str, ...], name: str, key: str
) -> None:
    environment = server_environment(own_database_url, STRIPE_API_BASE=sandbox.url) | {name: key}
    done = run_command(environment, *command)
    assert done.returncode == 2
    assert done.stderr.strip() == LIVE_KEY_REFUSED
    assert "live_5" not in done.stdout
    assert sandbox.requests() == []


def test_production_sends_live_key_only_as_header(harness: BillingHarness) -> None:
    """The sandbox refuses a live key, so each call fails, and every failure is logged."""
    server = ApiServer(harness.url)
    keys = {"STRIPE_SECRET_KEY": LIVE, "STRIPE_API_BASE": harness.sandbox.url}
    server.environment |= keys | {"PUBLIC_URL": PUBLIC_URL, "PYTHONUNBUFFERED": "1"}
    server.start()
    try:
        secret = factories.api_key(harness.url, Scope.SUBSCRIPTIONS)
        told = {"organization_id": harness.holder.organization_id, "offer": next(iter(OFFERS))}
        answer = httpx.post(
            f"{server.url}/billing/subscriptions",
            json=told,
            headers={"Authorization": f"Bearer {secret}"},
            timeout=30,
        )
        assert answer.status_code == 502
        reconciled = run_command(server.environment, "reconcile")
        said = [answer.text, server.log.read_text(), reconciled.stdout, reconciled.stderr]
    finally:
        server.stop()
    assert "stripe_failed" in said[1]
    assert reconciled.returncode == 2
    assert not [text for text in said if "sk_live" in text]
    broken = harness.sandbox.take_violations()
    assert {each["problem"] for each in broken} == {"a live key was sent"}
    assert not [each for each in broken if "sk_live" in each["where"]]


def test_failures_are_logged_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    def failing(secret_key: str) -> None:
        raise RuntimeError(str(len(secret_key)))

    logs.configure()
    try:
        failing(LIVE)
    except RuntimeError:
        structlog.get_logger().exception("it_failed")
    said = capsys.readouterr().out
    assert "RuntimeError" in said
    assert "live_5" not in said

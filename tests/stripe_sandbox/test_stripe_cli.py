"""Stripe's own command line against the sandbox: `stripe trigger --api-base`.

The CLI is on PATH, or is installed once from the npm package @stripe/cli.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from stripe import StripeClient

from tests.stripe_sandbox.running import KEY, Sandbox

VERSION = "1.52.0"
CACHE = Path(tempfile.gettempdir()) / f"billing-app-stripe-cli-{VERSION}"
EVENTS = [
    "customer.created",
    "payment_method.attached",
    "price.created",
    "payment_intent.succeeded",
    "charge.failed",
    "charge.refunded",
    "setup_intent.succeeded",
    "invoice.paid",
    "invoice.payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
]


def _install() -> Path:
    binary = CACHE / "node_modules" / ".bin" / "stripe"
    if binary.exists():
        return binary
    npm = Path(sys.executable).parent / "npm"
    if not npm.exists():
        pytest.skip("the Stripe CLI is not on PATH and the environment has no npm to install it")
    command = [str(npm), "install", "--no-audit", "--no-fund", "--prefix", str(CACHE)]
    environment = {**os.environ, "PATH": f"{npm.parent}:{os.environ['PATH']}"}
    try:
        subprocess.run(
            [*command, f"@stripe/cli@{VERSION}"],
            check=True,
            capture_output=True,
            timeout=40,
            env=environment,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the Stripe CLI is not on PATH and npm could not install it: {error}")
    return binary


@pytest.fixture(scope="module")
def cli() -> str:
    return shutil.which("stripe") or str(_install())


@pytest.mark.parametrize("event", EVENTS)
def test_trigger(
    cli: str, sandbox: Sandbox, client: StripeClient, event: str, tmp_path: Path
) -> None:
    command = [cli, "trigger", event, "--api-base", sandbox.url, "--api-key", KEY]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    run = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=30, env=environment
    )
    assert "Trigger succeeded" in run.stdout + run.stderr, run.stdout + run.stderr
    assert client.v1.events.list({"type": event, "limit": 1}).data

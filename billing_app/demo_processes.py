"""What the demo runs beside the app: the Stripe sandbox and a worker, ended with it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from billing_app.routes import STRIPE_WEBHOOKS
from billing_app.settings import Settings

STOP_SECONDS = 10


@contextmanager
def demo_processes(settings: Settings, port: int) -> Iterator[None]:
    """The sandbox where payments go, unless a real test key is set, and a worker."""
    with ExitStack() as stack:
        if settings.uses_sandbox:
            stack.enter_context(_process(_sandbox_command(settings, port)))
        stack.enter_context(_process(["billing_app", "worker"]))
        yield


def _sandbox_command(settings: Settings, port: int) -> list[str]:
    secret = settings.stripe_webhook_secret
    return [
        "billing_app.stripe_sandbox",
        *("--port", str(urlsplit(settings.stripe_api_base or "").port)),
        *("--data", str(settings.data_directory / "stripe-sandbox.json")),
        *("--webhook-url", f"http://127.0.0.1:{port}{STRIPE_WEBHOOKS}"),
        *("--webhook-secret", secret.get_secret_value() if secret else ""),
    ]


@contextmanager
def _process(module_and_arguments: list[str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", *module_and_arguments])  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

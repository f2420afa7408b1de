"""Serves a sandbox on loopback, as its command line says."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from billing_app.stripe_sandbox.app import Sandbox
from billing_app.stripe_sandbox.resources.events import new_endpoint

HOST = "127.0.0.1"
DESCRIPTION = "Given on the command line"
_STOP_SECONDS = 2  # for requests that a fault keeps waiting


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="billing_app.stripe_sandbox", description="Runs the Stripe sandbox on loopback."
    )
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--data", type=Path, help="file that keeps the state over restarts")
    parser.add_argument("--public-url", help="base of page links; the loopback address by default")
    parser.add_argument("--webhook-url", help="send events to this URL")
    parser.add_argument("--webhook-events", nargs="+", default=["*"], help="types; all by default")
    parser.add_argument("--webhook-secret", help="sign those events with this secret")
    return parser.parse_args(arguments)


def server_for(options: argparse.Namespace) -> uvicorn.Server:
    """A server that is not started yet."""
    base_url = options.public_url or f"http://{HOST}:{options.port}"
    sandbox = Sandbox(base_url.rstrip("/"), options.data)
    if options.webhook_url:
        _add_endpoint(sandbox, options.webhook_url, options.webhook_secret, options.webhook_events)
    config = uvicorn.Config(
        sandbox.asgi(),
        host=HOST,
        port=options.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return uvicorn.Server(config)


def _add_endpoint(sandbox: Sandbox, url: str, secret: str | None, events: list[str]) -> None:
    """Sends events to `url` and no longer to the URLs of earlier command lines."""
    store = sandbox.world.store
    endpoints = list(store.all("webhook_endpoint", lambda e: e["description"] == DESCRIPTION))
    for earlier in endpoints:
        if earlier["url"] != url:
            store.remove(earlier["id"])
    if not any(store.all("webhook_endpoint", lambda e: e["url"] == url)):
        wanted = {"url": url, "enabled_events": events, "description": DESCRIPTION}
        new_endpoint(sandbox.world, wanted, secret)

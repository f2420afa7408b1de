"""`python -m billing_app.stripe_sandbox --port 12111`: runs the sandbox on loopback."""

import argparse
from pathlib import Path

import uvicorn

from billing_app.stripe_sandbox.app import Sandbox
from billing_app.stripe_sandbox.resources.events import new_endpoint

HOST = "127.0.0.1"
DESCRIPTION = "Given on the command line"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="billing_app.stripe_sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--data", type=Path, help="keep the state in this file over restarts")
    parser.add_argument("--public-url", help="base of page links, if not the loopback address")
    parser.add_argument("--webhook-url", help="send events to this address")
    parser.add_argument("--webhook-events", nargs="+", default=["*"], help="types; all unless told")
    parser.add_argument("--webhook-secret", help="sign those events with this secret")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    base_url = arguments.public_url or f"http://{HOST}:{arguments.port}"
    sandbox = Sandbox(base_url.rstrip("/"), arguments.data)
    if arguments.webhook_url:
        url, secret = arguments.webhook_url, arguments.webhook_secret
        _listen(sandbox, url, secret, arguments.webhook_events)
    uvicorn.run(
        sandbox.asgi(), host=HOST, port=arguments.port, log_level="warning", access_log=False
    )


def _listen(sandbox: Sandbox, url: str, secret: str | None, events: list[str]) -> None:
    """Events go to `url`, and no longer to where an earlier command line sent them."""
    store = sandbox.world.store
    endpoints = list(store.all("webhook_endpoint", lambda e: e["description"] == DESCRIPTION))
    for earlier in endpoints:
        if earlier["url"] != url:
            store.remove(earlier["id"])
    if not any(store.all("webhook_endpoint", lambda e: e["url"] == url)):
        wanted = {"url": url, "enabled_events": events, "description": DESCRIPTION}
        new_endpoint(sandbox.world, wanted, secret)


if __name__ == "__main__":
    main()

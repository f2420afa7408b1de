"""A sandbox process and a webhook receiver, for the tests."""

import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import stripe
from stripe import StripeClient

from tests.fork_server import AppProcess

KEY = "sk_test_sandbox0001"
STOP_SECONDS = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sandbox:
    """A running sandbox, and its control endpoints."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = ["--port", str(port), *arguments]
        self.process = AppProcess(
            "billing_app.stripe_sandbox", command, os.environ, output=sys.__stderr__
        )
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                self.http.get("/_sandbox/health")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError("the sandbox did not start")

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()  # it waits for a client that a fault keeps hanging
            self.process.wait()

    def control(self, path: str, /, **body: Any) -> dict[str, Any]:
        response = self.http.post(f"/_sandbox/{path}", json=body)
        assert response.status_code < 300, response.text
        return response.json()

    def fault(self, **fields: Any) -> None:
        self.control("faults", **fields)

    def take_violations(self) -> list[dict[str, str]]:
        return self.http.delete("/_sandbox/violations").json()["violations"]

    def requests(self) -> list[dict[str, Any]]:
        return self.http.get("/_sandbox/requests").json()["requests"]

    def client(self, **options: Any) -> StripeClient:
        return StripeClient(
            KEY,
            base_addresses={"api": self.url, "meter_events": self.url},
            **{"max_network_retries": 0, **options},
        )


class Hooks:
    """A webhook receiver. `answers` holds statuses for the next deliveries; 200 without."""

    def __init__(self) -> None:
        self.bodies: list[tuple[bytes, str]] = []
        self.answers: list[int] = []
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                signature = self.headers["Stripe-Signature"]
                hooks.bodies.append((self.rfile.read(length), signature))
                self.send_response(hooks.answers.pop(0) if hooks.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self, secret: str) -> list[stripe.Event]:
        """Verified events, in the order of arrival."""
        return [
            stripe.Webhook.construct_event(body, signature, secret)
            for body, signature in self.bodies
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

"""A running sandbox and a webhook receiver, for the tests."""

import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import requests
import stripe
from stripe import StripeClient

from billing_app.stripe_sandbox.serving import parse, server_for
from tests.fork_server import AppProcess

KEY = "sk_test_sandbox0001"
START_SECONDS = 30
STOP_SECONDS = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RunningSandbox:
    """A sandbox that answers at `url`, and its control endpoints."""

    key = KEY

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30)
        self._session = requests.Session()
        self._session.trust_env = False

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
        """A client of the SDK; all share one connection and look for no proxies."""
        shared = stripe.RequestsClient(session=self._session)
        return StripeClient(
            KEY,
            base_addresses={"api": self.url},
            **{"max_network_retries": 0, "http_client": shared, **options},
        )


class Sandbox(RunningSandbox):
    """A sandbox in a thread of this process, over real HTTP; takes the command line's options."""

    def __init__(self, port: int, *arguments: str) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self._server = server_for(parse(["--port", str(port), *arguments]))
        self._thread = threading.Thread(target=self._server.run, name="sandbox", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        self.http.close()
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        assert not self._thread.is_alive(), "the sandbox did not stop"


class SandboxProcess(RunningSandbox):
    """`python -m billing_app.stripe_sandbox`, for tests that stop it or read its data file."""

    def __init__(self, port: int, *arguments: str) -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        command = ["--port", str(port), *arguments]
        self.process = AppProcess(
            "billing_app.stripe_sandbox", command, os.environ, output=sys.__stderr__
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
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
            self.process.kill()
            self.process.wait()


class Hooks:
    """A webhook receiver; `answers` holds the statuses of the next answers, 200 by default."""

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
        """The verified events, in the order of arrival."""
        return [
            stripe.Webhook.construct_event(body, signature, secret)
            for body, signature in self.bodies
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

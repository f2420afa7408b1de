"""The API and the worker as processes that can be killed, with webhooks over HTTP."""

import os
import signal
import threading
import time
from typing import Any

import httpx

from billing_app.db.enums import Scope
from tests import factories
from tests.api.server import ApiServer
from tests.fork_server import AppProcess
from tests.payments.billing_harness import PUBLIC_URL, SECRET, BillingHarness
from tests.processes import start_command
from tests.stripe_sandbox.running import KEY

WEBHOOKS = "/billing/webhooks/stripe"
# Whoever died between storing an event and queueing it leaves it to the sweep of the next minute
# but one.
WAIT_SECONDS = 180.0


class AppProcesses:
    """The app as it runs in production, on the bed's database and sandbox."""

    def __init__(self, harness: BillingHarness) -> None:
        self.harness = harness
        self.api = ApiServer(harness.url)
        self.api.environment |= {
            "PUBLIC_URL": PUBLIC_URL,
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_API_BASE": harness.sandbox.url,
        }
        self.key = factories.api_key(harness.url, *Scope)
        self._worker: AppProcess | None = None

    def start_api(self) -> None:
        self.api.start()

    def listen(self) -> None:
        """From now on the sandbox sends its events here."""
        sandbox = self.harness.sandbox
        sandbox.control("webhook_endpoints", url=self.api.url + WEBHOOKS, secret=SECRET)
        sandbox.control("settings", webhook_retry_seconds=[0.5] * 60)

    def start_worker(self) -> None:
        """Returns once it processes work."""
        self._worker = start_command(self.api.environment, "worker")
        assert self._worker.stdout is not None
        said: list[str] = []
        for line in self._worker.stdout:
            said.append(line)
            if "worker_started" in line:
                break
        else:
            raise AssertionError("".join(said))
        threading.Thread(target=self._worker.stdout.read, daemon=True).start()

    def kill_worker(self) -> None:
        assert self._worker is not None
        os.kill(self._worker.pid, signal.SIGKILL)
        self._worker.wait()

    def stop(self) -> None:
        self.api.stop()
        if self._worker is not None and self._worker.poll() is None:
            self.kill_worker()

    def ask(self, method: str, path: str, timeout_seconds: float = 40.0, **body: Any) -> Any:
        return httpx.request(
            method,
            self.api.url + path,
            headers={"Authorization": f"Bearer {self.key}"},
            json=body or None,
            timeout=timeout_seconds,
        )

    def subscribe(self, offer: str) -> httpx.Response:
        organization_id = self.harness.holder.organization_id
        return self.ask(
            "POST", "/billing/subscriptions", organization_id=organization_id, offer=offer
        )

    def current_id(self) -> str:
        path = f"/billing/subscriptions/current?account_id={self.harness.holder.account_id}"
        return self.ask("GET", path).json()["subscription"]["id"]

    def wait_for(self, query: str, wanted: Any) -> None:
        """Until the database says so."""
        deadline = time.monotonic() + WAIT_SECONDS
        found = None
        while time.monotonic() < deadline:
            found = self.harness.rows(query)
            if found == [(wanted,)]:
                return
            time.sleep(0.1)
        raise AssertionError(f"{query}: {found}, not {wanted}")

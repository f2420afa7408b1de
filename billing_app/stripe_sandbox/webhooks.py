"""Sends events to webhook endpoints: signed, in order, retried with back-off, faulty on request.

Signature scheme: https://docs.stripe.com/webhooks#verify-manually
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections import deque
from dataclasses import dataclass, field

import httpx

from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.faults import Fault, Faults
from billing_app.stripe_sandbox.world import World

_STALE_SECONDS = 3_600
_KEPT_DELIVERIES = 2_000


@dataclass
class Delivery:
    """One event on its way to one endpoint, and the fault to show on the way."""

    event_id: str
    endpoint_id: str
    attempt: int = 0
    fault: Fault | None = None


def signature(secret: str, body: str, timestamp: int) -> str:
    """The `Stripe-Signature` header for a body."""
    digest = hmac.new(secret.encode(), f"{timestamp}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def wants(endpoint: Json, kind: str) -> bool:
    return (
        not endpoint.get("_deleted")
        and endpoint["status"] == "enabled"
        and ("*" in endpoint["enabled_events"] or kind in endpoint["enabled_events"])
    )


@dataclass
class Deliverer:
    """Owns the deliveries: first attempts go out one by one, retries after their delay."""

    world: World
    faults: Faults
    record: deque[Json] = field(default_factory=lambda: deque(maxlen=_KEPT_DELIVERIES))
    _queue: asyncio.Queue[Delivery] = field(default_factory=asyncio.Queue)
    _held: list[Delivery] = field(default_factory=list)
    _held_until: int = 0
    _later: set[asyncio.Task[None]] = field(default_factory=set)
    _busy: int = 0
    _progress: asyncio.Event = field(default_factory=asyncio.Event)

    def take_new_events(self) -> None:
        """Queues the new events; those whose cause was undone no longer exist."""
        identifiers, self.world.new_events = self.world.new_events, []
        for identifier in identifiers:
            event = self.world.store.find(identifier)
            if event:
                self._enqueue(event)

    def resend(self, event: Json) -> None:
        self._enqueue(event)

    def requeue_undelivered(self) -> None:
        """After a restart: sends again what was still pending."""
        for event in self.world.store.all("event", lambda e: e["pending_webhooks"] > 0):
            self._enqueue(event)

    def _enqueue(self, event: Json) -> None:
        endpoints = [
            endpoint
            for endpoint in self.world.store.all("webhook_endpoint")
            if wants(endpoint, event["type"])
        ]
        self._set_pending(event, len(endpoints))
        for endpoint in endpoints:
            self._place(Delivery(event["id"], endpoint["id"]), event["type"])

    def _set_pending(self, event: Json, count: int) -> None:
        if event["pending_webhooks"] != count:
            self.world.store.edit(event["id"])["pending_webhooks"] = count

    def _place(self, delivery: Delivery, kind: str) -> None:
        if self._held_until:
            self._hold(delivery)
            return
        fault = self.faults.for_event(kind)
        if fault is None:
            self._queue.put_nowait(delivery)
        elif fault.kind == "drop":
            self._note(delivery, None, "dropped")
        elif fault.kind == "duplicate":
            for _ in range(max(2, fault.count)):
                self._queue.put_nowait(Delivery(delivery.event_id, delivery.endpoint_id))
        elif fault.kind == "delay":
            self._after(fault.seconds, delivery)
        elif fault.kind == "reorder":
            self._held_until = max(2, fault.count)
            self._hold(delivery)
        else:
            delivery.fault = fault
            self._queue.put_nowait(delivery)

    def _hold(self, delivery: Delivery) -> None:
        self._held.append(delivery)
        if len(self._held) >= self._held_until:
            self.release_held()

    def release_held(self) -> None:
        """Sends the events held back for reordering, newest first."""
        held, self._held, self._held_until = self._held, [], 0
        for delivery in reversed(held):
            self._queue.put_nowait(delivery)

    def _after(self, seconds: float, delivery: Delivery) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            self._queue.put_nowait(delivery)

        task = asyncio.get_running_loop().create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._end_wait)

    def _end_wait(self, task: "asyncio.Task[None]") -> None:
        self._later.discard(task)
        self._progress.set()

    async def run(self) -> None:
        """Delivers until cancelled."""
        async with httpx.AsyncClient(follow_redirects=False) as client:
            while True:
                delivery = await self._queue.get()
                self._busy += 1
                try:
                    await self._attempt(client, delivery)
                finally:
                    self._busy -= 1
                    self._progress.set()

    async def settle(self, timeout_seconds: float, *, retries: bool) -> bool:
        """Waits until everything is sent, including retries if asked. False if time runs out."""
        deadline = time.monotonic() + timeout_seconds
        self.release_held()
        while not self._is_settled(retries=retries):
            left_seconds = deadline - time.monotonic()
            if left_seconds <= 0:
                return False
            self._progress.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._progress.wait(), left_seconds)
        return True

    def _is_settled(self, *, retries: bool) -> bool:
        return self._queue.empty() and not self._busy and (not retries or not self._later)

    async def _attempt(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        event = self.world.store.find(delivery.event_id)
        endpoint = self.world.store.find(delivery.endpoint_id)
        if event is None or endpoint is None or endpoint.get("_deleted"):
            return
        body = json.dumps(public(event))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks; sandbox)",
            "Stripe-Signature": _signed(endpoint["_secret"], body, delivery.fault),
        }
        status, problem = await self._post(client, endpoint["url"], body, headers)
        self._note(delivery, status, problem)
        event = self.world.store.find(delivery.event_id)
        if event is None:
            return
        if status is not None and 200 <= status < 300:
            self._set_pending(event, max(0, event["pending_webhooks"] - 1))
        else:
            self._retry(delivery)

    async def _post(
        self, client: httpx.AsyncClient, url: str, body: str, headers: dict[str, str]
    ) -> tuple[int | None, str | None]:
        timeout = self.world.settings.webhook_timeout_seconds
        try:
            response = await client.post(url, content=body, headers=headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return None, type(error).__name__
        return response.status_code, None

    def _retry(self, delivery: Delivery) -> None:
        delays = self.world.settings.webhook_retry_seconds
        if delivery.attempt < len(delays):
            again = Delivery(delivery.event_id, delivery.endpoint_id, delivery.attempt + 1)
            self._after(delays[delivery.attempt], again)

    def _note(self, delivery: Delivery, status: int | None, problem: str | None) -> None:
        event = self.world.store.find(delivery.event_id) or {}
        self.record.append(
            {
                "event": delivery.event_id,
                "type": event.get("type"),
                "endpoint": delivery.endpoint_id,
                "attempt": delivery.attempt,
                "status": status,
                "problem": problem,
            }
        )


def _signed(secret: str, body: str, fault: Fault | None) -> str:
    timestamp = int(time.time())
    if fault and fault.kind == "stale":
        timestamp -= _STALE_SECONDS
    if fault and fault.kind == "wrong_secret":
        secret = "whsec_wrong"
    return signature(secret, body, timestamp)

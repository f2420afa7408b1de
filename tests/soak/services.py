"""Services that sell executions: they consume, reserve, refund and read, and repeat each request
with the same key until it is acknowledged."""

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from billing_app import routes
from billing_app.billing import ids
from tests.factories import Holder
from tests.soak.tally import NO_ANSWER, RETRYABLE, Seen, Tally

TIMEOUT_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 0.2
PATIENCE: Final = 3_000
BATCH_ITEMS: Final = 10
REFUNDABLE: Final = 50
RESERVATIONS: Final = "/billing/reservations"
EVENTS: Final = "/billing/executions"

Answer = dict[str, Any]
Pair = tuple[int, int]


@dataclass
class Acknowledged:
    """What services were told: executions of each event by kind, and the end of reservations."""

    events: dict[tuple[Pair, str], int] = field(default_factory=dict[tuple[Pair, str], int])
    reservations: dict[Pair, str] = field(default_factory=dict[Pair, str])
    repeated: list[str] = field(default_factory=list[str])

    def event(self, kind: str, event_id: str, executions: int) -> None:
        pair = ids.decode(ids.EVENT, event_id)
        assert pair is not None
        if (pair, kind) in self.events:
            self.repeated.append(f"{kind} {event_id}")
        self.events[pair, kind] = executions

    def reservation(self, reservation_id: str, status: str) -> None:
        pair = ids.decode(ids.RESERVATION, reservation_id)
        assert pair is not None
        self.reservations[pair] = status


class Service:
    """One of them, with one request under way."""

    def __init__(
        self,
        *,
        name: str,
        url: str,
        secret: str,
        holders: list[Holder],
        tally: Tally,
        acknowledged: Acknowledged,
        pause_seconds: float,
    ) -> None:
        self._name = name
        self._url = url
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._holders = holders
        self._tally = tally
        self._acknowledged = acknowledged
        self._pause_seconds = pause_seconds
        self._random = random.Random(name)  # noqa: S311 - the order of a load is no secret
        self._keys = (f"{name}-{number}" for number in itertools.count())
        self._refundable: list[tuple[str, int]] = []
        self._client: httpx.AsyncClient

    async def run(self, is_over: asyncio.Event) -> None:
        """Until it is over; what is under way then is carried on until it is acknowledged."""
        operations: dict[Callable[[], Coroutine[Any, Any, None]], int] = {
            self._consume: 10,
            self._reserve: 3,
            self._batch: 1,
            self._refund: 2,
            self._read: 3,
        }
        weights = list(operations.values())
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=TIMEOUT_SECONDS
        ) as self._client:
            while not is_over.is_set():
                (operation,) = self._random.choices(list(operations), weights)
                await operation()
                await asyncio.sleep(self._pause_seconds)

    async def _consume(self) -> None:
        item = self._item("consume")
        answer = await self._until_acknowledged("consume", routes.CHECK_EXECUTIONS, item)
        self._consumed(answer)

    async def _reserve(self) -> None:
        item = self._item("reserve")
        answer = await self._until_acknowledged("reserve", routes.CHECK_EXECUTIONS, item)
        reservation_id = answer["reservation"]["id"]
        place = f"{RESERVATIONS}/{reservation_id}"
        if self._random.random() < 0.3:
            await self._until_acknowledged("release", f"{place}/release", {})
            self._acknowledged.reservation(reservation_id, "released")
            return
        executions = self._random.randint(1, item["executions"])
        body = {"executions": executions}
        done = await self._until_acknowledged("commit", f"{place}/commit", body)
        self._acknowledged.event("commit", done["event_id"], executions)
        self._acknowledged.reservation(reservation_id, "committed")

    async def _batch(self) -> None:
        items = [
            {**self._item("consume"), "idempotency_key": next(self._keys)}
            for _ in range(BATCH_ITEMS)
        ]
        for _ in range(PATIENCE):
            body = {"items": items}
            answer = await self._until_acknowledged("batch", routes.CHECK_EXECUTIONS_BATCH, body)
            left = [
                item
                for item, result in zip(items, answer["results"], strict=True)
                if not self._is_counted(result)
            ]
            if not left:
                return
            items = left
            await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError(f"{self._name}: a batch was never acknowledged")

    def _is_counted(self, result: Answer) -> bool:
        self._tally.count("batch item", result["status"])
        if result["status"] == 200:
            self._consumed(result)
            return True
        if result["status"] not in RETRYABLE:
            self._tally.unexpected.append(f"batch item: {result}")
        return False

    async def _refund(self) -> None:
        if not self._refundable:
            return
        event_id, executions = self._refundable.pop()
        body = {"executions": self._random.randint(1, executions), "reason": "the run failed"}
        answer = await self._until_acknowledged("refund", f"{EVENTS}/{event_id}/refund", body)
        self._acknowledged.event("refund", answer["event_id"], -body["executions"])

    async def _read(self) -> None:
        holder = self._random.choice(self._holders)
        path = self._random.choice([routes.CURRENT_PLAN, routes.USAGE_TOTALS])
        await self._ask("read", "GET", path, params={"organization_id": holder.organization_id})

    def _item(self, mode: str) -> Answer:
        return {
            "organization_id": self._random.choice(self._holders).organization_id,
            "mode": mode,
            "executions": self._random.randint(1, 5),
            "workflow": f"workflow-{self._random.randint(1, 5)}",
        }

    def _consumed(self, answer: Answer) -> None:
        self._acknowledged.event("consume", answer["event_id"], answer["executions"])
        if len(self._refundable) < REFUNDABLE:
            self._refundable.append((answer["event_id"], answer["executions"]))

    async def _until_acknowledged(self, operation: str, path: str, body: Answer) -> Answer:
        headers = {"Idempotency-Key": next(self._keys)}
        for _ in range(PATIENCE):
            seen, answer = await self._ask(operation, "POST", path, json=body, headers=headers)
            if seen == 200 and answer is not None:
                return answer.json()
            await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError(f"{self._name}: {operation} was never acknowledged")

    async def _ask(
        self, operation: str, method: str, path: str, **request: Any
    ) -> tuple[Seen, httpx.Response | None]:
        try:
            answer = await self._client.request(method, path, **request)
        except httpx.TransportError:
            self._tally.count(operation, NO_ANSWER)
            return NO_ANSWER, None
        self._tally.count(operation, answer.status_code)
        if answer.status_code != 200 and answer.status_code not in RETRYABLE:
            self._tally.refuse(operation, answer)
        return answer.status_code, answer

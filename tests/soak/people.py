"""Customers who subscribe, pay, change and buy packs over HTTP, while Stripe may be away."""

import asyncio
import random
from typing import Any, Final

import httpx

from tests.factories import Holder
from tests.payments.billing_harness import type_card
from tests.soak.tally import NO_ANSWER, Tally

SUBSCRIPTIONS: Final = "/billing/subscriptions"
OFFERS: Final = ("starter", "growth", "scale")
TIMEOUT_SECONDS: Final = 60.0
# Refusals that have a reason: nothing to change, another request under way, Stripe away.
EXPECTED: Final = frozenset({200, 201, 402, 404, 409, 429, 502, 503})


class Customer:
    """One of them; does something now and then."""

    def __init__(
        self, *, url: str, secret: str, holder: Holder, tally: Tally, pause_seconds: float
    ) -> None:
        self._url = url
        self._secret = secret
        self._holder = holder
        self._tally = tally
        self._pause_seconds = pause_seconds
        self._random = random.Random(holder.organization_id)  # noqa: S311 - no secret
        self._client: httpx.AsyncClient

    async def run(self, is_over: asyncio.Event) -> None:
        headers = {"Authorization": f"Bearer {self._secret}"}
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=TIMEOUT_SECONDS
        ) as self._client:
            while not is_over.is_set():
                await self._act()
                await asyncio.sleep(self._pause_seconds * self._random.uniform(0.5, 1.5))

    async def _act(self) -> None:
        query = {"organization_id": self._holder.organization_id}
        found = await self._ask("subscription", "GET", f"{SUBSCRIPTIONS}/current", params=query)
        if found is None or found.status_code != 200:
            return
        subscription = found.json()["subscription"]
        if subscription is None:
            await self._subscribe("starter")
        elif subscription["cancel_at_period_end"]:
            await self._ask("resume", "POST", f"{SUBSCRIPTIONS}/{subscription['id']}/resume")
        else:
            await self._change(f"{SUBSCRIPTIONS}/{subscription['id']}")

    async def _change(self, path: str) -> None:
        action = self._random.choice(["now", "period_end", "pack", "cancel"])
        if action == "pack":
            await self._subscribe("pack")
        elif action == "cancel":
            await self._ask("cancel", "DELETE", path, params={"when": "period_end"})
        else:
            body = {"offer": self._random.choice(OFFERS), "when": action}
            await self._ask("change", "PUT", path, json=body)

    async def _subscribe(self, offer: str) -> None:
        body = {"organization_id": self._holder.organization_id, "offer": offer}
        answer = await self._ask("buy", "POST", SUBSCRIPTIONS, json=body)
        if answer is None or answer.status_code != 201:
            return
        if checkout_url := answer.json()["checkout_url"]:
            try:
                paid = await asyncio.to_thread(type_card, checkout_url)
            except httpx.TransportError:
                self._tally.count("pay", NO_ANSWER)
            else:
                self._tally.count("pay", paid.status_code)

    async def _ask(
        self, operation: str, method: str, path: str, **request: Any
    ) -> httpx.Response | None:
        try:
            answer = await self._client.request(method, path, **request)
        except httpx.TransportError:
            self._tally.count(operation, NO_ANSWER)
            return None
        self._tally.count(operation, answer.status_code)
        if answer.status_code not in EXPECTED:
            self._tally.refuse(operation, answer)
        return answer

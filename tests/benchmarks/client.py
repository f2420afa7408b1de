"""The Python client against raw httpx: the same request, one call of each in turn."""

import asyncio
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import httpx

from billing_app.client import AsyncBilling, Billing
from billing_app.routes import CHECK_EXECUTIONS
from tests.benchmarks.harness import HOT_ORGANIZATION

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases
    from tests.benchmarks.processes import Server

WARM_UP_CALLS: Final = 50
CALLS_PER_SECOND: Final = 300
AT_MOST: Final = 1.15
RAW: Final = "raw httpx"
CLIENT: Final = "client"


def client(cases: "Cases") -> None:
    """One consume at a time: what the client adds to the latency of a raw httpx call."""
    calls = int(CALLS_PER_SECOND * cases.plan.seconds * cases.plan.rounds)
    for app in ("ours", "bare"):
        with cases.start(app) as server:
            for kind, measure in (("sync", _sync), ("async", _async)):
                medians = measure(server, cases.bed.secret, calls)
                _conclude(cases, app, kind, medians, calls)


def _conclude(cases: "Cases", app: str, kind: str, medians: dict[str, float], calls: int) -> None:
    ratio = medians[CLIENT] / medians[RAW]
    cases.report.at_most(f"{kind} client, {app}: p50 over raw httpx", ratio, AT_MOST, "x")
    cases.report.note(
        f"{kind} client, {app}: {medians[CLIENT]:,.0f} µs, raw httpx {medians[RAW]:,.0f} µs"
        f" (p50 of {calls:,} calls each)."
    )


def _body() -> dict[str, Any]:
    return {"organization_id": HOT_ORGANIZATION, "mode": "consume", "workflow": "nightly"}


def _sync(server: "Server", secret: str, calls: int) -> dict[str, float]:
    url, headers = f"http://127.0.0.1:{server.port}", {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=url, headers=headers) as raw, Billing(url, secret) as billing:

        def by_hand() -> int:
            key = {"Idempotency-Key": uuid.uuid4().hex}
            response = raw.post(CHECK_EXECUTIONS, json=_body(), headers=key)
            response.raise_for_status()
            return response.json()["executions_remaining"]

        def by_client() -> int:
            return billing.consume(HOT_ORGANIZATION, workflow="nightly").executions_remaining

        return _medians({RAW: by_hand, CLIENT: by_client}, calls)


def _medians(kinds: dict[str, Callable[[], int]], calls: int) -> dict[str, float]:
    """Microseconds. They are called in turn, so that both meet the same machine."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(WARM_UP_CALLS + calls):
        for kind, call in kinds.items():
            began = time.perf_counter()
            call()
            times[kind].append(time.perf_counter() - began)
    return {kind: statistics.median(found[WARM_UP_CALLS:]) * 1e6 for kind, found in times.items()}


def _async(server: "Server", secret: str, calls: int) -> dict[str, float]:
    return asyncio.run(_measure_async(server, secret, calls))


async def _measure_async(server: "Server", secret: str, calls: int) -> dict[str, float]:
    url, headers = f"http://127.0.0.1:{server.port}", {"Authorization": f"Bearer {secret}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers) as raw,
        AsyncBilling(url, secret) as billing,
    ):

        async def by_hand() -> int:
            key = {"Idempotency-Key": uuid.uuid4().hex}
            response = await raw.post(CHECK_EXECUTIONS, json=_body(), headers=key)
            response.raise_for_status()
            return response.json()["executions_remaining"]

        async def by_client() -> int:
            answer = await billing.consume(HOT_ORGANIZATION, workflow="nightly")
            return answer.executions_remaining

        return await _async_medians({RAW: by_hand, CLIENT: by_client}, calls)


async def _async_medians(
    kinds: dict[str, Callable[[], Awaitable[int]]], calls: int
) -> dict[str, float]:
    times: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(WARM_UP_CALLS + calls):
        for kind, call in kinds.items():
            began = time.perf_counter()
            await call()
            times[kind].append(time.perf_counter() - began)
    return {kind: statistics.median(found[WARM_UP_CALLS:]) * 1e6 for kind, found in times.items()}

"""Decisions through a lease, as fast as one process makes them.

Run as `python -m tests.benchmarks.lease_load`: a LeaseLoad as JSON on standard input, a LeaseResult
on standard output.
"""

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec
import uvloop

from billing_app.client import AsyncBilling, Billing, Lease, LeaseTerms, UnavailableError

Kind = Literal["decide", "latency", "run", "flushed"]
EXECUTIONS: Final = 1_000_000
KEYS: Final = 20_000_000
# Between two looks at the clock.
STRIDE: Final = 200
TASKS: Final = 64


class LeaseLoad(msgspec.Struct, kw_only=True):
    """`kind`: bare decisions, the same one by one with a clock, whole runs, or decisions that are
    on disk before they are acknowledged."""

    url: str
    key: str
    organization_id: str
    journal: str
    kind: Kind
    seconds: float


class LeaseResult(msgspec.Struct, kw_only=True):
    """`refused`: decisions that the lease could not cover at the moment."""

    allowed: int
    refused: int
    seconds: float
    cpu_seconds: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=LeaseLoad)
    terms = LeaseTerms(
        Path(load.journal),
        executions=EXECUTIONS,
        remember_keys=KEYS,
        fsync=load.kind == "flushed",
    )
    began = time.process_time()
    if load.kind == "flushed":
        result = uvloop.run(_flushed(load, terms))
    else:
        outage = "lease" if load.kind == "run" else "deny"
        with Billing(load.url, load.key, outage=outage, leases=terms) as billing:
            lease = billing.lease(load.organization_id)
            if load.kind == "run":
                result = _runs(billing, load)
            elif load.kind == "decide":
                result = _decide(lease, load.seconds)
            else:
                result = _latency(lease, load.seconds)
    result.cpu_seconds = time.process_time() - began
    sys.stdout.buffer.write(msgspec.json.encode(result))


def _decide(lease: Lease, seconds: float) -> LeaseResult:
    allowed = number = 0
    began = time.perf_counter()
    until = began + seconds
    while time.perf_counter() < until:
        for number in range(number, number + STRIDE):  # noqa: B020
            allowed += lease.consume(workflow="nightly", idempotency_key=f"d-{number}")
        number += 1
    spent = time.perf_counter() - began
    return LeaseResult(allowed=allowed, refused=number - allowed, seconds=spent)


def _latency(lease: Lease, seconds: float) -> LeaseResult:
    found: list[int] = []
    allowed = 0
    now = time.perf_counter_ns
    began = now()
    until = began + int(seconds * 1e9)
    at = began
    while at < until:
        key = f"l-{len(found)}"
        at = now()
        allowed += lease.consume(workflow="nightly", idempotency_key=key)
        found.append(now() - at)
    spent = (now() - began) / 1e9
    found.sort()
    return LeaseResult(
        allowed=allowed,
        refused=len(found) - allowed,
        seconds=spent,
        p50_us=found[len(found) // 2] / 1e3,
        p99_us=found[len(found) * 99 // 100] / 1e3,
    )


def _runs(billing: Billing, load: LeaseLoad) -> LeaseResult:
    allowed = number = 0
    began = time.perf_counter()
    until = began + load.seconds
    while time.perf_counter() < until:
        for _ in range(STRIDE):
            number += 1
            with (
                suppress(UnavailableError),
                billing.run(
                    load.organization_id, workflow="nightly", idempotency_key=f"r-{number}"
                ) as run,
            ):
                allowed += run.leased is not None
    spent = time.perf_counter() - began
    return LeaseResult(allowed=allowed, refused=number - allowed, seconds=spent)


async def _flushed(load: LeaseLoad, terms: LeaseTerms) -> LeaseResult:
    async with AsyncBilling(load.url, load.key, leases=terms) as billing:
        lease = await billing.lease(load.organization_id)
        allowed = refused = 0
        began = time.perf_counter()
        until = began + load.seconds

        async def client(name: int) -> None:
            nonlocal allowed, refused
            number = 0
            while time.perf_counter() < until:
                number += 1
                if await lease.consume_async(
                    workflow="nightly", idempotency_key=f"{name}-{number}"
                ):
                    allowed += 1
                else:
                    refused += 1
                    await asyncio.sleep(0.001)

        await asyncio.gather(*[client(name) for name in range(TASKS)])
        spent = time.perf_counter() - began
    return LeaseResult(allowed=allowed, refused=refused, seconds=spent)


if __name__ == "__main__":
    main()

"""Prometheus figures of requests to Stripe: each attempt, by operation and result."""

import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from prometheus_client import Histogram

from billing_app import tracing

OK: Final = "ok"
REFUSED: Final = "refused"
RATE_LIMITED: Final = "rate_limited"
FAILED: Final = "failed"
UNREACHABLE: Final = "unreachable"
# Ids have digits or capitals, or a dot; Stripe's own words do not.
WORD: Final = re.compile(r"[a-z_]{1,40}")
VERSION: Final = re.compile(r"v\d")

request_seconds: Final = Histogram(
    "billing_stripe_request_seconds",
    "Requests to Stripe, each attempt; result: ok, refused, rate_limited, failed, unreachable",
    ["operation", "result"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)


@dataclass(slots=True)
class Attempt:
    """`status` stays 0 when no answer came."""

    status: int = 0


@asynccontextmanager
async def timed(method: str, url: str) -> AsyncGenerator[Attempt]:
    """Time and trace one request; the block tells the status."""
    attempt, began, name = Attempt(), time.perf_counter(), operation(method, url)
    with tracing.client_span(name, {"http.request.method": method.upper()}) as span:
        try:
            yield attempt
        finally:
            seconds = time.perf_counter() - began
            result = _result(attempt.status)
            request_seconds.labels(name, result).observe(seconds)
            if span is not None:
                span.set_attribute("http.response.status_code", attempt.status)
                if result != OK:
                    tracing.failed(span, result)


def operation(method: str, url: str) -> str:
    """Such as `POST /v1/subscriptions/{id}`: no ids, so their number is bounded."""
    parts = urlsplit(url).path.strip("/").split("/")
    named = [part if WORD.fullmatch(part) or VERSION.fullmatch(part) else "{id}" for part in parts]
    return f"{method.upper()} /{'/'.join(named)}"


def _result(status: int) -> str:
    if status == 0:
        return UNREACHABLE
    if status == 429:
        return RATE_LIMITED
    if status >= 500:
        return FAILED
    return REFUSED if status >= 400 else OK

"""Prometheus figures of decisions, counted once a batch: a request costs a fraction of a
microsecond."""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, cast

from prometheus_client import Counter, Histogram

from billing_app.billing.executions.requests import (
    Accepted,
    Adjust,
    CheckRequest,
    Commit,
    Decision,
    LeaseRequest,
    Refund,
    Release,
    Request,
    SettleLease,
)

ALLOWED: Final = "allowed"
REPLAYED: Final = "replayed"
OPERATIONS: Final[dict[type[Request], str]] = {
    Commit: "commit",
    Release: "release",
    Refund: "refund",
    Adjust: "adjust",
    LeaseRequest: "lease",
    SettleLease: "settle_lease",
}


class BatchHistogram(Histogram):
    """Observes many amounts at once: each bucket is written once."""

    def observe_all(self, amounts: Sequence[tuple[float, int]]) -> None:
        """Observe each amount so many times."""
        self._raise_if_not_observable()
        buckets: Tally[int] = Tally()
        total = 0.0
        for amount, times in amounts:
            buckets[bisect_left(self._upper_bounds, amount)] += times
            total += amount * times
        self._sum.inc(total)  # pyright: ignore[reportUnknownMemberType]
        for number, times in buckets.items():
            self._buckets[number].inc(times)  # pyright: ignore[reportUnknownMemberType]


batch_size: Final = Histogram(
    "billing_execution_batch_requests",
    "Requests decided in one transaction",
    ["lane"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
)
retries: Final = Counter("billing_execution_batch_retries", "Transactions retried", ["lane"])
queue_full: Final = Counter(
    "billing_execution_queue_full", "Requests refused because the queue was full", ["lane"]
)
decisions_made: Final = Counter(
    "billing_execution_decisions",
    "Decisions; outcome: allowed, replayed, or the error's code",
    ["operation", "outcome"],
)
decision_seconds: Final = BatchHistogram(
    "billing_execution_decision_seconds",
    "From the request's place in the queue to its committed decision",
    ["lane"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

# `labels` costs more than an increment.
_seconds_of = cache(decision_seconds.labels)
_size_of = cache(batch_size.labels)
_made = cache(decisions_made.labels)


Count = Callable[[str, Sequence[Request], Sequence[Decision], Sequence[tuple[float, int]]], None]
"""Counts the batch of a lane; see `count_batch`."""


def count_batch(
    lane: str,
    requests: Sequence[Request],
    decisions: Sequence[Decision],
    waits: Sequence[tuple[float, int]],
) -> None:
    """Count a decided batch. `waits`: seconds until the decision, and how many waited so long."""
    count_waits(lane, requests, decisions, waits)
    pairs = zip(requests, decisions, strict=True)
    for pair, times in Tally((_operation(each), _outcome(its)) for each, its in pairs).items():
        _made(*pair).inc(times)


def count_waits(
    lane: str,
    requests: Sequence[Request],
    _: Sequence[Decision],
    waits: Sequence[tuple[float, int]],
) -> None:
    """As `count_batch`, but for a batch that only prepares decisions."""
    _size_of(lane).observe(len(requests))
    _seconds_of(lane).observe_all(waits)


def _operation(request: Request) -> str:
    return OPERATIONS.get(type(request)) or cast("CheckRequest", request).mode


def _outcome(decision: Decision) -> str:
    if isinstance(decision, Accepted):
        return REPLAYED if decision.replayed else ALLOWED
    return decision.code

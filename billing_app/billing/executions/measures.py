"""Prometheus figures of the hot path."""

from typing import Final

from prometheus_client import Counter, Histogram

batch_size: Final = Histogram(
    "billing_execution_batch_requests",
    "Requests decided in one transaction",
    ["lane"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
)
retries: Final = Counter("billing_execution_batch_retries", "Transactions tried again", ["lane"])
decisions: Final = Counter(
    "billing_execution_decisions", "Decisions given", ["operation", "outcome"]
)

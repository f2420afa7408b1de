"""The stateful ledger test, on a cluster."""

from tests.billing.test_ledger_stateful import (
    service,
    test_any_interleaving_agrees_with_brute_force,
)

__all__ = ["service", "test_any_interleaving_agrees_with_brute_force"]

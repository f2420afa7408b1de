"""Runs a job for many accounts: the error of one never stops the others, and is told."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import structlog

from billing_app.billing import ids
from billing_app.billing.errors import BillingError, StorableError
from billing_app.billing.quantities import counted
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)

# The provider itself is down: asking for each account would take hours.
GIVE_UP_AFTER: Final = 3
SHOWN: Final = 20

Unit = TypeVar("Unit")
log = structlog.get_logger(__name__)


class AccountsFailedError(StorableError):
    """The others were done; the job is marked as failed, so that staff see it.

    `accounts`: why each failed. `done`: the sum of the others.
    """

    def __init__(self, job: str, accounts: dict[str, str], done: int) -> None:
        first = ", ".join(f"{account} {why}" for account, why in sorted(accounts.items())[:SHOWN])
        super().__init__(
            f"{job} failed for {counted(len(accounts), 'account')}, not for others: {first}"
        )
        self.accounts = accounts
        self.done = done


async def run_each(
    units: Iterable[Unit],
    act: Callable[[Unit], Awaitable[int]],
    *,
    account_of: Callable[[Unit], int],
    job: str,
) -> int:
    """Act on each unit, which belongs to an account; returns the sum.

    Raises AccountsFailedError at the end, and PaymentProviderUnavailableError when the provider
    answered none of the last ones, or when nothing else went wrong.
    """
    total, in_a_row = 0, 0
    failed: dict[str, str] = {}
    unavailable: PaymentProviderUnavailableError | None = None
    for unit in units:
        account_id = ids.encode_account(account_of(unit))
        try:
            total += await act(unit)
            in_a_row = 0
        except PaymentProviderUnavailableError as error:
            unavailable, in_a_row = error, in_a_row + 1
            if in_a_row == GIVE_UP_AFTER:
                break
        except Exception as error:
            failed[account_id] = error.code if isinstance(error, BillingError) else repr(error)
            log.exception("account_failed", job=job, account_id=account_id)
    if failed:
        raise AccountsFailedError(job, failed, total)
    if unavailable is not None:
        raise unavailable
    return total

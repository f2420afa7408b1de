"""Notices, beside the hot path, that accounts with a top-up order run low."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import structlog

from billing_app.billing.subscriptions.top_ups import TopUps

# What is spent meanwhile is looked at together.
GATHER_SECONDS: Final = 0.4

log = structlog.get_logger(__name__)


class TopUpWatch:
    """One per process. It looks while executions are spent, and rests otherwise.

    An account is announced as it falls below its threshold, not over again while it stays there:
    its month's cap may be reached. What is missed here, the sweep of the workers finds.
    """

    def __init__(self, top_ups: TopUps) -> None:
        self._top_ups = top_ups
        self._spent: set[int] = set()
        self._low: set[int] = set()
        self._looking: asyncio.Task[None] | None = None

    def spent(self, account_ids: Iterable[int]) -> None:
        """Executions of these accounts were used or held, and that is committed. Never waits."""
        self._spent.update(account_ids)
        if self._spent and self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="top-up watch")

    async def close(self) -> None:
        """What nobody has looked at yet is left to the sweep."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        try:
            while self._spent:
                await asyncio.sleep(GATHER_SECONDS)
                spent, self._spent = self._spent, set()
                await self._announce(spent)
        finally:
            self._looking = None

    async def _announce(self, spent: set[int]) -> None:
        try:
            low = await self._top_ups.needed(sorted(spent), datetime.now(UTC))
            if fallen := sorted(low - self._low):
                await self._top_ups.announce(fallen)
        except Exception as error:
            # Whatever it is, nobody who spends waits for it, and the sweep looks again.
            log.warning("top_ups_not_announced", error=type(error).__name__)
            return
        self._low = (self._low - spent) | low

"""Follows decisions beside the hot path: announces alerts, and notes refusals and what is given
back.

What is missed here, because the process ended, the sweep of the workers finds; only refusals and
what was given back in the last moment are not counted.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from billing_app.billing.alerts.noticing import count_given_back, note_refusals
from billing_app.billing.alerts.raising import announce
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.errors import DeniedError
from billing_app.billing.executions.directory import Targets
from billing_app.billing.executions.requests import (
    CHECK,
    Accepted,
    CheckRequest,
    Decision,
    Refund,
    Release,
    Request,
)
from billing_app.db.engine import Database

# What happens meanwhile is written together.
GATHER_SECONDS: Final = 0.4
MAX_NOTED: Final = 100_000

Refusal = tuple[int, str]
"""Account, reason."""

log = structlog.get_logger(__name__)


class AlertWatch:
    """One per process. It rests while nothing happens that could be an alert."""

    def __init__(self, database: Database) -> None:
        self.rule_book = RuleBook(database)
        self._database = database
        self._alerted: set[int] = set()
        self._refused: set[Refusal] = set()
        self._noted: set[Refusal] = set()
        self._noted_in: datetime | None = None
        self._given_back: defaultdict[int, int] = defaultdict(int)
        self._writing: asyncio.Task[None] | None = None

    def committed(
        self,
        requests: Sequence[Request],
        decisions: Sequence[Decision],
        targets: Targets,
        alerted: Collection[int],
    ) -> None:
        """A batch is committed; `alerted`: accounts with new alerts that no worker has heard of.
        Never waits."""
        self.rule_book.keep_fresh()
        for request, decision in zip(requests, decisions, strict=True):
            if type(decision) is Accepted:
                if isinstance(request, (Release, Refund)) and not decision.replayed:
                    self._given_back[request.account_id] += 1
            elif isinstance(decision, DeniedError) and isinstance(request, CheckRequest):
                account = targets[request.organization_id, request.user_id]
                if request.mode is not CHECK and isinstance(account, int):
                    self._refused.add((account, decision.code))
        self._alerted.update(alerted)
        if (self._alerted or self._given_back or self._refused) and self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="alert watch")

    async def close(self) -> None:
        await self.rule_book.close()
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        try:
            while self._alerted or self._given_back or self._refused:
                alerted, self._alerted = self._alerted, set()
                given_back, self._given_back = self._given_back, defaultdict(int)
                refused, self._refused = self._refused, set()
                await self._write_all(alerted, given_back, refused, datetime.now(UTC))
                await asyncio.sleep(GATHER_SECONDS)
        except Exception as error:
            # Whatever it is, nobody who decides waits for it.
            log.warning("alerts_not_announced", error=type(error).__name__)
        finally:
            self._writing = None

    async def _write_all(
        self,
        alerted: set[int],
        given_back: dict[int, int],
        refused: set[Refusal],
        now: datetime,
    ) -> None:
        hour = now.replace(minute=0, second=0, microsecond=0)
        if self._noted_in != hour or len(self._noted) > MAX_NOTED:
            self._noted_in, self._noted = hour, set()
        new = refused - self._noted
        if alerted:
            await announce(self._database, alerted)
        if new:
            await note_refusals(self._database, sorted(new), now)
            self._noted |= new
        if given_back and self.rule_book.has_error_loops:
            await count_given_back(self._database, given_back, now)

"""Processes that decide, with alerts on: services of their own on one event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from billing_app.billing import ids
from billing_app.billing.alerts.watch import AlertWatch
from billing_app.billing.executions.requests import Accepted, Mode, Refund
from billing_app.billing.executions.service import Executions
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.engine import Database
from billing_app.db.urls import for_asyncpg
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import PLATFORM, PLATFORM_SERVICE, Holder, check_request


class Decider:
    """One process's."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.watch = AlertWatch(self.database)
        terms = TrialTerms(PUBLIC, TRIAL_EXECUTIONS, days=None)
        self.executions = Executions(for_asyncpg(url), terms, alerts=self.watch)

    async def consume(self, holder: Holder, executions: int, key: str) -> Any:
        """The event's id; None: denied."""
        request = check_request(
            Mode.CONSUME, executions, key, organization_id=holder.organization_id
        )
        return self._event_id(await self.executions.decide(PLATFORM_SERVICE, request))

    async def refund(self, event_id: str, executions: int | None, key: str) -> Any:
        pair = ids.decode(ids.EVENT, event_id)
        assert pair is not None
        request = Refund(*pair, executions, "test", key, PLATFORM)
        return self._event_id(await self.executions.decide(PLATFORM_SERVICE, request))

    def _event_id(self, decision: object) -> Any:
        if isinstance(decision, Accepted):
            return msgspec.json.decode(decision.answer)["event_id"]
        return None


@asynccontextmanager
async def deciders(url: str, count: int) -> AsyncIterator[list[Decider]]:
    made = [Decider(url) for _ in range(count)]
    try:
        yield made
    finally:
        for decider in made:
            await decider.executions.close()
            await decider.watch.close()
            await decider.database.dispose()

"""Shared by the examples of leases: requests about them, decided at any time."""

from datetime import date, datetime, timedelta
from itertools import count
from typing import Any

import asyncpg
import msgspec

from billing_app.billing import ids
from billing_app.billing.executions import lease_tokens, store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import (
    Accepted,
    Caller,
    Decision,
    LeaseRequest,
    LeaseTotal,
    Mode,
    Renewal,
    Request,
    SettleLease,
)
from billing_app.db.urls import for_asyncpg
from tests.factories import PLATFORM, Holder
from tests.months import TERMS

WINDOW_SECONDS = 600


def lease_request(holder: Holder, executions: int, **more: Any) -> LeaseRequest:
    values: dict[str, Any] = {
        "user_id": "",
        "at_least": executions,
        "workflow": "",
        "seconds": 3_600,
        "idempotency_key": ids.new_id("key_"),
        "caller": PLATFORM,
    }
    return LeaseRequest(
        mode=Mode.RESERVE,
        organization_id=holder.organization_id,
        executions=executions,
        hold_seconds=0,
        settle_seconds=WINDOW_SECONDS,
        secret=lease_tokens.new_key(),
        **(values | more),
    )


def total(executions: int, day: date, workflow: str = "", user_id: str = "") -> LeaseTotal:
    return LeaseTotal(workflow, user_id, day, executions)


def settlement(
    lease: Any,
    *totals: LeaseTotal,
    sequence: int = 0,
    renewal: Renewal | None = None,
    closes: bool = False,
    token: str | None = None,
    caller: Caller = PLATFORM,
) -> SettleLease:
    """`lease` is the answer to the request that opened it."""
    pair = ids.decode(ids.LEASE, lease["lease"]["id"])
    assert pair is not None
    return SettleLease(
        *pair,
        token=lease["token"] if token is None else token,
        totals=list(totals),
        sequence=sequence,
        renewal=renewal,
        closes=closes,
        settle_seconds=WINDOW_SECONDS,
        caller=caller,
    )


class Desk:
    """Decides one request after another, each in a transaction of its own, at a given time."""

    def __init__(self, url: str) -> None:
        self._url = for_asyncpg(url)
        self._directory = Directory(TERMS)
        self._connection: Any = None
        self._moments = count()

    async def decide(self, request: Request, at: datetime | None = None) -> Decision:
        """No two requests are decided at the same moment."""
        if at is not None:
            at += timedelta(microseconds=next(self._moments))
        if self._connection is None:
            self._connection = await store.connect(self._url)
        (decision,) = await store.transact(self._connection, self._directory, [request], at=at)
        return decision

    async def accept(self, request: Request, at: datetime | None = None) -> Any:
        decision = await self.decide(request, at)
        assert isinstance(decision, Accepted), decision
        return msgspec.json.decode(decision.answer)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


async def rows(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    connection: Any = await asyncpg.connect(for_asyncpg(url))
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()

"""The whole service on its own event loop, and the SQL that reads what it wrote."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from billing_app.billing.executions.service import Executions
from billing_app.db.engine import Database

T = TypeVar("T")

BALANCES = """
SELECT p.sequence, p.used, p.held - coalesce((
           SELECT sum(h.executions) FROM reservation_holds AS h
           JOIN reservations AS r ON r.account_id = h.account_id AND r.number = h.reservation_number
           WHERE h.account_id = p.account_id AND h.plan_sequence = p.sequence
             AND r.status = 'held' AND r.expires_at <= $2), 0)::bigint,
       coalesce(p.ended_because, CASE WHEN p.ends_at <= $2 THEN 'period_ended' END)
FROM plans AS p WHERE p.account_id = $1 ORDER BY p.sequence
"""
PARTS = """
SELECT plan_sequence, executions FROM execution_events WHERE account_id = $1 AND number = $2
UNION ALL
SELECT plan_sequence, executions FROM reservation_holds
WHERE account_id = $1 AND reservation_number = $3
ORDER BY 1
"""


@dataclass
class Service:
    """The real service with its own event loop; one for all examples."""

    runner: asyncio.Runner
    executions: Executions
    database: Database
    connection: Any

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.run(self.connection.fetch(query, *values))]

    def execute(self, query: str, *values: object) -> None:
        self.run(self.connection.execute(query, *values))

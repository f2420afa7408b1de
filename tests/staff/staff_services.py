"""One account and what staff does to it; everything goes through the services."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.requests import Accepted, Mode
from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.service import read_current
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.service import undo
from billing_app.composition import Services
from tests.factories import OPERATOR, PLATFORM_SERVICE, Holder, check_request, connect

WHY = "The customer asked"
DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Customer:
    """An account, seen as its service and as staff see it."""

    services: Services
    holder: Holder
    user_id: str = ""
    keys: int = 0

    @property
    def id(self) -> str:
        return self.holder.account_id

    def plan_id(self, sequence: int = 1) -> str:
        return ids.encode(ids.PLAN, self.holder.account_number, sequence)

    async def use(self, executions: int, mode: Mode = Mode.CONSUME, **more: Any) -> dict[str, Any]:
        """What a service is answered; `code` when it is refused."""
        self.keys += 1
        request = check_request(
            mode,
            executions,
            f"{self.holder.account_number:x}-{self.keys}",
            organization_id=self.holder.organization_id,
            user_id=self.user_id,
            **more,
        )
        decision = await self.services.executions.decide(PLATFORM_SERVICE, request)
        if isinstance(decision, BillingError):
            return {"code": decision.code}
        assert isinstance(decision, Accepted)
        return msgspec.json.decode(decision.answer)

    async def remaining(self) -> int:
        current = await read_current(self.services.database, OPERATOR, self.id, now())
        return current.executions_remaining

    async def undo(self, actor: StaffActor, entry: EntryView) -> EntryView:
        return await undo(self.services.repairs, actor, entry.id, reason="By mistake", now=now())

    async def agrees(self) -> None:
        """The ledger, balances and daily rows of this account say the same."""
        found = await verify(self.services.database)
        assert [each for each in found if each.account_id == self.id] == []

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with connect(self.services.database.url) as connection:
            return connection.execute(query, [self.holder.account_number, *values]).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def figures(self) -> dict[str, Any]:
        """Every figure that undoing a repair brings back: plans that count, net use by workflow,
        what each event has left to refund, and whether the account is stopped."""
        return {
            "plans": self.rows(
                "SELECT sequence, executions, used, held, ends_at, ended_because, paused_at,"
                " blocked_at FROM plans WHERE account_id = %s"
                " AND (source = 'staff_grant' AND ended_because = 'cancelled') IS NOT TRUE"
                " ORDER BY 1"
            ),
            "daily": self.rows(
                "SELECT day, workflow, user_id, used - refunded FROM daily_usage"
                " WHERE account_id = %s AND used <> refunded ORDER BY 1, 2, 3"
            ),
            "refundable": self.rows(
                "SELECT e.number, e.plan_sequence, e.executions + coalesce((SELECT"
                " sum(r.executions) FROM execution_events AS r WHERE r.account_id = e.account_id"
                " AND r.refers_to = e.number AND r.plan_sequence = e.plan_sequence"
                " AND r.kind IN ('refund', 'adjustment')), 0)::bigint FROM execution_events AS e"
                " WHERE e.account_id = %s AND e.kind IN ('consume', 'commit') ORDER BY 1, 2"
            ),
            "account": self.rows("SELECT blocked_at FROM accounts WHERE id = %s"),
        }

"""Reports of leases in any order, repeated and lost, beside consumes: nothing is over-consumed, and
the ledger, its days and the plans agree."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.billing.errors import BillingError, LeaseEndedError
from billing_app.billing.executions.requests import (
    Accepted,
    LeaseTotal,
    Mode,
    Renewal,
    SettleLease,
)
from billing_app.billing.executions.verification import verify
from billing_app.db.engine import Database
from tests.billing.leasing import WINDOW_SECONDS, Desk, lease_request, rows, settlement
from tests.billing.profiles import examples
from tests.factories import Holder, add_plan, check_request, organization

# Before a midnight, so that leases span two days.
START = (datetime.now(UTC) - timedelta(days=3)).replace(hour=23, minute=50, second=0)
PLANS = (12, 30)
WORKFLOWS = ("", "a", "b")


@dataclass
class Client:
    """What a service knows of its lease: what it may decide, what it has decided, what it sent."""

    lease: Any
    limit: int
    expires_at: datetime
    decided: dict[tuple[str, date], int] = field(default_factory=dict)
    sent: list[SettleLease] = field(default_factory=list)
    sequence: int = 0
    is_closed: bool = False

    def decide(self, workflow: str, executions: int, at: datetime) -> None:
        if self.is_closed or at >= self.expires_at:
            return
        if sum(self.decided.values()) + executions <= self.limit:
            key = workflow, at.date()
            self.decided[key] = self.decided.get(key, 0) + executions

    def report(self, *, renews: int = 0, closes: bool = False) -> SettleLease:
        self.sequence += 1
        self.is_closed = self.is_closed or closes
        totals = [
            LeaseTotal(workflow, "", day, executions)
            for (workflow, day), executions in self.decided.items()
        ]
        renewal = Renewal(renews, 300) if renews and not closes else None
        report = settlement(
            self.lease, *totals, sequence=self.sequence, renewal=renewal, closes=closes
        )
        self.sent.append(report)
        return report


@dataclass(frozen=True)
class Step:
    kind: str
    lease: int = 0
    executions: int = 1
    workflow: str = ""
    seconds: int = 0
    arrives: bool = True


few = st.integers(1, 6)
leases = st.integers(0, 2)
steps = st.one_of(
    st.builds(Step, st.just("open"), executions=st.integers(1, 20), seconds=st.integers(10, 900)),
    st.builds(
        Step, st.just("decide"), leases, few, st.sampled_from(WORKFLOWS), st.integers(0, 120)
    ),
    st.builds(
        Step, st.sampled_from(["report", "renew", "close"]), leases, few, arrives=st.booleans()
    ),
    st.builds(Step, st.just("again"), leases, st.integers(0, 5)),
    st.builds(Step, st.just("consume"), executions=few),
    st.builds(Step, st.just("wait"), seconds=st.integers(1, 900)),
)


class Scene:
    """One account, its leases, and the model of what was counted."""

    def __init__(self, desk: Desk, url: str) -> None:
        self.desk, self.url = desk, url
        self.now = START
        self.clients: list[Client] = []
        self.consumed = 0
        self.holder: Holder = organization(url)
        for sequence, executions in enumerate(PLANS, 1):
            starts_at = START - timedelta(days=1)
            add_plan(url, self.holder, sequence, executions, starts_at=starts_at)

    async def play(self, step: Step) -> None:
        client = self.clients[step.lease % len(self.clients)] if self.clients else None
        if step.kind == "wait":
            self.now += timedelta(seconds=step.seconds)
        elif step.kind == "open":
            await self._open(step)
        elif step.kind == "consume":
            request = check_request(
                Mode.CONSUME,
                step.executions,
                f"k{self.now.timestamp()}-{self.consumed}",
                organization_id=self.holder.organization_id,
            )
            decision = await self.desk.decide(request, self.now)
            self.consumed += step.executions if isinstance(decision, Accepted) else 0
        elif client is not None:
            await self._with_lease(step, client)

    async def _open(self, step: Step) -> None:
        request = lease_request(self.holder, step.executions, at_least=1, seconds=step.seconds)
        decision = await self.desk.decide(request, self.now)
        if isinstance(decision, Accepted):
            answer = Answer(decision)
            client = Client(answer.body, answer.executions, answer.expires_at)
            self.clients.append(client)

    async def _with_lease(self, step: Step, client: Client) -> None:
        if step.kind == "decide":
            self.now += timedelta(seconds=step.seconds)
            client.decide(step.workflow, step.executions, self.now)
            return
        if step.kind == "again":
            if client.sent:
                await self._send(client, client.sent[step.executions % len(client.sent)])
            return
        report = client.report(
            renews=step.executions if step.kind == "renew" else 0, closes=step.kind == "close"
        )
        if step.arrives:
            await self._send(client, report)

    async def _send(self, client: Client, report: SettleLease) -> None:
        decision = await self.desk.decide(report, self.now)
        if isinstance(decision, BillingError):
            assert isinstance(decision, LeaseEndedError), decision
            return
        answer = Answer(decision)
        client.limit = max(client.limit, answer.executions)
        client.expires_at = max(client.expires_at, answer.expires_at)

    async def check(self) -> None:
        found = await rows(
            self.url,
            "SELECT executions, used, held FROM plans WHERE account_id = $1",
            self.holder.account_number,
        )
        assert all(used >= 0 and held >= 0 and used + held <= n for n, used, held in found), found

    async def settle_all(self) -> None:
        """The last report of each lease arrives while it still holds its executions."""
        for client in self.clients:
            await self._send(client, client.report(closes=True))

    async def counted(self) -> int:
        found = await rows(
            self.url,
            "SELECT sum(used)::bigint FROM plans WHERE account_id = $1",
            self.holder.account_number,
        )
        return found[0][0]


class Answer:
    def __init__(self, decision: Accepted) -> None:

        self.body: Any = msgspec.json.decode(decision.answer)
        self.executions: int = self.body["lease"]["executions"]
        self.expires_at = datetime.fromisoformat(self.body["lease"]["expires_at"])


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@settings(
    max_examples=examples(0.4),
    deadline=None,
)
@given(steps=st.lists(steps, min_size=5, max_size=40), is_prompt=st.booleans())
def test_leases_in_any_order(
    runner: asyncio.Runner, database_url: str, steps: list[Step], is_prompt: bool
) -> None:
    runner.run(_play(database_url, steps, is_prompt))


async def _play(url: str, steps: list[Step], is_prompt: bool) -> None:
    desk, database = Desk(url), Database(url)
    try:
        scene = Scene(desk, url)
        await scene.play(Step("open", executions=15, seconds=600))
        for step in steps:
            await scene.play(step)
            await scene.check()
        if not is_prompt:
            scene.now += timedelta(seconds=900 + WINDOW_SECONDS)
        before = await scene.counted()
        await scene.settle_all()
        await scene.check()
        decided = sum(sum(client.decided.values()) for client in scene.clients)
        counted = await scene.counted()
        lost = await rows(
            url,
            "SELECT coalesce(sum(unsettled), 0)::bigint FROM leases WHERE account_id = $1",
            scene.holder.account_number,
        )
        # What came in time counts exactly; what did not is a difference, to the execution.
        assert counted == scene.consumed + decided - lost[0][0]
        assert counted >= before
        differences = await verify(database)
        assert [each for each in differences if each.account_id == scene.holder.account_id] == []
    finally:
        await desk.close()
        await database.dispose()

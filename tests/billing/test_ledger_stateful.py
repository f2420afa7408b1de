"""The whole service on real PostgreSQL against brute force, in any order of operations."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from billing_app.billing import ids
from billing_app.billing.accounts.service import add_plan
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.receipts import read_receipt
from billing_app.billing.executions.requests import Decision
from billing_app.billing.executions.service import Executions
from billing_app.billing.executions.verification import verify
from billing_app.billing.plans.service import PlanState, PlanView, read_current, read_history
from billing_app.billing.plans.trials import TrialTerms
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.adjustments import ADJUST, Adjustment
from billing_app.billing.staff.repairs.refunds import REFUND, RefundOne, read_refunded
from billing_app.billing.staff.repairs.repair import RepairServices
from billing_app.billing.staff.repairs.service import carry_out, undo
from billing_app.billing.usage.service import Days, GroupBy, list_events, read_daily
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason
from tests.billing.model import ModelAccount, ModelPlan, Outcome
from tests.billing.operations import (
    NOWHERE,
    Operation,
    Repair,
    Tenant,
    check_operations,
    expected_of,
    few,
    indexes,
    operations,
    request_of,
    tenants,
)
from tests.billing.profiles import examples
from tests.billing.service import BALANCES, PARTS, Service
from tests.conftest import PUBLIC
from tests.factories import OPERATOR, PLATFORM_SERVICE, connect, organization

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
NOBODY: Any = None


class LedgerMachine(RuleBasedStateMachine):
    service: Service

    def __init__(self) -> None:
        super().__init__()
        self.tenants = [self._tenant(5, 4), self._tenant(7)]

    @rule(operation=operations)
    def one(self, operation: Operation) -> None:
        decided = self._decide(PLATFORM_SERVICE, [operation], together=False)
        assert decided == self._expect([operation])

    @rule(batch=st.lists(operations, min_size=1, max_size=6))
    def in_one_batch(self, batch: list[Operation]) -> None:
        decided = self._decide(PLATFORM_SERVICE, batch, together=True)
        assert decided == self._expect(batch)

    @rule(batch=st.lists(operations.filter(lambda o: o.kind != "check"), min_size=2, max_size=6))
    def at_the_same_time(self, batch: list[Operation]) -> None:
        decided = self._decide(PLATFORM_SERVICE, batch, together=False)
        assert decided == self._expect(batch)

    @rule(operation=check_operations, times=st.integers(2, 4))
    def the_same_request_at_the_same_time(self, operation: Operation, times: int) -> None:
        batch = [operation] * times
        decided = self._decide(PLATFORM_SERVICE, batch, together=False)
        if operation.kind != "check":
            assert decided == self._expect(batch)

    @rule(tenant=tenants, index=st.integers(0, 3), executions=st.integers(-6, 6).filter(bool))
    def staff_adjust(self, tenant: int, index: int, executions: int) -> None:
        account = self._touch(tenant)
        plan_id = ids.encode(ids.PLAN, account.holder.account_number, index + 1)
        about: dict[str, Any] = {"reason": "Wrong", "now": datetime.now(UTC)}
        work = carry_out(
            self._services(),
            OPERATOR,
            ADJUST,
            plan_id,
            Adjustment(executions=executions),
            **about,
        )
        expected = account.model.adjust(index + 1, executions, datetime.now(UTC))
        self._repair(account, work, expected)

    @rule(tenant=tenants, index=indexes, executions=st.none() | few)
    def staff_refund(self, tenant: int, index: int, executions: int | None) -> None:
        account = self._touch(tenant)
        number = account.events[index] if index < len(account.events) else NOWHERE
        event_id = ids.encode(ids.EVENT, account.holder.account_number, number)
        about: dict[str, Any] = {"reason": "Failed", "now": datetime.now(UTC)}
        work = carry_out(
            self._services(),
            OPERATOR,
            REFUND,
            event_id,
            RefundOne(executions=executions),
            **about,
        )
        key = f"staff {len(account.model.keys)}"
        expected = account.model.refund(index, executions, key, "Failed", datetime.now(UTC))
        self._repair(account, work, expected)

    @rule(tenant=tenants, index=indexes)
    def staff_undo(self, tenant: int, index: int) -> None:
        account = self._touch(tenant)
        if index >= len(account.repairs):
            return
        repair = account.repairs[index]
        work = undo(self._services(), OPERATOR, repair.entry.id, reason="No", now=datetime.now(UTC))
        now = datetime.now(UTC)
        if repair.entry.action == Action.REFUND:
            expected = account.model.take_back(repair.index, now)
        else:
            used: int = repair.entry.after["executions"]
            sequence = ids.decode(ids.PLAN, repair.entry.subject)
            assert sequence is not None
            expected = account.model.adjust(sequence[1], -used, now)
        if self._repair(account, work, expected):
            account.repairs.pop()
            account.repairs.remove(repair)

    def _services(self) -> RepairServices:
        return RepairServices(self.service.database, self.service.executions, NOBODY, NOBODY)

    def _repair(
        self, account: Tenant, work: Coroutine[Any, Any, EntryView], expected: Outcome
    ) -> bool:
        """Run a repair, whose outcome must match the model's; True when it was done."""
        code, entry = "", None
        try:
            entry = self.service.run(work)
        except BillingError as error:
            code = error.code
        assert code == expected.code
        if entry is None:
            return False
        newest = "SELECT max(number) FROM execution_events WHERE account_id = $1"
        account.events.append(self.service.rows(newest, account.holder.account_number)[0][0])
        account.repairs.append(Repair(entry, len(account.events) - 1))
        return True

    @rule(tenant=tenants, index=indexes)
    def a_reservation_expires(self, tenant: int, index: int) -> None:
        account = self._touch(tenant)
        if index >= len(account.reservations):
            return
        now = datetime.now(UTC)
        self.service.execute(
            "UPDATE reservations SET expires_at = $3 WHERE account_id = $1 AND number = $2",
            account.holder.account_number,
            account.reservations[index],
            now,
        )
        account.model.reservations[index].expires_at = now

    @rule(
        tenant=tenants,
        executions=few,
        priority=st.sampled_from([100, 100, 50]),
        days=st.sampled_from([None, 1, 2]),
    )
    def a_plan_is_added(
        self, tenant: int, executions: int, priority: int, days: int | None
    ) -> None:
        account = self._touch(tenant)
        now = datetime.now(UTC)
        ends_at = None if days is None else now + timedelta(days=days)
        sequence = self.service.run(
            add_plan(
                self.service.database,
                OPERATOR,
                organization_id=account.holder.organization_id,
                executions=executions,
                now=now,
                ends_at=ends_at,
            )
        )
        self.service.execute(
            "UPDATE plans SET priority = $3 WHERE account_id = $1 AND sequence = $2",
            account.holder.account_number,
            sequence,
            priority,
        )
        account.model.plans.append(ModelPlan(sequence, [""] * executions, now, ends_at, priority))

    @rule(tenant=tenants, index=st.integers(0, 3))
    def a_payment_is_overdue_or_made(self, tenant: int, index: int) -> None:
        account = self._touch(tenant)
        if index < len(account.model.plans):
            plan = account.model.plans[index]
            plan.suspended_at = None if plan.suspended_at else datetime.now(UTC)
            self.service.execute(
                "UPDATE plans SET suspended_at = $3 WHERE account_id = $1 AND sequence = $2",
                account.holder.account_number,
                plan.sequence,
                plan.suspended_at,
            )

    @rule(tenant=tenants, index=st.integers(0, 3), end=st.booleans())
    def a_period_ends_or_is_postponed(self, tenant: int, index: int, *, end: bool) -> None:
        """Move an open plan's start to tomorrow or its end to now."""
        account = self._touch(tenant)
        if index >= len(account.model.plans):
            return
        plan = account.model.plans[index]
        now = datetime.now(UTC)
        account.model.pass_time(now)
        if plan.closed or plan.held or plan.ends_at:
            return
        if end:
            plan.starts_at, plan.ends_at = now - timedelta(days=1), now
        elif not plan.has_begun:
            plan.starts_at = now + timedelta(days=1)
        self.service.execute(
            "UPDATE plans SET starts_at = $3, ends_at = $4 WHERE account_id = $1 AND sequence = $2",
            account.holder.account_number,
            plan.sequence,
            plan.starts_at,
            plan.ends_at,
        )

    @rule(tenant=tenants, index=st.integers(0, 3))
    def a_postponed_plan_starts(self, tenant: int, index: int) -> None:
        account = self._touch(tenant)
        now = datetime.now(UTC)
        if index < len(account.model.plans) and account.model.plans[index].starts_at > now:
            plan = account.model.plans[index]
            plan.starts_at = now
            self.service.execute(
                "UPDATE plans SET starts_at = $3 WHERE account_id = $1 AND sequence = $2",
                account.holder.account_number,
                plan.sequence,
                now,
            )

    @invariant()
    def balances_and_views_match_the_model(self) -> None:
        for tenant in self.tenants:
            if tenant.is_touched:
                tenant.is_touched = False
                now = datetime.now(UTC)
                tenant.model.pass_time(now)
                balances = [
                    (p.sequence, p.used, p.held, _ended(p, now)) for p in tenant.model.plans
                ]
                assert self.service.rows(BALANCES, tenant.holder.account_number, now) == balances
                self.service.run(self._check_views(tenant, now))

    def teardown(self) -> None:
        assert self.service.run(verify(self.service.database)) == []

    async def _check_views(self, tenant: Tenant, now: datetime) -> None:
        database, account_id = self.service.database, tenant.holder.account_id
        history = await read_history(database, OPERATOR, account_id, now=now)
        current = await read_current(database, OPERATOR, account_id, now)
        remaining = tenant.model.remaining(now)
        assert current.executions_remaining == remaining
        begun = [p for p in tenant.model.plans if p.starts_at <= now or _ended(p, now)]
        assert (current.plan is not None) == bool(begun)
        assert [view.sequence for view in history.items] == [
            plan.sequence for plan in reversed(tenant.model.plans)
        ]
        for view, plan in zip(reversed(history.items), tenant.model.plans, strict=True):
            _check_plan_view(view, plan, now)
        free = [p for p in tenant.model.plans if p.is_usable(now) and "" in p.units]
        free = _queue(free)
        if free:  # what is shown as in force is what the next execution is taken from
            assert current.plan is not None
            assert current.plan.sequence == free[0].sequence
            shown = {current.plan.sequence} | {view.sequence for view in current.upcoming}
            assert shown >= {plan.sequence for plan in free}
            turns = [view.sequence for view in current.upcoming]
            assert turns == [p.sequence for p in _queue(tenant.model.plans) if p.sequence in turns]
        today = now.date()
        days = Days(today - timedelta(days=1), today)
        daily = await read_daily(database, OPERATOR, account_id, days=days, group_by=GroupBy.DAY)
        events = await list_events(database, OPERATOR, account_id, limit=200)
        used = sum(plan.used for plan in tenant.model.plans)
        assert sum(row.used - row.refunded for row in daily) == used
        assert sum(event.executions for event in events.items) == used
        await self._check_refunds(tenant)

    async def _check_refunds(self, tenant: Tenant) -> None:
        """In SQL (for lists) as in Python (for receipts), and as in the model."""
        database, account = self.service.database, tenant.holder
        model = tenant.model
        refunded = await read_refunded(database, OPERATOR, account.account_id, tenant.events)
        for index, number in enumerate(tenant.events):
            event_id = ids.encode(ids.EVENT, account.account_number, number)
            receipt = await read_receipt(database, OPERATOR, event_id)
            assert receipt.executions_refunded == refunded.get(number, 0)
            if index in model.refundable:
                left = sum(model.refundable[index].values())
                assert receipt.executions_refunded == model.events[index] - left

    def _touch(self, index: int) -> Tenant:
        self.tenants[index].is_touched = True
        return self.tenants[index]

    def _tenant(self, *executions: int) -> Tenant:
        holder = organization(self.service.database.url, *executions)
        now = datetime.now(UTC) - timedelta(hours=1)
        plans = [ModelPlan(n, [""] * count, now, None) for n, count in enumerate(executions, 1)]
        return Tenant(holder, ModelAccount(plans))

    def _decide(self, actor: Any, batch: list[Operation], *, together: bool) -> list[Outcome]:
        requests = [request_of(each, self._touch(each.tenant)) for each in batch]

        async def decide() -> Sequence[Decision]:
            if together:
                return await self.service.executions.decide_each(actor, requests)
            waiting = [self.service.executions.decide(actor, request) for request in requests]
            return await asyncio.gather(*waiting)

        decisions = self.service.run(decide())
        return [
            self._outcome(operation, decision)
            for operation, decision in zip(batch, decisions, strict=True)
        ]

    def _outcome(self, operation: Operation, decision: Decision) -> Outcome:
        tenant = self.tenants[operation.tenant]
        if isinstance(decision, BillingError):
            remaining: Any = decision.extensions.get("executions_remaining")
            return Outcome(decision.code, remaining=remaining)
        answer = msgspec.json.decode(decision.answer)
        event = ids.decode(ids.EVENT, answer["event_id"] or "")
        held = None
        if answer.get("mode") == "reserve":
            held = ids.decode(ids.RESERVATION, answer["reservation"]["id"])
        _remember(tenant.events, event)
        _remember(tenant.reservations, held)
        event_number, held_number = event[1] if event else None, held[1] if held else None
        account = tenant.holder.account_number
        parts = self.service.rows(PARTS, account, event_number, held_number)
        executions, remaining = answer["executions"], answer["executions_remaining"]
        return Outcome("", decision.replayed, executions, remaining, tuple(parts))

    def _expect(self, batch: list[Operation]) -> list[Outcome]:
        now = datetime.now(UTC)
        # A caller learns an id with the answer: within a batch only earlier ones can be named.
        known = [(len(t.model.reservations), len(t.model.events)) for t in self.tenants]
        return [
            expected_of(each, self.tenants[each.tenant].model, known[each.tenant], now)
            for each in batch
        ]


def _check_plan_view(view: PlanView, plan: ModelPlan, now: datetime) -> None:
    because = _ended(plan, now)
    assert (view.used, view.held, view.ended_because) == (plan.used, plan.held, because)
    assert (view.state is PlanState.ENDED) == (because is not None)
    assert (view.ended_at is None) == (because is None)
    assert (view.began_at is None) == (view.began_because is None)
    if plan.used or plan.held:
        assert view.began_at is not None
    if plan.starts_at > now and because is None:
        assert view.state is PlanState.UPCOMING


def _queue(plans: list[ModelPlan]) -> list[ModelPlan]:
    return sorted(plans, key=lambda plan: plan.turn)


def _ended(plan: ModelPlan, now: datetime) -> EndReason | None:
    has_ended = plan.ends_at is not None and plan.ends_at <= now
    return plan.closed or (EndReason.PERIOD_ENDED if has_ended else None)


def _remember(numbers: list[int], pair: tuple[int, int] | None) -> None:
    if pair is not None and pair[1] not in numbers:
        numbers.append(pair[1])


@pytest.fixture
def service(own_database_url: str) -> Iterator[Service]:
    from billing_app.billing.executions import store

    terms = TrialTerms(public_organization_id=PUBLIC, executions=10, days=None)
    with asyncio.Runner() as runner:
        connection = runner.run(store.connect(own_database_url))
        # Of a plan made once for all values, a cluster cannot tell the shard.
        runner.run(connection.execute("SET plan_cache_mode = force_custom_plan"))
        database = Database(own_database_url)
        executions = Executions(own_database_url, terms)
        yield Service(runner, executions, database, connection)
        runner.run(executions.close())
        runner.run(database.dispose())
        runner.run(connection.close(timeout=1))


def test_any_interleaving_agrees_with_brute_force(service: Service) -> None:
    # What survives a crash is another test's; here it only takes time.
    with connect(service.database.url) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')  # pyright: ignore[reportArgumentType, reportCallIssue]
    machine = type("Machine", (LedgerMachine,), {"service": service})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples(0.25), phases=PHASES)
    )

"""`decide` against brute force, however the requests are cut into batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.requests import (
    Adjust,
    Commit,
    Decision,
    Mode,
    Refund,
    Release,
    Request,
)
from billing_app.billing.executions.state import PlanBalance
from billing_app.db.enums import EndReason, EventKind
from tests.billing.memory_ledger import MemoryLedger
from tests.billing.model import NO_PLAN, ModelAccount, ModelPlan, Outcome
from tests.factories import NOW, PLATFORM, check_request, plan

CHUNK = timedelta(milliseconds=10)
NOWHERE = 2**40
Balance = tuple[int, int, int, int, str | None]


@dataclass(frozen=True, slots=True)
class PlanDraw:
    executions: int
    starts_second: int
    lasts_seconds: int | None
    priority: int = 100
    overdue_second: int | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """`index` names one of the account's reservations or events, oldest first."""

    kind: str
    account: int
    executions: int | None
    key: str = ""
    body: str = ""
    hold_seconds: int = 1
    index: int = 0


# Rounds begin at even seconds; plans and reservations end at odd ones. So a batch can be cut into
# pieces that are milliseconds apart without anything ending in between.
odd_seconds = st.integers(0, 8).map(lambda number: number * 2 + 1)
plan_draws = st.builds(
    PlanDraw,
    executions=st.integers(0, 9),
    starts_second=st.sampled_from([-1, -1, -1, -5, 3, 7]),
    lasts_seconds=st.none() | st.integers(1, 10).map(lambda number: number * 2),
    priority=st.sampled_from([100, 100, 100, 50]),
    overdue_second=st.sampled_from([None, None, None, -1, 3]),
)
accounts = st.lists(st.lists(plan_draws, max_size=4), min_size=1, max_size=3)
account_numbers = st.integers(0, 2)
few = st.integers(1, 7)
check_operations = st.builds(
    Operation,
    kind=st.sampled_from(["consume", "consume", "reserve", "check"]),
    account=account_numbers,
    executions=few,
    key=st.sampled_from("abcdefgh"),
    body=st.sampled_from(["", "", "", "other"]),
    hold_seconds=odd_seconds,
)
followers = st.builds(
    Operation,
    kind=st.sampled_from(["commit", "commit", "release", "refund", "refund"]),
    account=account_numbers,
    executions=st.none() | few,
    key=st.sampled_from(["", "", "a", "z"]),
    body=st.sampled_from(["wrong", "late"]),
    index=st.integers(0, 6),
)
# `index` is a plan's place when staff adjust, and an event's when they take a refund back.
corrections = st.builds(
    Operation,
    kind=st.sampled_from(["adjust", "adjust", "take_back"]),
    account=account_numbers,
    executions=st.integers(-7, 7).filter(bool),
    index=st.integers(0, 6),
)
operations = st.lists(
    st.one_of(check_operations, check_operations, followers, followers, corrections),
    min_size=1,
    max_size=8,
)
rounds = st.lists(st.tuples(st.integers(0, 3), operations), min_size=1, max_size=6)
cuts = st.lists(st.integers(1, 5), min_size=1, max_size=4)


class Run:
    """One program on `decide`, cut into batches."""

    def __init__(self, drawn: list[list[PlanDraw]], cut: list[int]) -> None:
        self.ledger = MemoryLedger(*[_plans(plans) for plans in drawn])
        self.cut = cut
        self.made: dict[str, list[int]] = {}
        self.taken_back: set[tuple[int, int]] = set()

    def round(self, second: float, operations: list[Operation]) -> list[Outcome]:
        requests = [self._request(operation) for operation in operations]
        outcomes: list[Outcome] = []
        for number, chunk in enumerate(_chunks(requests, self.cut)):
            now = NOW + timedelta(seconds=second) + number * CHUNK
            events, reservations = len(self.ledger.events), set(self.ledger.reservations)
            decisions = self.ledger.decide(chunk, now)
            outcomes.extend(self._outcome(decision) for decision in decisions)
            for row in self.ledger.events[events:]:
                self._remember(f"event {row.account_id}", row.number)
            for account, made in sorted(set(self.ledger.reservations) - reservations):
                self._remember(f"reservation {account}", made)
        return outcomes

    def balances(self, second: float) -> list[Balance]:
        return [
            (account, plan.sequence, plan.used, plan.held, _ended(plan.ended_because, plan, second))
            for account, plans in self.ledger.plans.items()
            for plan in plans.values()
        ]

    def _remember(self, kind: str, number: int) -> None:
        numbers = self.made.setdefault(kind, [])
        if number not in numbers:
            numbers.append(number)

    def _request(self, operation: Operation) -> Request:
        number = operation.account % len(self.ledger.plans) + 1
        if operation.kind in {"consume", "reserve", "check"}:
            assert operation.executions is not None
            return check_request(
                Mode(operation.kind),
                operation.executions,
                operation.key,
                organization_id="org" if number == 1 else f"org{number}",
                workflow=operation.body,
                hold_seconds=operation.hold_seconds,
            )
        if operation.kind == "adjust":
            assert operation.executions is not None
            return Adjust(number, [(operation.index + 1, operation.executions)], "")
        if operation.kind == "take_back":
            return self._take_back(number, operation.index)
        kind = "event" if operation.kind == "refund" else "reservation"
        made = self.made.get(f"{kind} {number}", [])
        target = made[operation.index] if operation.index < len(made) else NOWHERE
        if operation.kind == "commit":
            return Commit(number, target, operation.executions, PLATFORM)
        if operation.kind == "release":
            return Release(number, target, PLATFORM)
        return Refund(number, target, operation.executions, operation.body, operation.key, PLATFORM)

    def _take_back(self, account: int, index: int) -> Adjust:
        """Undo each refund once; in the product the audit log ensures that."""
        made = self.made.get(f"event {account}", [])
        number = made[index] if index < len(made) else NOWHERE
        rows = [
            row
            for row in self.ledger.events
            if (row.account_id, row.number, row.kind) == (account, number, EventKind.REFUND)
            and (account, number) not in self.taken_back
        ]
        self.taken_back.add((account, number))
        parts = [(row.plan_sequence, -row.executions) for row in rows] or [(NO_PLAN, 1)]
        return Adjust(account, parts, "", refers_to=rows[0].refers_to if rows else None)

    def _outcome(self, decision: Decision) -> Outcome:
        if isinstance(decision, BillingError):
            remaining: Any = decision.extensions.get("executions_remaining")
            return Outcome(decision.code, remaining=remaining)
        answer = msgspec.json.decode(decision.answer)
        parts = self.ledger.parts(answer["event_id"]) if answer.get("event_id") else []
        if answer.get("mode") == "reserve":
            pair = ids.decode(ids.RESERVATION, answer["reservation"]["id"])
            assert pair is not None
            reserved = self.ledger.reservations[pair].parts
            parts = [(part.plan_sequence, part.executions) for part in reserved]
        return Outcome(
            "",
            decision.replayed,
            answer["executions"],
            answer["executions_remaining"],
            tuple(sorted(parts)),
        )


class ModelRun:
    """The same program on the model, one operation after another."""

    def __init__(self, drawn: list[list[PlanDraw]]) -> None:
        self.accounts = [
            ModelAccount(
                [
                    ModelPlan(
                        p.sequence,
                        [""] * p.executions,
                        p.starts_at,
                        p.ends_at,
                        p.priority,
                        p.suspended_at,
                    )
                    for p in _plans(plans)
                ]
            )
            for plans in drawn
        ]
        self.taken_back: set[tuple[int, int]] = set()

    def round(self, second: float, operations: list[Operation]) -> list[Outcome]:
        now = NOW + timedelta(seconds=second)
        # A caller learns an id with the answer: within a round only earlier ones can be named.
        known = [(len(a.reservations), len(a.events)) for a in self.accounts]
        for account in self.accounts:
            account.pass_time(now)
        outcomes: list[Outcome] = []
        for operation in operations:
            number = operation.account % len(self.accounts)
            account = self.accounts[number]
            executions, key = operation.executions, operation.key
            body = (operation.body, operation.hold_seconds)
            reservations, events = known[number]
            match operation.kind:
                case "consume":
                    assert executions is not None
                    outcome = account.consume(executions, key, body, now)
                case "reserve":
                    assert executions is not None
                    hold = timedelta(seconds=operation.hold_seconds)
                    outcome = account.reserve(executions, key, body, hold, now)
                case "check":
                    assert executions is not None
                    outcome = account.check(executions, now)
                case "refund":
                    index = operation.index if operation.index < events else NOWHERE
                    outcome = account.refund(index, executions, key, operation.body, now)
                case "adjust":
                    assert executions is not None
                    outcome = account.adjust(operation.index + 1, executions, now)
                case "take_back":
                    index = operation.index if operation.index < events else NOWHERE
                    is_first = (number, index) not in self.taken_back
                    self.taken_back.add((number, index))
                    outcome = account.take_back(index if is_first else NOWHERE, now)
                case action:
                    index = operation.index if operation.index < reservations else NOWHERE
                    outcome = account.settle(index, executions, action, now)
            outcomes.append(outcome)
        return outcomes

    def balances(self, second: float) -> list[Balance]:
        return [
            (number, plan.sequence, plan.used, plan.held, _ended(plan.closed, plan, second))
            for number, account in enumerate(self.accounts, 1)
            for plan in account.plans
        ]


@given(drawn=accounts, program=rounds, cut=cuts)
def test_decisions_match_brute_force_for_any_batch_sizes(
    drawn: list[list[PlanDraw]], program: list[tuple[int, list[Operation]]], cut: list[int]
) -> None:
    model = ModelRun(drawn)
    whole, pieces, singles = Run(drawn, [1000]), Run(drawn, cut), Run(drawn, [1])
    second = 0.0
    for pause, operations in program:
        second += pause * 2 + 0.1
        expected = model.round(second, operations)
        for run in (whole, pieces, singles):
            assert run.round(second, operations) == expected
            assert run.balances(second) == model.balances(second)
    for run in (whole, pieces, singles):
        _assert_ledger_adds_up(run.ledger)


@given(drawn=accounts, program=rounds)
def test_never_over_consumed_and_balance_is_ledger_after_every_batch(
    drawn: list[list[PlanDraw]], program: list[tuple[int, list[Operation]]]
) -> None:
    run = Run(drawn, [1000])
    for second, (pause, operations) in enumerate(program):
        run.round(second * 10 + pause * 2, operations)
        _assert_ledger_adds_up(run.ledger)


def _assert_ledger_adds_up(ledger: MemoryLedger) -> None:
    for account, plans in ledger.plans.items():
        for kept in plans.values():
            assert kept.used >= 0
            assert kept.held >= 0
            assert kept.used + kept.held <= kept.executions
            rows = [
                row
                for row in ledger.events
                if (row.account_id, row.plan_sequence) == (account, kept.sequence)
            ]
            assert kept.used == sum(row.executions for row in rows)
            assert [row.plan_used_after for row in rows] == _running(rows)
            assert kept.held == sum(
                part.executions
                for reservation in ledger.reservations.values()
                if reservation.account_id == account and reservation.status == "held"
                for part in reservation.parts
                if part.plan_sequence == kept.sequence
            )


def _ended(because: str | None, plan: PlanBalance | ModelPlan, second: float) -> str | None:
    """Why it ended; an end by the clock may be written by a later decision."""
    has_ended = plan.ends_at is not None and plan.ends_at <= NOW + timedelta(seconds=second)
    return because or (EndReason.PERIOD_ENDED if has_ended else None)


def _running(rows: Sequence[Any]) -> list[int]:
    total, sums = 0, []
    for row in rows:
        total += row.executions
        sums.append(total)
    return sums


def _plans(drawn: list[PlanDraw]) -> list[PlanBalance]:
    plans: list[PlanBalance] = []
    for sequence, draw in enumerate(drawn, 1):
        starts_at = NOW + timedelta(seconds=draw.starts_second)
        lasts = draw.lasts_seconds
        overdue = draw.overdue_second
        more: dict[str, Any] = {
            "starts_at": starts_at,
            "ends_at": None if lasts is None else starts_at + timedelta(seconds=lasts),
            "priority": draw.priority,
            "suspended_at": None if overdue is None else NOW + timedelta(seconds=overdue),
        }
        plans.append(plan(sequence, draw.executions, **more))
    return plans


def _chunks(requests: list[Request], cut: list[int]) -> list[list[Request]]:
    chunks: list[list[Request]] = []
    while requests:
        size = cut[len(chunks) % len(cut)]
        chunks.append(requests[:size])
        requests = requests[size:]
    return chunks

"""Undoing brings every figure back, whatever repairs there were, and whatever was used between."""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from billing_app.billing.errors import BillingError, ConflictError
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs import (
    adjustments,
    grants,
    refunds,
    stops,
    trial_extensions,
)
from billing_app.billing.staff.repairs.refunds import EventRange
from billing_app.composition import Services, build_services
from billing_app.db.enums import StaffRole
from billing_app.settings import Settings
from tests.billing.profiles import examples
from tests.factories import connect, organization, person, public_organization, staff_member, trial
from tests.staff.staff_services import WHY, Customer

T = TypeVar("T")
WORKFLOWS = ("good", "broken")


@dataclass(frozen=True)
class Step:
    """`number` counts executions or names a plan or an event, as the kind needs it."""

    kind: str
    number: int


repairs = st.builds(
    Step,
    kind=st.sampled_from(
        [
            "grant",
            "grant that ends",
            "more used",
            "fewer used",
            "refund",
            "refund part",
            "refund range",
            "pause",
            "resume",
            "block",
            "unblock",
            "extend",
            "extend to an end",
        ]
    ),
    number=st.integers(1, 12),
)
EACH = [
    Step(kind, 1)
    for kind in ("pause", "resume", "block", "unblock", "grant", "refund", "fewer used", "extend")
]
uses = st.builds(Step, kind=st.just("use"), number=st.integers(1, 6))


class StaffDriver:
    """What staff do to one account, with an event loop of its own."""

    def __init__(self, services: Services, runner: asyncio.Runner) -> None:
        self.services = services
        self.runner = runner
        self.actor = staff_member(services.database.url, StaffRole.BILLING)
        self.began = datetime.now(UTC) - timedelta(minutes=1)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def customer(self, *, on_trial: bool) -> Customer:
        url = self.services.database.url
        if not on_trial:
            return Customer(self.services, organization(url, 20, 30))
        user_id = person(url).user_id
        return Customer(self.services, trial(url, user_id, 40), user_id)

    def use(self, customer: Customer, executions: int) -> str:
        """The event's id; "" when it was refused."""
        workflow = WORKFLOWS[executions % 2]
        return self.run(customer.use(executions, workflow=workflow)).get("event_id", "")

    def repair(self, customer: Customer, step: Step, events: list[str]) -> EntryView | None:
        """None when it was refused."""
        try:
            return self.run(self._repair(customer, step, events))
        except BillingError:
            return None

    async def _repair(  # noqa: PLR0911 - one for each kind
        self, customer: Customer, step: Step, events: list[str]
    ) -> EntryView:
        database, executions = self.services.database, self.services.executions
        now, number = datetime.now(UTC), step.number
        about: dict[str, Any] = {"reason": WHY, "now": now}
        plan_id = customer.plan_id((number - 1) % 2 + 1)
        event_id = events[number % len(events)] if events else ""
        later = now + timedelta(days=number)
        match step.kind:
            case "grant" | "grant that ends":
                end = later if step.kind == "grant that ends" else None
                return await grants.grant_executions(
                    database, self.actor, customer.id, executions=number, ends_at=end, **about
                )
            case "more used" | "fewer used":
                used = number if step.kind == "more used" else -number
                return await adjustments.adjust_executions(
                    executions, self.actor, plan_id, used=used, **about
                )
            case "refund" | "refund part":
                count = 1 if step.kind == "refund part" else None
                return await refunds.refund_event(
                    executions, self.actor, event_id, count=count, **about
                )
            case "refund range":
                found = EventRange(WORKFLOWS[number % 2], self.began, now + timedelta(minutes=1))
                return await refunds.refund_range(
                    executions, self.actor, customer.id, found, **about
                )
            case "pause":
                return await stops.pause_plan(database, self.actor, plan_id, **about)
            case "resume":
                return await stops.resume_plan(database, self.actor, plan_id, **about)
            case "block":
                return await stops.block_account(database, self.actor, customer.id, **about)
            case "unblock":
                return await stops.unblock_account(database, self.actor, customer.id, **about)
            case _:
                end = later if step.kind == "extend to an end" else None
                return await trial_extensions.extend_trial(
                    database, self.actor, customer.id, executions=number, ends_at=end, **about
                )

    def undo(self, customer: Customer, entry: EntryView) -> None:
        self.run(customer.undo(self.actor, entry))


@pytest.fixture
def hand(own_database_url: str, settings: Settings) -> Iterator[StaffDriver]:
    public_organization(own_database_url)
    with connect(own_database_url) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')  # pyright: ignore[reportArgumentType, reportCallIssue]
    services = build_services(settings, own_database_url)
    with asyncio.Runner() as runner:
        yield StaffDriver(services, runner)
        runner.run(services.close())


def give_trial_an_end(customer: Customer) -> None:
    customer.rows(
        "UPDATE plans SET ends_at = now() + interval '1 hour'"
        " WHERE account_id = %s AND type = 'trial' RETURNING 1"
    )


def use_by_day(customer: Customer) -> list[tuple[Any, ...]]:
    """Day, workflow and net use: the twin is somebody else."""
    return [(day, workflow, used) for day, workflow, _, used in customer.figures()["daily"]]


def test_undone_backwards_each_leaves_what_was_before_it(hand: StaffDriver) -> None:
    undone: set[str] = set()

    @settings(max_examples=examples(0.3))
    @given(
        on_trial=st.booleans(),
        ends=st.booleans(),
        used=st.lists(uses, max_size=6),
        program=st.lists(repairs, min_size=1, max_size=8),
    )
    @example(on_trial=True, ends=False, used=[Step("use", 3), Step("use", 4)], program=EACH)
    def check(on_trial: bool, ends: bool, used: list[Step], program: list[Step]) -> None:
        customer = hand.customer(on_trial=on_trial)
        if ends:
            give_trial_an_end(customer)
        events = [event for step in used if (event := hand.use(customer, step.number))]
        stack: list[tuple[dict[str, Any], int, EntryView]] = []
        for step in program:
            before, remaining = customer.figures(), hand.run(customer.remaining())
            entry = hand.repair(customer, step, events)
            if entry is not None:
                stack.append((before, remaining, entry))
                undone.add(entry.action)
            else:
                assert customer.figures() == before, "a refused repair changes nothing"
        for before, remaining, entry in reversed(stack):
            hand.undo(customer, entry)
            assert customer.figures() == before, entry.action
            assert hand.run(customer.remaining()) == remaining
        hand.run(customer.agrees())

    check()
    assert len(undone) == 8, "every kind of repair was done and undone"


def test_undone_in_any_order_with_use_between_nothing_is_left(hand: StaffDriver) -> None:
    """A twin that only uses ends with the same figures, when nothing stood in the way of an
    undoing; what stands in the way is a conflict."""
    whole = 0

    @settings(max_examples=examples(0.3))
    @given(
        on_trial=st.booleans(),
        program=st.lists(st.one_of(repairs, repairs, uses), min_size=2, max_size=10),
        order=st.randoms(use_true_random=False),
    )
    def check(on_trial: bool, program: list[Step], order: Any) -> None:
        nonlocal whole
        customer, twin = (hand.customer(on_trial=on_trial) for _ in range(2))
        events: list[str] = []
        entries: list[EntryView] = []
        for step in program:
            if step.kind == "use":
                event = hand.use(customer, step.number)
                if event:
                    events.append(event)
                    assert hand.use(twin, step.number)
            else:
                entry = hand.repair(customer, step, events)
                entries.extend([entry] if entry else [])
        order.shuffle(entries)
        conflicts = 0
        for entry in entries:
            try:
                hand.undo(customer, entry)
            except ConflictError:
                conflicts += 1
        if not conflicts:
            whole += bool(entries and events)
            assert use_by_day(customer) == use_by_day(twin)
            assert customer.figures()["account"] == twin.figures()["account"]
            assert hand.run(customer.remaining()) == hand.run(twin.remaining())
        hand.run(customer.agrees())

    check()
    assert whole > 0

"""The rules of counting once more, by brute force: each execution is a unit that someone holds.

Slow, and with no sum anywhere that could be wrong: what a plan has used is how many of its
units say so. `decide` and the whole service are compared with it.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from billing_app.db.enums import EndReason

FREE = ""
NO_PLAN = 999


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer; `code` is empty when accepted, `parts` are (sequence, executions)."""

    code: str = ""
    replayed: bool = False
    executions: int = 0
    remaining: int | None = None
    parts: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class ModelPlan:
    sequence: int
    units: list[str]
    starts_at: datetime
    ends_at: datetime | None
    priority: int = 100
    suspended_at: datetime | None = None
    closed: EndReason | None = None
    has_begun: bool = False

    @property
    def turn(self) -> tuple[int, float, int]:
        """Sorts plans in the order in which they are used: what ends first, within a priority."""
        end = self.ends_at.timestamp() if self.ends_at else float("inf")
        return self.priority, end, self.sequence

    def is_in_period(self, now: datetime) -> bool:
        begun = self.starts_at <= now
        return self.closed is None and begun and (self.ends_at is None or now < self.ends_at)

    def is_suspended(self, now: datetime) -> bool:
        return self.suspended_at is not None and self.suspended_at <= now

    def is_usable(self, now: datetime) -> bool:
        return self.is_in_period(now) and not self.is_suspended(now)

    def count(self, owner: str) -> int:
        return sum(unit.startswith(owner) for unit in self.units)

    @property
    def used(self) -> int:
        return self.count("event")

    @property
    def held(self) -> int:
        return self.count("reservation")


@dataclass(slots=True)
class ModelReservation:
    executions: int
    expires_at: datetime
    status: str = "held"
    settled_as: tuple[str, int] | None = None
    answer: Outcome | None = None


@dataclass(slots=True)
class ModelAccount:
    plans: list[ModelPlan]
    reservations: list[ModelReservation] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    refundable: dict[int, dict[int, int]] = field(default_factory=dict)
    refunds: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = field(default_factory=dict)
    keys: dict[str, tuple[object, Outcome]] = field(default_factory=dict)

    def consume(self, executions: int, key: str, body: object, now: datetime) -> Outcome:
        refusal = self._refusal(executions, key, ("consume", executions, body), now)
        if refusal:
            return refusal
        parts = self._mark(self._free_units(now)[:executions], f"event {len(self.events)}")
        self.refundable[len(self.events)] = dict(parts)
        self.events.append(executions)
        outcome = Outcome("", False, executions, self.remaining(now), parts)
        self.keys[key] = (("consume", executions, body), outcome)
        return outcome

    def reserve(
        self, executions: int, key: str, body: object, lifetime: timedelta, now: datetime
    ) -> Outcome:
        refusal = self._refusal(executions, key, ("reserve", executions, body), now)
        if refusal:
            return refusal
        owner = f"reservation {len(self.reservations)}"
        parts = self._mark(self._free_units(now)[:executions], owner)
        self.reservations.append(ModelReservation(executions, now + lifetime))
        outcome = Outcome("", False, executions, self.remaining(now), parts)
        self.keys[key] = (("reserve", executions, body), outcome)
        return outcome

    def check(self, executions: int, now: datetime) -> Outcome:
        self.pass_time(now)
        if self.remaining(now) < executions:
            return self._denial(now)
        return Outcome("", False, executions, self.remaining(now))

    def settle(self, index: int, executions: int | None, action: str, now: datetime) -> Outcome:
        """Commit (all when None) or release one reservation."""
        self.pass_time(now)
        if index >= len(self.reservations):
            return Outcome("reservation_not_found")
        reservation = self.reservations[index]
        requested = reservation.executions if executions is None else executions
        requested = 0 if action == "release" else requested
        if reservation.settled_as == (action, requested):
            assert reservation.answer is not None
            return replace(reservation.answer, replayed=True)
        if reservation.status != "held":
            expired = reservation.status == "expired"
            return Outcome("reservation_expired" if expired else "reservation_settled")
        if requested > reservation.executions:
            return Outcome("invalid_input")
        units = self._units(f"reservation {index}")
        self._mark(units, FREE)
        parts = self._mark(units[:requested], f"event {len(self.events)}") if requested else ()
        if requested:
            self.refundable[len(self.events)] = dict(parts)
            self.events.append(requested)
        reservation.status = "committed" if requested else "released"
        reservation.settled_as = (action, requested)
        reservation.answer = Outcome("", False, requested, self.remaining(now), parts)
        return reservation.answer

    def refund(
        self, index: int, executions: int | None, key: str, reason: str, now: datetime
    ) -> Outcome:
        self.pass_time(now)
        if index not in self.refundable:
            return Outcome("execution_not_found")
        body = ("refund", index, executions, reason)
        known = self.keys.get(key or str(body))
        if known:
            return self._again(known, body)
        units = self._to_give_back(index)
        requested = len(units) if executions is None else executions
        if requested > self.events[index]:
            return Outcome("invalid_input")
        if requested > len(units) or not units:
            return Outcome("refund_exceeds_event")
        parts = self._give_back(units[len(units) - requested :], now)
        for sequence, count in parts:
            self.refundable[index][sequence] -= count
        self.refunds[len(self.events)] = (index, parts)
        self.events.append(-requested)
        taken = tuple((sequence, -count) for sequence, count in parts)
        outcome = Outcome("", False, requested, self.remaining(now), taken)
        self.keys[key or str(body)] = (body, outcome)
        return outcome

    def adjust(self, sequence: int, executions: int, now: datetime) -> Outcome:
        """Staff correct what a plan has used: more, or fewer when negative."""
        return self._adjust(((sequence, executions),), now)

    def take_back(self, index: int, now: datetime) -> Outcome:
        """Staff undo a refund: its executions are used again and can be refunded again."""
        event, parts = self.refunds.get(index, (0, ((NO_PLAN, 1),)))
        outcome = self._adjust(parts, now)
        if not outcome.code:
            for sequence, count in parts:
                self.refundable[event][sequence] += count
        return outcome

    def _adjust(self, parts: tuple[tuple[int, int], ...], now: datetime) -> Outcome:
        self.pass_time(now)
        plans = {plan.sequence: plan for plan in self.plans}
        for sequence, executions in parts:
            if sequence not in plans:
                return Outcome("plan_unknown")
            free, used = plans[sequence].units.count(FREE), plans[sequence].used
            if executions > free or -executions > used:
                return Outcome("adjustment_exceeds_plan", remaining=free)
        for sequence, executions in parts:
            plan = plans[sequence]
            if executions > 0:
                free_units = [unit for unit in self._units(FREE) if unit[0] is plan]
                self._mark(free_units[:executions], f"event {len(self.events)}")
            else:
                self._give_back(_used_units(plan)[:-executions], now)
        self.events.append(0)
        total = sum(executions for _, executions in parts)
        return Outcome("", False, total, self.remaining(now), tuple(sorted(parts)))

    def _to_give_back(self, index: int) -> list[tuple[ModelPlan, int]]:
        """Units of what can still be refunded of an event, in the order of use. Any used units of
        a plan will do, but there are no more than those."""
        queue = sorted(self.plans, key=lambda plan: plan.turn)
        left = self.refundable[index]
        return [unit for plan in queue for unit in _used_units(plan)[: left.get(plan.sequence, 0)]]

    def _give_back(
        self, units: list[tuple[ModelPlan, int]], now: datetime
    ) -> tuple[tuple[int, int], ...]:
        """Reopen a plan that had ended only because it was depleted."""
        parts = self._mark(units, FREE)
        for plan in {id(plan): plan for plan, _ in units}.values():
            in_period = plan.ends_at is None or now < plan.ends_at
            if plan.closed is EndReason.DEPLETED and in_period:
                plan.closed = None
        return parts

    def remaining(self, now: datetime) -> int:
        return len(self._free_units(now))

    def pass_time(self, now: datetime) -> None:
        """Release expired reservations; close plans that have ended and hold nothing."""
        for index, reservation in enumerate(self.reservations):
            if reservation.status == "held" and reservation.expires_at <= now:
                reservation.status = "expired"
                self._mark(self._units(f"reservation {index}"), FREE)
        for plan in self.plans:
            has_ended = plan.ends_at is not None and plan.ends_at <= now
            if has_ended and plan.closed is None and not plan.held:
                plan.closed = EndReason.PERIOD_ENDED

    def _refusal(self, executions: int, key: str, body: object, now: datetime) -> Outcome | None:
        self.pass_time(now)
        known = self.keys.get(key)
        if known:
            return self._again(known, body)
        return self._denial(now) if self.remaining(now) < executions else None

    def _again(self, known: tuple[object, Outcome], body: object) -> Outcome:
        first_body, outcome = known
        if first_body != body:
            return Outcome("idempotency_key_reused")
        return replace(outcome, replayed=True)

    def _denial(self, now: datetime) -> Outcome:
        overdue = [p for p in self.plans if p.is_in_period(now) and p.is_suspended(now)]
        if not self.plans:
            code = "plan_not_found"
        elif any(FREE in plan.units for plan in overdue):
            code = "payment_past_due"
        else:
            code = "insufficient_executions"
        return Outcome(code, remaining=self.remaining(now))

    def _free_units(self, now: datetime) -> list[tuple[ModelPlan, int]]:
        return [(plan, i) for plan, i in self._units(FREE) if plan.is_usable(now)]

    def _units(self, owner: str) -> list[tuple[ModelPlan, int]]:
        """In the order in which plans are used."""
        queue = sorted(self.plans, key=lambda plan: plan.turn)
        return [(p, i) for p in queue for i, unit in enumerate(p.units) if unit == owner]

    def _mark(self, units: list[tuple[ModelPlan, int]], owner: str) -> tuple[tuple[int, int], ...]:
        """Give units to an owner; returns how many of each plan. A fully used plan closes."""
        parts: dict[int, int] = {}
        for plan, index in units:
            plan.units[index] = owner
            plan.has_begun = True
            parts[plan.sequence] = parts.get(plan.sequence, 0) + 1
            if plan.closed is None and plan.units and plan.used == len(plan.units):
                plan.closed = EndReason.DEPLETED
        return tuple(sorted(parts.items()))


def _used_units(plan: ModelPlan) -> list[tuple[ModelPlan, int]]:
    return [(plan, index) for index, unit in enumerate(plan.units) if unit.startswith("event")]

"""store.py with dicts instead of PostgreSQL: it loads and writes the same things."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.executions.decide import decide
from billing_app.billing.executions.event_rows import EventRow, Part
from billing_app.billing.executions.requests import Accepted, CheckRequest, Decision, Request
from billing_app.billing.executions.state import (
    AccountState,
    Changes,
    EventState,
    KnownAnswer,
    LedgerState,
    PlanBalance,
    ReservationState,
)
from billing_app.db.enums import EventKind, ReservationStatus


class MemoryLedger:
    """Accounts 1, 2, … belong to the organizations org, org2, …"""

    def __init__(self, *accounts: list[PlanBalance]) -> None:
        self.plans = {
            number: {plan.sequence: plan for plan in plans}
            for number, plans in enumerate(accounts, 1)
        }
        self.known: dict[tuple[int, str], KnownAnswer] = {}
        self.reservations: dict[tuple[int, int], ReservationState] = {}
        self.events: list[EventRow] = []
        self.numbers: set[tuple[int, int]] = set()
        self.denied: dict[str, int] = {}
        self.overage: dict[tuple[int, int], int] = {}

    def decide(self, requests: Sequence[Request], now: datetime) -> list[Decision]:
        """Decide a batch and keep its changes, as one transaction would."""
        ledger = self._load(requests, now)
        decisions, changes = decide(requests, ledger)
        self._apply(ledger, changes)
        return decisions

    def one(self, request: Request, now: datetime) -> Decision:
        return self.decide([request], now)[0]

    def accept(self, request: Request, now: datetime) -> dict[str, object]:
        """Decide a request that must be accepted; returns its answer."""
        decision = self.one(request, now)
        assert isinstance(decision, Accepted), decision
        return msgspec.json.decode(decision.answer)

    def refuse(self, request: Request, now: datetime) -> BillingError:
        decision = self.one(request, now)
        assert isinstance(decision, BillingError), decision
        return decision

    def parts(self, event_id: str) -> list[tuple[int, int]]:
        """(plan's sequence, executions) of an event."""
        pair = ids.decode(ids.EVENT, event_id)
        return [
            (row.plan_sequence, row.executions)
            for row in self.events
            if (row.account_id, row.number) == pair
        ]

    def _load(self, requests: Sequence[Request], now: datetime) -> LedgerState:
        ledger = LedgerState.empty(now)
        with_closed = {r.account_id for r in requests if not isinstance(r, CheckRequest)}
        for number, plans in self.plans.items():
            organization_id = "org" if number == 1 else f"org{number}"
            copies = [msgspec.structs.replace(plan) for _, plan in sorted(plans.items())]
            loaded = [p for p in copies if p.ended_at is None or p.held or number in with_closed]
            account = AccountState(number, organization_id, loaded)
            is_open = any(plan.ended_at is None for plan in loaded)
            account.last_closed = copies[-1] if copies and not is_open else None
            ledger.accounts[number] = account
            ledger.targets[organization_id, ""] = number
        ledger.known = dict(self.known)
        ledger.reservations = {
            key: msgspec.structs.replace(
                reservation, parts=[msgspec.structs.replace(part) for part in reservation.parts]
            )
            for key, reservation in self.reservations.items()
            if reservation.status == ReservationStatus.HELD or key[0] in with_closed
        }
        ledger.events = self._events()
        return ledger

    def _events(self) -> dict[tuple[int, int], EventState]:
        events: dict[tuple[int, int], EventState] = {}
        for row in sorted(self.events, key=lambda row: row.plan_sequence):
            key = (row.account_id, row.number)
            if row.kind in (EventKind.CONSUME, EventKind.COMMIT):
                state = events.setdefault(
                    key, EventState(*key, 0, row.workflow, row.user_id, parts=[])
                )
                state.executions += row.executions
                refunded = sum(
                    other.executions
                    for other in self.events
                    if other.kind in (EventKind.REFUND, EventKind.ADJUSTMENT)
                    and (other.account_id, other.refers_to) == key
                    and other.plan_sequence == row.plan_sequence
                )
                state.parts.append(Part(row.plan_sequence, row.executions + refunded))
        return events

    def _apply(self, ledger: LedgerState, changes: Changes) -> None:
        """Writes only what is flagged as changed, as the store does."""
        for account in ledger.accounts.values():
            for plan in account.plans:
                kept = self.plans[account.id][plan.sequence]
                if plan.moved or plan.turned:
                    kept.used, kept.held = plan.used, plan.held
                    kept.began_at = plan.began_at
                if plan.turned:
                    kept.ended_at, kept.ended_because = plan.ended_at, plan.ended_because
        self._number({(row.account_id, row.number) for row in changes.events})
        self._number({(row.account_id, row.number) for row in changes.reservations})
        self.events.extend(changes.events)
        for row in changes.keys:
            assert (row.account_id, row.key) not in self.known
            self.known[row.account_id, row.key] = KnownAnswer(row.request_hash, row.answer)
        for row in changes.reservations:
            parts = [
                Part(part.plan_sequence, part.executions)
                for part in sorted(changes.reservation_parts, key=lambda part: part.plan_sequence)
                if (part.account_id, part.reservation_number) == (row.account_id, row.number)
            ]
            self.reservations[row.account_id, row.number] = ReservationState(
                row.account_id,
                row.number,
                ReservationStatus.HELD,
                row.executions,
                row.expires_at,
                row.workflow,
                row.user_id,
                row.idempotency_key,
                row.is_lease,
                parts,
            )
        for row in changes.settled:
            self.reservations[row.account_id, row.number].status = row.status
        self._count(changes)

    def _count(self, changes: Changes) -> None:
        for key, count in changes.overage_used.items():
            self.overage[key] = self.overage.get(key, 0) + count
        for key, count in changes.overage_refunded.items():
            self.overage[key] -= count
        for key, count in changes.denied.items():
            self.denied[key.reason] = self.denied.get(key.reason, 0) + count

    def _number(self, new: set[tuple[int, int]]) -> None:
        assert not new & self.numbers, "a number was given twice"
        self.numbers |= new

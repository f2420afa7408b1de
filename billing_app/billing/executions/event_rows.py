"""What events and reservations are made of: parts by plan, and the rows of the ledger."""

import msgspec

from billing_app.db.enums import EventKind


class Part(msgspec.Struct, gc=False):
    """Executions of one plan: held by a reservation, or used by an event and not refunded."""

    plan_sequence: int
    executions: int


class EventRow(msgspec.Struct, gc=False):
    """Columns of `execution_events` in insert order; `occurred_at` is the batch's time."""

    account_id: int
    number: int
    plan_sequence: int
    kind: EventKind
    executions: int
    plan_used_after: int
    remaining_after: int
    workflow: str
    user_id: str
    idempotency_key: str
    api_key_id: int | None
    refers_to: int | None
    reason: str

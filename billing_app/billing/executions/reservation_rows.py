"""Rows that decisions write about reservations: columns in insert order."""

from datetime import datetime
from typing import NamedTuple

from billing_app.db.enums import ReservationStatus


class ReservationRow(NamedTuple):
    account_id: int
    number: int
    executions: int
    workflow: str
    user_id: str
    idempotency_key: str
    api_key_id: int | None
    expires_at: datetime
    is_lease: bool = False


class ReservationPartRow(NamedTuple):
    account_id: int
    reservation_number: int
    plan_sequence: int
    executions: int


class SettledRow(NamedTuple):
    account_id: int
    number: int
    status: ReservationStatus
    settled_at: datetime
    event_number: int | None

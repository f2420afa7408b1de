"""The ledger, reservations, and stored answers."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    text,
)
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import EventKind, ReservationStatus


class ExecutionEvent(SQLModel, table=True):
    """One plan's part of an execution event; append-only (a trigger refuses changes).

    An event that spans plans has one row for each. `number` is the event's time in
    microseconds since 1970, raised where needed so that it is unique within the account.
    No foreign key to the plan: its check would cost the hot path more than the insert, and
    `billing_app verify` finds what it would find (docs/decisions/0003). Partitioned by month
    (db/partitions.py).
    """

    __tablename__ = "execution_events"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("kind", EventKind),
        CheckConstraint(
            "CASE kind WHEN 'refund' THEN executions < 0 WHEN 'adjustment' THEN executions <> 0"
            " ELSE executions > 0 END",
            name="sign_fits_kind",
        ),
        CheckConstraint("kind <> 'refund' OR refers_to IS NOT NULL", name="refund_refers"),
        Index(
            "ix_execution_events_refers_to",
            "account_id",
            "refers_to",
            postgresql_where=text("refers_to IS NOT NULL"),
        ),
        {"postgresql_partition_by": "RANGE (number)"},
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    plan_sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str
    executions: int = Field(sa_type=BigInteger)
    plan_used_after: int = Field(sa_type=BigInteger)
    remaining_after: int = Field(sa_type=BigInteger)
    workflow: str = ""
    user_id: str = ""
    idempotency_key: str = ""
    api_key_id: int | None = Field(default=None, sa_type=BigInteger)
    refers_to: int | None = Field(default=None, sa_type=BigInteger)
    reason: str = ""
    occurred_at: datetime = instant()


class CarriedForward(SQLModel, table=True):
    """The sum of a plan's events that were removed after their retention; append-only.

    Those of an account have numbers below its highest `before`. What is left of the ledger plus
    these sums is what its plans have used.
    """

    __tablename__ = "carried_forward"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (CheckConstraint("events > 0", name="events_positive"),)

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    before: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    plan_sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    executions: int = Field(sa_type=BigInteger)
    events: int = Field(sa_type=BigInteger)


class Reservation(SQLModel, table=True):
    """Executions reserved for a run that has begun."""

    __tablename__ = "reservations"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("status", ReservationStatus),
        CheckConstraint("executions > 0", name="executions_positive"),
        CheckConstraint(
            "(status = 'committed') = (event_number IS NOT NULL)", name="event_when_committed"
        ),
        Index(
            "ix_reservations_held",
            "account_id",
            "expires_at",
            postgresql_where=text("status = 'held'"),
        ),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    status: str
    executions: int = Field(sa_type=BigInteger)
    workflow: str = ""
    user_id: str = ""
    idempotency_key: str = ""
    api_key_id: int | None = Field(default=None, sa_type=BigInteger)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    settled_at: datetime | None = instant(nullable=True)
    event_number: int | None = Field(default=None, sa_type=BigInteger)
    is_lease: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class ReservationHold(SQLModel, table=True):
    """The part of a reservation that one plan provides."""

    __tablename__ = "reservation_holds"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        CheckConstraint("executions > 0", name="executions_positive"),
        ForeignKeyConstraint(
            ["account_id", "reservation_number"],
            ["reservations.account_id", "reservations.number"],
            name="fk_reservation_holds_reservation",
        ),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    reservation_number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    plan_sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    executions: int = Field(sa_type=BigInteger)


class IdempotencyKey(SQLModel, table=True):
    """A stored answer, to be replayed byte for byte.

    `key` begins with its namespace: `k:` for a caller's Idempotency-Key, others for operations
    that are idempotent without one (executions/idempotency.py).
    """

    __tablename__ = "idempotency_keys"  # pyright: ignore[reportAssignmentType]

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    key: str = Field(primary_key=True, sa_type=String(collation="C"))  # pyright: ignore[reportArgumentType, reportCallIssue]
    request_hash: bytes = Field(sa_type=LargeBinary)
    answer: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = instant()

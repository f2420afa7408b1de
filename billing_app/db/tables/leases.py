"""Leases: executions that services decide about themselves."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKeyConstraint, Index, text
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant


class Lease(SQLModel, table=True):
    """What a reservation has more when it is a lease. `executions`: what it has held in all.

    `unsettled`: the most that a report said beyond what could be counted.
    """

    __tablename__ = "leases"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        CheckConstraint("settled >= 0 AND settled <= executions", name="never_exceeded"),
        CheckConstraint("(unsettled > 0) = (unsettled_at IS NOT NULL)", name="unsettled_since"),
        ForeignKeyConstraint(
            ["account_id", "number"],
            ["reservations.account_id", "reservations.number"],
            name="fk_leases_reservation",
        ),
        Index(
            "ix_leases_unsettled",
            "account_id",
            "number",
            postgresql_where=text("unsettled > 0"),
        ),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    secret: str
    executions: int = Field(sa_type=BigInteger)
    settled: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    sequence: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    unsettled: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    unsettled_at: datetime | None = instant(nullable=True)
    expires_at: datetime = instant()


class LeaseLine(SQLModel, table=True):
    """How many executions of a lease are counted, by workflow, user and UTC day."""

    __tablename__ = "lease_lines"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        CheckConstraint("executions > 0", name="executions_positive"),
        ForeignKeyConstraint(
            ["account_id", "lease_number"],
            ["leases.account_id", "leases.number"],
            name="fk_lease_lines_lease",
        ),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    lease_number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    workflow: str = Field(primary_key=True)
    user_id: str = Field(primary_key=True)
    day: date = Field(primary_key=True)
    executions: int = Field(sa_type=BigInteger)

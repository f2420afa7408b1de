"""Overage as money: limits, reports to the provider's meter, bills and settlements."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import ReportState


class OverageLimit(SQLModel, table=True):
    """An account's own limit of overage in a period; no row: the offer's limit applies."""

    __tablename__ = "overage_limits"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        CheckConstraint("limit_minor >= 0", name="limit_not_negative"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
    )

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    limit_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    updated_at: datetime = instant()


class MeterReport(SQLModel, table=True):
    """A report of a plan's overage on a day to the provider's meter, as of `at`.

    Written before it is sent; its key is its identifier there. A day's finished reports add up to
    the meter's count; negative when executions were given back.
    """

    __tablename__ = "meter_reports"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("state", ReportState),
        CheckConstraint("executions <> 0", name="executions_not_zero"),
        Index(
            "uq_meter_reports_one_pending",
            "account_id",
            "plan_sequence",
            "day",
            unique=True,
            postgresql_where=text("state = 'pending'"),
        ),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    plan_sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    day: date = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    executions: int = Field(sa_type=BigInteger)
    at: datetime = instant()
    state: str
    created_at: datetime = instant()
    finished_at: datetime | None = instant(nullable=True)


class OverageBill(SQLModel, table=True):
    """The amount of a plan's overage on the provider's final invoices, as last synchronized.

    `is_open`: a draft invoice will bill more of it.
    """

    __tablename__ = "overage_bills"  # pyright: ignore[reportAssignmentType]

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    plan_sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    billed_minor: int = Field(sa_type=BigInteger)
    is_open: bool


class OverageSettlement(SQLModel, table=True):
    """A difference between a plan's overage and its bills, put on the customer's next invoice.

    Written before the provider is called. Negative: a credit.
    """

    __tablename__ = "overage_settlements"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("state", ReportState),
        CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    plan_sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    executions: int = Field(sa_type=BigInteger)
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    state: str
    created_at: datetime = instant()
    finished_at: datetime | None = instant(nullable=True)


class TopUp(SQLModel, table=True):
    """An account's order to buy a pack whenever fewer than `threshold_executions` are left.

    `stopped_because`: why it is off until someone turns it on again; None while it is on.
    """

    __tablename__ = "top_ups"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        CheckConstraint("threshold_executions > 0", name="threshold_positive"),
        CheckConstraint("monthly_cap_minor > 0", name="cap_positive"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
    )

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    offer_id: int = Field(foreign_key="offers.id", sa_type=BigInteger)
    threshold_executions: int = Field(sa_type=BigInteger)
    monthly_cap_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    stopped_because: str | None = None
    updated_at: datetime = instant()

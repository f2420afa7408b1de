"""Executions beyond the plan as money: limits, reports to the meter, what was billed."""

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import ReportState


class OverageLimit(SQLModel, table=True):
    """What an account wants to spend on overage in a period, at most; no row: the offer's limit."""

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
    """Overage of a plan on a day that is told to the provider's meter, as of `at`.

    Written before it is sent; its key is its identifier there. The reports of a day that are done
    add up to what the meter was told; negative when executions were given back.
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
    """What the provider's final invoices bill of a plan's overage, as last seen.

    `is_open`: an invoice that is still a draft will bill more of it.
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

    Written before it is asked for. Negative: given back.
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
    """An account's order to buy a pack whenever less than `threshold_executions` are left.

    `stopped_because`: why it rests until it is switched on again; None while it stands.
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

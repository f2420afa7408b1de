"""What was last read at the payment provider, and how far reconciliation is; its rate budget."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Double, Index, String
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant


class ProviderMirror(SQLModel, table=True):
    """What was last read of a customer, so that an event re-reads only what it is about.

    It holds while `version` is the customer's (apply.py) and `format` is the code's (mirror.py).
    Reads are numbered by the sequence `provider_read_numbers`, in the order in which they began:
    `read_number` is that of `subscriptions`, `whole_number` that of the last read of everything.
    """

    __tablename__ = "provider_mirrors"  # pyright: ignore[reportAssignmentType]

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    version: str = Field(max_length=32)
    format: int
    read_number: int = Field(sa_type=BigInteger)
    whole_number: int = Field(sa_type=BigInteger)
    subscriptions: list[dict[str, Any]] = Field(sa_type=JSONB)


class MirroredInvoice(SQLModel, table=True):
    """An invoice of a mirror. `position`: in the order of issue. `returned_number`: of the read of
    what was refunded or disputed."""

    __tablename__ = "mirrored_invoices"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("ix_mirrored_invoices_payment_ids", "payment_ids", postgresql_using="gin"),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    provider_id: str = Field(primary_key=True, max_length=255)
    position: int
    read_number: int = Field(sa_type=BigInteger)
    returned_number: int = Field(sa_type=BigInteger)
    payment_ids: list[str] = Field(sa_type=ARRAY(String))  # pyright: ignore[reportArgumentType, reportCallIssue]
    invoice: dict[str, Any] = Field(sa_type=JSONB)


class ReconcileWalk(SQLModel, table=True):
    """How far reconciliation has walked through everything of a kind.

    `position`: the last one it compared; "" at the beginning. `began_at`: of the walk under way.
    `whole_since`: when the last walk began that went through to the end.
    """

    __tablename__ = "reconcile_walks"  # pyright: ignore[reportAssignmentType]

    kind: str = Field(primary_key=True, max_length=64)
    position: str = Field(max_length=255)
    began_at: datetime | None = instant(nullable=True)
    whole_since: datetime | None = instant(nullable=True)


class ProviderBudget(SQLModel, table=True):
    """Requests that all processes together may send to the provider; one row, written at first use.

    `tokens`: what is left at `refilled_at`. `per_second`: how many come back, less after the
    provider refused some at `slowed_at`.
    """

    __tablename__ = "provider_budget"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    tokens: float = Field(sa_type=Double)
    per_second: float = Field(sa_type=Double)
    refilled_at: datetime = instant()
    slowed_at: datetime | None = instant(nullable=True)

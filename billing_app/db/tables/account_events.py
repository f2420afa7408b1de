"""What happened to accounts, told to others: the outbox of webhooks."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant


class AccountEvent(SQLModel, table=True):
    """Something that happened to an account, written in the transaction of what happened.

    `data`: the event's own members. `dedup_key`: an account has one event of each; None: any
    number. `dispatched_at`: when deliveries were made of it, or nobody wanted one; None: not yet.
    """

    __tablename__ = "account_events"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("uq_account_events_dedup_key", "account_id", "dedup_key", unique=True),
        Index(
            "ix_account_events_waiting",
            "account_id",
            "created_at",
            postgresql_where=text("dispatched_at IS NULL"),
        ),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    id: UUID = Field(primary_key=True)
    type: str = Field(max_length=64)
    data: dict[str, Any] = Field(sa_type=JSONB)
    dedup_key: str | None = Field(default=None, max_length=255)
    created_at: datetime = instant()
    dispatched_at: datetime | None = instant(nullable=True)

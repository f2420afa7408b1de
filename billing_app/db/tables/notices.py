"""Mail about what happened to accounts."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import NoticeKind


class Notice(SQLModel, table=True):
    """A mail to one person about something that happened to an account, or is about to: one for
    each `key`. `figures`: what the mail says of it. `queued_at`: there is a job that sends it."""

    __tablename__ = "notices"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("kind", NoticeKind),
        Index("ix_notices_unsent", "created_at", postgresql_where=text("sent_at IS NULL")),
        Index("ix_notices_created_at", "created_at"),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    key: str = Field(primary_key=True, max_length=255)
    user_id: str = Field(primary_key=True, foreign_key="users.id", max_length=255)
    kind: str
    figures: dict[str, Any] = Field(sa_type=JSONB)
    created_at: datetime = instant()
    queued_at: datetime | None = instant(nullable=True)
    sent_at: datetime | None = instant(nullable=True)

"""Staff members, views as customer, and the audit log."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    false,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import AuditRole, StaffRole


class StaffMember(SQLModel, table=True):
    """A user with a staff role, until `removed_at`."""

    __tablename__ = "staff_members"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (one_of("role", StaffRole),)

    user_id: str = Field(primary_key=True, foreign_key="users.id")
    role: str
    added_at: datetime = instant()
    removed_at: datetime | None = instant(nullable=True)


class StaffView(SQLModel, table=True):
    """A session in which staff view an account as its holder sees it, until `until`.

    The row is deleted when the view ends; the audit log has when and why it began and ended.
    """

    __tablename__ = "staff_views"  # pyright: ignore[reportAssignmentType]

    token_hash: bytes = Field(
        sa_type=LargeBinary,
        primary_key=True,
        sa_column_args=[ForeignKey("sessions.token_hash", ondelete="CASCADE")],
    )
    account_id: int = Field(sa_type=BigInteger, foreign_key="accounts.id")
    entry_id: int = Field(sa_type=BigInteger, foreign_key="audit_entries.id")
    until: datetime = instant()


class AuditEntry(SQLModel, table=True):
    """An audit entry: what staff did and why, or what customers changed of their details;
    append-only (a trigger refuses changes).

    Written in the transaction of the change. `own_account`: the actor held the account, or was a
    member of its organization. `subject` names what was changed, within the account or outside of
    any; `before` and `after` are its figures. An entry that undoes another names it, and each is
    undone at most once. `request_key` is the caller's idempotency key: the same key of the same
    person is the same repair, and `request_hash` tells whether the request was the same.
    `is_news` None: written before customers were mailed about entries.
    """

    __tablename__ = "audit_entries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("role", AuditRole),
        Index("ix_audit_entries_account_id", "account_id", "id"),
        Index("ix_audit_entries_actor_id", "actor_id", "at", "id"),
        Index("ix_audit_entries_action", "action", "at", "id"),
        Index("ix_audit_entries_at", "at", "id"),
        CheckConstraint("(request_key IS NULL) = (request_hash IS NULL)", name="request_whole"),
        Index(
            "uq_audit_entries_request_key",
            "actor_id",
            "request_key",
            unique=True,
            postgresql_where=text("request_key IS NOT NULL"),
        ),
        Index(
            "uq_audit_entries_undoes",
            "undoes",
            unique=True,
            postgresql_where=text("undoes IS NOT NULL"),
        ),
    )

    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)]
    )
    at: datetime = instant()
    actor_id: str = Field(max_length=255)
    actor_name: str = Field(max_length=255)
    role: str
    action: str = Field(max_length=64)
    account_id: int | None = Field(default=None, sa_type=BigInteger)
    own_account: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    subject: str = Field(default="", max_length=255)
    reason: str
    before: dict[str, Any] = Field(sa_type=JSONB)
    after: dict[str, Any] = Field(sa_type=JSONB)
    undoes: int | None = Field(default=None, foreign_key="audit_entries.id", sa_type=BigInteger)
    request_key: str | None = Field(default=None, max_length=255)
    request_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    is_news: bool | None = Field(default=True, sa_column_kwargs={"server_default": true()})

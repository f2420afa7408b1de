"""How callers authenticate: service keys and browser sessions, both stored as hashes."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import StaffRole


class ApiKey(SQLModel, table=True):
    """A service's key: bound to one organization, or to the platform (no organization).

    `staff_role` is the role of a key with the scope `staff`, which belongs to the platform. With
    `user_id`, a key of the public organization acts for that person's account only. With
    `workflow`, it counts for that workflow only. `last_used_at` is a minute late at most.
    """

    __tablename__ = "api_keys"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        UniqueConstraint("key_hash"),
        CheckConstraint("cardinality(scopes) > 0", name="has_scope"),
        one_of("staff_role", StaffRole),
        CheckConstraint(
            "staff_role IS NULL OR (organization_id IS NULL AND 'staff' = ANY (scopes))",
            name="staff_of_platform",
        ),
        CheckConstraint("user_id IS NULL OR organization_id IS NOT NULL", name="user_of_public"),
        Index("ix_api_keys_organization_id", "organization_id"),
        Index("ix_api_keys_user_id", "user_id"),
    )

    id: int | None = Field(
        default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)]
    )
    name: str = Field(max_length=255)
    key_hash: bytes = Field(sa_type=LargeBinary)
    hint: str = Field(max_length=16)
    scopes: list[str] = Field(sa_type=ARRAY(String))  # pyright: ignore[reportArgumentType, reportCallIssue]
    organization_id: str | None = Field(default=None, foreign_key="organizations.id")
    staff_role: str | None = None
    user_id: str | None = Field(default=None, foreign_key="users.id")
    workflow: str = Field(
        default="", max_length=255, sa_column_kwargs={"server_default": text("''")}
    )
    created_by: str | None = Field(default=None, max_length=255)
    created_at: datetime = instant()
    last_used_at: datetime | None = instant(nullable=True)
    expires_at: datetime | None = instant(nullable=True)
    revoked_at: datetime | None = instant(nullable=True)


class Session(SQLModel, table=True):
    """A signed-in browser. The cookie holds the token; only its hash is stored."""

    __tablename__ = "sessions"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("ix_sessions_user_id", "user_id"),)

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: str = Field(foreign_key="users.id")
    created_at: datetime = instant()
    expires_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)
    user_agent: str = Field(default="", max_length=255)


class PasswordReset(SQLModel, table=True):
    """A mailed link that resets a password once; using it deletes the row.

    The mail holds the token; only its hash is stored.
    """

    __tablename__ = "password_resets"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("ix_password_resets_user_id", "user_id"),
        Index("ix_password_resets_expires_at", "expires_at"),
    )

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: str = Field(foreign_key="users.id")
    created_at: datetime = instant()
    expires_at: datetime = instant()


class EmailChange(SQLModel, table=True):
    """A new e-mail address until it is confirmed: a person's own (`user_id`), or the billing email
    of an account (`account_id`). Using the mailed link deletes the row, and so does withdrawing it.

    `requested_by` asked for it, in the browser session of `session_hash`. The mail holds the token;
    only its hash is stored, and none until it is mailed.
    """

    __tablename__ = "email_changes"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        CheckConstraint("(user_id IS NULL) <> (account_id IS NULL)", name="one_subject"),
        Index("uq_email_changes_user_id", "user_id", unique=True),
        Index("uq_email_changes_account_id", "account_id", unique=True),
        Index("uq_email_changes_token_hash", "token_hash", unique=True),
        Index("ix_email_changes_expires_at", "expires_at"),
    )

    id: str = Field(primary_key=True, max_length=64)
    user_id: str | None = Field(default=None, foreign_key="users.id")
    account_id: int | None = Field(default=None, foreign_key="accounts.id", sa_type=BigInteger)
    email: str = Field(max_length=320)
    requested_by: str = Field(foreign_key="users.id")
    session_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    token_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime = instant()
    expires_at: datetime = instant()


class AttemptCounter(SQLModel, table=True):
    """When something that is limited was tried, oldest first. `subject` is a hash of the limit and
    of what it counts by."""

    __tablename__ = "attempt_counters"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("ix_attempt_counters_expires_at", "expires_at"),)

    subject: bytes = Field(primary_key=True, sa_type=LargeBinary)
    times: list[datetime] = Field(sa_type=ARRAY(DateTime(timezone=True)))  # pyright: ignore[reportArgumentType, reportCallIssue]
    expires_at: datetime = instant()


class KnownBrowser(SQLModel, table=True):
    """A browser that a person has signed in with. The cookie holds the token; only its hash is
    stored."""

    __tablename__ = "known_browsers"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("ix_known_browsers_user_id", "user_id"),
        Index("ix_known_browsers_expires_at", "expires_at"),
    )

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: str = Field(primary_key=True, foreign_key="users.id")
    expires_at: datetime = instant()

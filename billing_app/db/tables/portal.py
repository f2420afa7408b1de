"""Portal links of services, and the sessions that they open: one account, one role, no password."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import Role


class PortalLink(SQLModel, table=True):
    """A link that opens a session once, until `expires_at`. The URL holds the token; only its hash
    is stored. `page` is a path of ours, `return_url` where people go back to."""

    __tablename__ = "portal_links"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (one_of("role", Role), Index("ix_portal_links_expires_at", "expires_at"))

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    account_id: int = Field(foreign_key="accounts.id", sa_type=BigInteger)
    person_id: str = Field(max_length=255)
    person_name: str = Field(max_length=255)
    person_email: str = Field(max_length=320)
    role: str
    page: str = Field(max_length=64)
    return_url: str = Field(max_length=2000)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    used_at: datetime | None = instant(nullable=True)


class PortalSession(SQLModel, table=True):
    """A browser that came through a portal link. The cookie holds the token; only its hash is
    stored."""

    __tablename__ = "portal_sessions"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("role", Role),
        Index("ix_portal_sessions_account_id", "account_id", "created_at"),
    )

    token_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    account_id: int = Field(foreign_key="accounts.id", sa_type=BigInteger)
    person_id: str = Field(max_length=255)
    person_name: str = Field(max_length=255)
    person_email: str = Field(max_length=320)
    role: str
    return_url: str = Field(max_length=2000)
    user_agent: str = Field(default="", max_length=255)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    revoked_at: datetime | None = instant(nullable=True)

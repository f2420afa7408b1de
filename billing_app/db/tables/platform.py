"""Totals of all accounts, rolled up from the accounts' own rows."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Index, text
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant


class PlatformDay(SQLModel, table=True):
    """Totals of a finished UTC day; there is a row for each day since the first."""

    __tablename__ = "platform_days"  # pyright: ignore[reportAssignmentType]

    day: date = Field(primary_key=True)
    used: int = Field(sa_type=BigInteger)
    refunded: int = Field(sa_type=BigInteger)
    trials_started: int = Field(sa_type=BigInteger)
    trials_converted: int = Field(sa_type=BigInteger)


class PlatformDenial(SQLModel, table=True):
    """Requests that were denied on such a day, by reason."""

    __tablename__ = "platform_denials"  # pyright: ignore[reportAssignmentType]

    day: date = Field(primary_key=True)
    reason: str = Field(primary_key=True)
    denied: int = Field(sa_type=BigInteger)


class AccountNearLimit(SQLModel, table=True):
    """An account that had used most of its executions at the last refresh."""

    __tablename__ = "accounts_near_limit"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("ix_accounts_near_limit_left", text("(executions - used - held)"), "account_id"),
        Index("ix_accounts_near_limit_executions", "executions", "account_id"),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    executions: int = Field(sa_type=BigInteger)
    used: int = Field(sa_type=BigInteger)
    held: int = Field(sa_type=BigInteger)


class PlatformRefresh(SQLModel, table=True):
    """When a figure was last refreshed."""

    __tablename__ = "platform_refreshes"  # pyright: ignore[reportAssignmentType]

    what: str = Field(primary_key=True, max_length=64)
    refreshed_at: datetime = instant()

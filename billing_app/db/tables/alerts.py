"""Alerts: their rules, what was raised, and who was told."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import AlertChannel, AlertKind

RuleRow = dict[str, Any]
"""`kind`, and `value` and `currency` where the kind has them."""


class AlertRules(SQLModel, table=True):
    """An account's own rules; `rules` None: the defaults apply again. Rows are never deleted, so
    that processes find what changed by `updated_at`."""

    __tablename__ = "alert_rules"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("ix_alert_rules_updated_at", "updated_at"),)

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    rules: list[RuleRow] | None = Field(default=None, sa_type=JSONB(none_as_null=True))  # pyright: ignore[reportArgumentType, reportCallIssue]
    updated_by: str = Field(max_length=255)
    updated_at: datetime = instant()


class DefaultAlertRules(SQLModel, table=True):
    """The rules of accounts without own ones, by the offer of their plan; 0: of every other."""

    __tablename__ = "default_alert_rules"  # pyright: ignore[reportAssignmentType]

    offer_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    rules: list[RuleRow] = Field(sa_type=JSONB)
    updated_by: str = Field(max_length=255)
    updated_at: datetime = instant()


class Alert(SQLModel, table=True):
    """An alert that was raised once for its `rule` and `occasion`.

    `number` is its time in microseconds since 1970, raised so that it is unique within the account.
    `cleared_at`: the balance has risen above the rule's threshold since then. `delivered_at`:
    deliveries to people were written. No foreign key: an account may not be locked in the middle
    of a decision.
    """

    __tablename__ = "alerts"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("kind", AlertKind),
        UniqueConstraint("account_id", "rule", "occasion"),
        Index(
            "ix_alerts_undelivered",
            "account_id",
            "number",
            postgresql_where=text("delivered_at IS NULL"),
        ),
        Index(
            "ix_alerts_uncleared", "account_id", "rule", postgresql_where=text("cleared_at IS NULL")
        ),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    kind: str
    rule: str = Field(max_length=255)
    occasion: str = Field(max_length=255)
    figures: dict[str, Any] = Field(sa_type=JSONB)
    raised_at: datetime = instant()
    cleared_at: datetime | None = instant(nullable=True)
    delivered_at: datetime | None = instant(nullable=True)


class AlertDelivery(SQLModel, table=True):
    """An alert for a person: in the app until `read_at`, or by mail, `sent_at`."""

    __tablename__ = "alert_deliveries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("channel", AlertChannel),
        Index("ix_alert_deliveries_user_id", "user_id", "channel", "read_at"),
        Index("ix_alert_deliveries_created_at", "created_at"),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    user_id: str = Field(primary_key=True, foreign_key="users.id", max_length=255)
    channel: str = Field(primary_key=True)
    created_at: datetime = instant()
    sent_at: datetime | None = instant(nullable=True)
    read_at: datetime | None = instant(nullable=True)


class AlertPreferences(SQLModel, table=True):
    """Which alerts a person gets by mail; `unsubscribe_key` signs the links in those mails."""

    __tablename__ = "alert_preferences"  # pyright: ignore[reportAssignmentType]

    user_id: str = Field(primary_key=True, foreign_key="users.id", max_length=255)
    wants_mail: bool = Field(default=True, sa_column_kwargs={"server_default": text("true")})
    muted_kinds: list[str] = Field(  # pyright: ignore[reportUnknownVariableType]
        default_factory=list,
        sa_type=ARRAY(String),  # pyright: ignore[reportArgumentType, reportCallIssue]
        sa_column_kwargs={"server_default": text("'{}'")},
    )
    unsubscribe_key: bytes = Field(sa_type=LargeBinary)
    updated_at: datetime = instant()


class GivenBackCount(SQLModel, table=True):
    """Releases and refunds of an account in a minute, of all processes; kept for an hour."""

    __tablename__ = "given_back_counts"  # pyright: ignore[reportAssignmentType]

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    minute: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]
    times: int

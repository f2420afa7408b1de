"""Organizations, users, memberships, and the accounts that hold balances."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import AccountKind, Role


class Organization(SQLModel, table=True):
    __tablename__ = "organizations"  # pyright: ignore[reportAssignmentType]

    id: str = Field(primary_key=True, max_length=255)
    name: str = Field(max_length=255)
    created_at: datetime = instant()


class User(SQLModel, table=True):
    """A person. Without an e-mail address: known only by the id that a service sent.
    `email_confirmed_at`: they opened a link that was mailed to the address;
    `confirmation_asked_at`: they were asked to. Without either, they signed up before it was
    asked."""

    __tablename__ = "users"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("uq_users_email_folded", text("lower(email)"), unique=True),
        CheckConstraint(
            "(email IS NULL) = (password_hash IS NULL)", name="email_and_password_together"
        ),
    )

    id: str = Field(primary_key=True, max_length=255)
    name: str = Field(default="", max_length=255)
    email: str | None = Field(default=None, max_length=320)
    password_hash: str | None = None
    confirmation_asked_at: datetime | None = instant(nullable=True)
    email_confirmed_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()


class Membership(SQLModel, table=True):
    __tablename__ = "memberships"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (one_of("role", Role), Index("ix_memberships_user_id", "user_id"))

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id")
    user_id: str = Field(primary_key=True, foreign_key="users.id")
    role: str
    created_at: datetime = instant()


class Account(SQLModel, table=True):
    """The holder of a balance: a user of the public organization, or an organization.

    While `blocked_at` is set, no new executions are allowed; the code that sets it also sets it on
    the plans.

    `id` is random and positive: it does not reveal the number of accounts, and it spreads evenly
    when the schema is distributed.
    """

    __tablename__ = "accounts"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("kind", AccountKind),
        CheckConstraint("(kind = 'user') = (user_id IS NOT NULL)", name="user_when_kind_user"),
        Index(
            "uq_accounts_organization",
            "organization_id",
            unique=True,
            postgresql_where=text("kind = 'organization'"),
        ),
        Index(
            "uq_accounts_user",
            "user_id",
            unique=True,
            postgresql_where=text("kind = 'user'"),
        ),
        Index("ix_accounts_created_at", "created_at", "id"),
        Index(
            "ix_accounts_organizations_created_at",
            "created_at",
            "id",
            postgresql_where=text("kind = 'organization'"),
        ),
        Index("ix_accounts_blocked", "id", postgresql_where=text("blocked_at IS NOT NULL")),
    )

    id: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    kind: str
    organization_id: str = Field(foreign_key="organizations.id")
    user_id: str | None = Field(default=None, foreign_key="users.id")
    blocked_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()


class BillingDetails(SQLModel, table=True):
    """The name and e-mail address on an account's invoices, where they are not the account's own:
    "" and None stand for those. `purchase_order`: printed on invoices; "": removed again; None:
    there never was one, and the provider's customer is left as it is."""

    __tablename__ = "billing_details"  # pyright: ignore[reportAssignmentType]

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    name: str = Field(default="", max_length=255, sa_column_kwargs={"server_default": text("''")})
    email: str | None = Field(default=None, max_length=320)
    purchase_order: str | None = Field(default=None, max_length=140)


class AccountProfile(SQLModel, table=True):
    """What a service keeps with an account that it provisioned.

    `offer_version_id` is the free offer or the trial that the account began with, at `offer_since`.
    A free one is refilled until `refills_at`, the end of the last period that was queued. Nothing
    can be bought, added or used after `closed_at`.
    """

    __tablename__ = "account_profiles"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        CheckConstraint(
            "(offer_version_id IS NULL) = (offer_since IS NULL)", name="offer_has_start"
        ),
        Index("ix_account_profiles_refills_at", "refills_at"),
    )

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    own_metadata: dict[str, str] = Field(
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'")}
    )
    offer_version_id: int | None = Field(
        default=None, foreign_key="offer_versions.id", sa_type=BigInteger
    )
    offer_since: datetime | None = instant(nullable=True)
    refills_at: datetime | None = instant(nullable=True)
    closed_at: datetime | None = instant(nullable=True)

"""A mirror of the payment provider's objects; requests to the provider; its events."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, String, false, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import by_day, instant, one_of
from billing_app.db.enums import (
    CheckoutStatus,
    InvoiceStatus,
    ProviderRequestState,
    SubscriptionStatus,
    WebhookState,
)

LIVE_STATUSES = "('trialing', 'active', 'past_due', 'unpaid', 'incomplete', 'paused')"


class ProviderIdentity(SQLModel, table=True):
    """Which account of the provider this database belongs to, and where the database was when it
    was last allowed to write there; one row, written at first use.

    `mark` is in the metadata of what it creates there and in its idempotency keys; "" in
    databases that are older than marks. `earlier_marks` are those of the databases it was copied
    from. A part of the place is None where the database's role may not read it. `account_since`:
    when it moved there from another account; None: it never did.
    """

    __tablename__ = "provider_identity"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    provider_account_id: str | None = Field(default=None, max_length=255)
    is_live: bool
    mark: str = Field(max_length=32)
    earlier_marks: list[str] = Field(
        default_factory=list,
        sa_type=JSONB,
        sa_column_kwargs={"server_default": text("'[]'::jsonb")},
    )
    system_identifier: int | None = Field(default=None, sa_type=BigInteger)
    timeline: int | None = Field(default=None, sa_type=BigInteger)
    database_oid: int = Field(sa_type=BigInteger)
    account_since: datetime | None = instant(nullable=True)
    adopted_at: datetime = instant()


class ProviderCustomer(SQLModel, table=True):
    """The account's only customer at the provider."""

    __tablename__ = "provider_customers"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("uq_provider_customers_customer_id", "customer_id", unique=True),)

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    customer_id: str = Field(max_length=255)
    created_at: datetime = instant()


class OfferPrice(SQLModel, table=True):
    """The provider's price of an offer version, and the metered one of its overage."""

    __tablename__ = "offer_prices"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (Index("uq_offer_prices_price_id", "price_id", unique=True),)

    offer_version_id: int = Field(
        primary_key=True,
        foreign_key="offer_versions.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    product_id: str = Field(max_length=255)
    price_id: str = Field(max_length=255)
    overage_price_id: str | None = Field(default=None, max_length=255)
    created_at: datetime = instant()


class Subscription(SQLModel, table=True):
    """A subscription as last read from the provider; at most one live for an account, but for
    duplicates: they were made beside it at the provider, and staff must end one of the two.

    `cancel_at_period_end`: it is cancelled and ends at `cancel_at`. `is_collecting`: False while
    the collection of its invoices is paused. `trial_refused_at`: its card has had a trial on
    another account, so that this one is not given.
    """

    __tablename__ = "subscriptions"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("status", SubscriptionStatus),
        Index("ix_subscriptions_provider_id", "provider_id"),
        Index("uq_subscriptions_provider_id", "account_id", "provider_id", unique=True),
        Index(
            "uq_subscriptions_one_live",
            "account_id",
            unique=True,
            postgresql_where=text(f"status IN {LIVE_STATUSES} AND NOT is_duplicate"),
        ),
        Index(
            "ix_subscriptions_offer_version_id",
            "account_id",
            "offer_version_id",
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_subscriptions_past_due",
            "account_id",
            postgresql_where=text("past_due_since IS NOT NULL"),
        ),
    )

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    provider_id: str = Field(max_length=255)
    status: str
    offer_version_id: int = Field(foreign_key="offer_versions.id", sa_type=BigInteger)
    next_offer_version_id: int | None = Field(
        default=None, foreign_key="offer_versions.id", sa_type=BigInteger
    )
    period_start: datetime = instant()
    period_end: datetime = instant()
    cancel_at_period_end: bool = False
    cancel_at: datetime | None = instant(nullable=True)
    is_duplicate: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    is_collecting: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    quantity: int = Field(default=1, sa_column_kwargs={"server_default": text("1")})
    past_due_since: datetime | None = instant(nullable=True)
    trial_refused_at: datetime | None = instant(nullable=True)
    ended_at: datetime | None = instant(nullable=True)
    synced_at: datetime = instant()
    created_at: datetime = instant()


class Checkout(SQLModel, table=True):
    """A payment page at the provider; at most one of an account is open or not applied yet."""

    __tablename__ = "checkouts"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("status", CheckoutStatus),
        Index(
            "uq_checkouts_one_open",
            "account_id",
            unique=True,
            postgresql_where=text("status IN ('creating', 'open', 'confirming')"),
        ),
    )

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    number: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    status: str
    offer_version_id: int = Field(foreign_key="offer_versions.id", sa_type=BigInteger)
    success_url: str
    cancel_url: str
    provider_id: str | None = Field(default=None, max_length=255)
    url: str | None = None
    created_at: datetime = instant()


class Invoice(SQLModel, table=True):
    """An invoice as last read from the provider. `trusted_at`: staff gave its period since then,
    before it was paid.

    `bank_asked_at`: a debit of it was seen since then, `bank_decided_at`: the bank's decision on
    the newest one, `bank_mailed_at`: the customer was mailed about that.
    """

    __tablename__ = "invoices"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("status", InvoiceStatus),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
        by_day("invoices", "issued_at", "timestamptz_minmax_multi_ops"),
        Index("ix_invoices_provider_id", "provider_id"),
        Index("ix_invoices_number", "number"),
        Index(
            "ix_invoices_bank_unmailed",
            "account_id",
            postgresql_where=text("bank_decided_at IS NOT NULL AND bank_mailed_at IS NULL"),
        ),
    )

    account_id: int = Field(
        primary_key=True,
        foreign_key="accounts.id",
        sa_type=BigInteger,
        sa_column_kwargs={"autoincrement": False},
    )
    provider_id: str = Field(primary_key=True, max_length=255)
    subscription_provider_id: str | None = Field(default=None, max_length=255)
    number: str = ""
    status: str
    billing_reason: str = ""
    currency: str = Field(max_length=3)
    amount_due_minor: int = Field(sa_type=BigInteger)
    amount_paid_minor: int = Field(sa_type=BigInteger)
    refunded_minor: int = Field(
        default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")}
    )
    what_for: str = Field(default="", sa_column_kwargs={"server_default": text("''")})
    page_url: str = ""
    pdf_url: str = ""
    due_at: datetime | None = instant(nullable=True)
    trusted_at: datetime | None = instant(nullable=True)
    bank_asked_at: datetime | None = instant(nullable=True)
    bank_decided_at: datetime | None = instant(nullable=True)
    bank_mailed_at: datetime | None = instant(nullable=True)
    issued_at: datetime = instant()
    synced_at: datetime = instant()

    @property
    def is_processing(self) -> bool:
        """Whether the bank has been asked to pay and has not decided."""
        return self.bank_asked_at is not None and self.bank_decided_at is None


class ProviderRequest(SQLModel, table=True):
    """A request to the provider and its idempotency key, written before it is sent.

    A row that stays `pending` was interrupted: reconciliation repeats it with the same key, which
    is safe.
    """

    __tablename__ = "provider_writes"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("state", ProviderRequestState),
        Index(
            "ix_provider_writes_pending", "account_id", postgresql_where=text("state = 'pending'")
        ),
        Index(
            "uq_provider_writes_one_top_up",
            "account_id",
            unique=True,
            postgresql_where=text("operation = 'top_up' AND state = 'pending'"),
        ),
    )

    account_id: int = Field(
        primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False}
    )
    key: str = Field(primary_key=True, max_length=255)
    operation: str = Field(max_length=64)
    parameters: dict[str, Any] = Field(sa_type=JSONB)
    state: str
    result_id: str | None = Field(default=None, max_length=255)
    problem: str | None = None
    created_at: datetime = instant()
    finished_at: datetime | None = instant(nullable=True)


class WebhookEvent(SQLModel, table=True):
    """A signed event from the provider; stored before the request is answered.

    `replays` counts how often staff had it processed again. `arrival_number`: a read of the
    provider with a greater one began later (provider_reads.py).
    """

    __tablename__ = "webhook_events"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("state", WebhookState),
        Index(
            "ix_webhook_events_open", "received_at", postgresql_where=text("state <> 'processed'")
        ),
        Index("ix_webhook_events_received_at", "received_at", "id"),
        Index("ix_webhook_events_type", "type", "received_at", "id"),
        Index("ix_webhook_events_customer_id", "customer_id", "received_at", "id"),
    )

    id: str = Field(primary_key=True, max_length=255)
    type: str = Field(sa_type=String(128, collation="C"))  # pyright: ignore[reportArgumentType, reportCallIssue]
    object_id: str = Field(default="", max_length=255)
    customer_id: str = Field(default="", max_length=255)
    payload: dict[str, Any] = Field(sa_type=JSONB)
    state: str
    attempts: int = 0
    replays: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    problem: str | None = None
    occurred_at: datetime = instant()
    received_at: datetime = instant()
    finished_at: datetime | None = instant(nullable=True)
    arrival_number: int | None = Field(
        default=None,
        sa_type=BigInteger,
        sa_column_kwargs={"server_default": text("nextval('provider_read_numbers')")},
    )


class Reconciliation(SQLModel, table=True):
    """A finished comparison with the provider; the next one continues with the events after it,
    unless it was a dry run. `found` has the first differences. `whole_since`: every customer had
    been compared since then when it ended; None: not yet."""

    __tablename__ = "reconciliations"  # pyright: ignore[reportAssignmentType]

    began_at: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))  # pyright: ignore[reportArgumentType]
    finished_at: datetime = instant()
    dry_run: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    differences: int
    healed: int
    found: list[dict[str, Any]] = Field(
        sa_type=JSONB, sa_column_kwargs={"server_default": text("'[]'::jsonb")}
    )
    whole_since: datetime | None = instant(nullable=True)

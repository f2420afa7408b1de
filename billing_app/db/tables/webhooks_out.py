"""Outgoing webhooks: endpoints, what is delivered to them, and each attempt."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from billing_app.db.columns import instant, one_of
from billing_app.db.enums import DeliveryStatus, EndpointStatus


class WebhookEndpoint(SQLModel, table=True):
    """Where events are sent. `organization_id` None: the platform's, for events of all accounts.

    `types` None: events of every type. `secret` signs; so does `previous_secret` until
    `previous_until`. `failing_since`: the first failed attempt since the last one that succeeded.
    """

    __tablename__ = "webhook_endpoints"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("status", EndpointStatus),
        Index("ix_webhook_endpoints_organization_id", "organization_id", "created_at"),
    )

    id: str = Field(primary_key=True, max_length=32)
    organization_id: str | None = Field(default=None, foreign_key="organizations.id")
    url: str = Field(max_length=2000)
    description: str = Field(max_length=255)
    types: list[str] | None = Field(default=None, sa_type=JSONB(none_as_null=True), nullable=True)  # pyright: ignore[reportArgumentType, reportCallIssue]
    status: str
    secret: str = Field(max_length=128)
    previous_secret: str | None = Field(default=None, max_length=128)
    previous_until: datetime | None = instant(nullable=True)
    failing_since: datetime | None = instant(nullable=True)
    disabled_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()
    updated_at: datetime = instant()


class WebhookDelivery(SQLModel, table=True):
    """One event for one endpoint: the same `message_id` and `body` at every attempt.

    `round`: of retries; each redelivery begins a new one, and `attempts_before` counts those of
    earlier rounds. `is_queued` False: pending, and a worker has no job for the next attempt yet.
    """

    __tablename__ = "webhook_deliveries"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("status", DeliveryStatus),
        UniqueConstraint(
            "endpoint_id", "message_id", name="uq_webhook_deliveries_endpoint_id_message_id"
        ),
        Index("ix_webhook_deliveries_endpoint_id", "endpoint_id", "created_at", "id"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
        Index(
            "ix_webhook_deliveries_unqueued",
            "endpoint_id",
            "created_at",
            postgresql_where=text("NOT is_queued"),
        ),
    )

    id: str = Field(primary_key=True, max_length=32)
    endpoint_id: str = Field(foreign_key="webhook_endpoints.id", ondelete="CASCADE", max_length=32)
    message_id: str = Field(max_length=64)
    type: str = Field(max_length=64)
    body: str
    status: str
    attempts: int = Field(default=0)
    round: int = Field(default=0)
    attempts_before: int = Field(default=0)
    is_queued: bool = Field(default=False)
    response_status: int | None = None
    next_attempt_at: datetime | None = instant(nullable=True)
    delivered_at: datetime | None = instant(nullable=True)
    created_at: datetime = instant()


class WebhookAttempt(SQLModel, table=True):
    """One request to an endpoint. `answer`: the beginning of the response's body. `error`: why
    there is no response."""

    __tablename__ = "webhook_attempts"  # pyright: ignore[reportAssignmentType]

    delivery_id: str = Field(
        primary_key=True,
        foreign_key="webhook_deliveries.id",
        ondelete="CASCADE",
        max_length=32,
    )
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    attempted_at: datetime = instant()
    duration_ms: int = Field(sa_type=BigInteger)
    response_status: int | None = None
    answer: str
    error: str = Field(max_length=255)

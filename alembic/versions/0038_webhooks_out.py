"""Events of accounts, and the webhooks that tell them: endpoints, deliveries, attempts."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0038"
down_revision: str | None = "0037"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("CREATE SEQUENCE account_state_versions")
    _create_account_events()
    _create_webhook_endpoints()
    _create_webhook_deliveries()
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        _instant("attempted_at"),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("response_status", sa.Integer()),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("error", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_webhook_attempts")),
    )


def downgrade() -> None:
    op.drop_table("webhook_attempts")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_endpoints")
    op.drop_table("account_events")
    op.execute("DROP SEQUENCE account_state_versions")


def _create_account_events() -> None:
    op.create_table(
        "account_events",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("data", JSONB(), nullable=False),
        sa.Column("dedup_key", sa.String(length=255)),
        _instant("created_at"),
        _instant("dispatched_at", nullable=True),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_account_events")),
    )
    op.create_index(
        "uq_account_events_dedup_key", "account_events", ["account_id", "dedup_key"], unique=True
    )
    op.create_index(
        "ix_account_events_waiting",
        "account_events",
        ["account_id", "created_at"],
        postgresql_where=sa.text("dispatched_at IS NULL"),
    )


def _create_webhook_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("organization_id", sa.String(length=255)),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=False),
        sa.Column("types", JSONB()),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("secret", sa.String(length=128), nullable=False),
        sa.Column("previous_secret", sa.String(length=128)),
        _instant("previous_until", nullable=True),
        _instant("failing_since", nullable=True),
        _instant("disabled_at", nullable=True),
        _instant("created_at"),
        _instant("updated_at"),
        sa.CheckConstraint(
            "status IN ('enabled', 'paused', 'disabled')",
            name=op.f("ck_webhook_endpoints_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_webhook_endpoints_organization_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(
        "ix_webhook_endpoints_organization_id",
        "webhook_endpoints",
        ["organization_id", "created_at"],
    )


def _create_webhook_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("endpoint_id", sa.String(length=32), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempts_before", sa.Integer(), nullable=False),
        sa.Column("is_queued", sa.Boolean(), nullable=False),
        sa.Column("response_status", sa.Integer()),
        _instant("next_attempt_at", nullable=True),
        _instant("delivered_at", nullable=True),
        _instant("created_at"),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')",
            name=op.f("ck_webhook_deliveries_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "endpoint_id",
            "message_id",
            name=op.f("uq_webhook_deliveries_endpoint_id_message_id"),
        ),
    )
    table = "webhook_deliveries"
    op.create_index(f"ix_{table}_endpoint_id", table, ["endpoint_id", "created_at", "id"])
    op.create_index(f"ix_{table}_created_at", table, ["created_at"])
    op.create_index(
        f"ix_{table}_unqueued",
        table,
        ["endpoint_id", "created_at"],
        postgresql_where=sa.text("NOT is_queued"),
    )


def _instant(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)

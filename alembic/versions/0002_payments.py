"""Subscriptions, checkouts, invoices, webhooks; plans that follow money."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
ENDINGS = "ended_because IN ('depleted', 'period_ended', 'cancelled'{more})"

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "provider_writes",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("result_id", sa.String(length=255), nullable=True),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'done', 'failed')", name=op.f("ck_provider_writes_state_known")
        ),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_provider_writes")),
    )
    op.create_index(
        "ix_provider_writes_pending",
        "provider_writes",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=128), nullable=False),
        sa.Column("object_id", sa.String(length=255), nullable=False),
        sa.Column("customer_id", sa.String(length=255), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('received', 'processed', 'failed', 'dead')",
            name=op.f("ck_webhook_events_state_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_index(
        "ix_webhook_events_open",
        "webhook_events",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("state <> 'processed'"),
    )
    op.create_table(
        "checkouts",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("offer_version_id", sa.BigInteger(), nullable=False),
        sa.Column("success_url", sa.String(), nullable=False),
        sa.Column("cancel_url", sa.String(), nullable=False),
        sa.Column("provider_id", sa.String(length=255), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('creating', 'open', 'complete', 'expired')",
            name=op.f("ck_checkouts_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_checkouts_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["offer_version_id"], ["offer_versions.id"], name=op.f("fk_checkouts_offer_version_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_checkouts")),
    )
    op.create_index(
        "uq_checkouts_one_open",
        "checkouts",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('creating', 'open')"),
    )
    op.create_table(
        "invoices",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider_id", sa.String(length=255), nullable=False),
        sa.Column("subscription_provider_id", sa.String(length=255), nullable=True),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("billing_reason", sa.String(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_due_minor", sa.BigInteger(), nullable=False),
        sa.Column("amount_paid_minor", sa.BigInteger(), nullable=False),
        sa.Column("page_url", sa.String(), nullable=False),
        sa.Column("pdf_url", sa.String(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_invoices_currency_iso")),
        sa.CheckConstraint(
            "status IN ('draft', 'open', 'paid', 'uncollectible', 'void')",
            name=op.f("ck_invoices_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_invoices_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "provider_id", name=op.f("pk_invoices")),
    )
    op.create_table(
        "offer_prices",
        sa.Column("offer_version_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("product_id", sa.String(length=255), nullable=False),
        sa.Column("price_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["offer_version_id"],
            ["offer_versions.id"],
            name=op.f("fk_offer_prices_offer_version_id"),
        ),
        sa.PrimaryKeyConstraint("offer_version_id", name=op.f("pk_offer_prices")),
    )
    op.create_index("uq_offer_prices_price_id", "offer_prices", ["price_id"], unique=True)
    op.create_table(
        "provider_customers",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("customer_id", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_provider_customers_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_provider_customers")),
    )
    op.create_index(
        "uq_provider_customers_customer_id", "provider_customers", ["customer_id"], unique=True
    )
    op.create_table(
        "subscriptions",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider_id", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("offer_version_id", sa.BigInteger(), nullable=False),
        sa.Column("next_offer_version_id", sa.BigInteger(), nullable=True),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cancel_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("past_due_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('trialing', 'active', 'past_due', 'unpaid', 'incomplete', 'paused', 'incomplete_expired', 'canceled')",
            name=op.f("ck_subscriptions_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_subscriptions_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["next_offer_version_id"],
            ["offer_versions.id"],
            name=op.f("fk_subscriptions_next_offer_version_id"),
        ),
        sa.ForeignKeyConstraint(
            ["offer_version_id"],
            ["offer_versions.id"],
            name=op.f("fk_subscriptions_offer_version_id"),
        ),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_subscriptions")),
    )
    op.create_index(
        "uq_subscriptions_one_live",
        "subscriptions",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text(
            "status IN ('trialing', 'active', 'past_due', 'unpaid', 'incomplete', 'paused')"
        ),
    )
    op.create_index(
        "uq_subscriptions_provider_id", "subscriptions", ["account_id", "provider_id"], unique=True
    )
    op.add_column("plans", sa.Column("source_reference", sa.String(length=255), nullable=True))
    op.add_column(
        "plans", sa.Column("priority", sa.Integer(), server_default="100", nullable=False)
    )
    op.add_column("plans", sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint("ck_plans_ended_because_known", "plans")
    op.create_check_constraint(
        op.f("ck_plans_ended_because_known"), "plans", ENDINGS.format(more=", 'replaced'")
    )
    op.create_index(
        "uq_plans_source_reference",
        "plans",
        ["account_id", "source_reference"],
        unique=True,
        postgresql_where=sa.text("source_reference IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "uq_plans_source_reference",
        table_name="plans",
        postgresql_where=sa.text("source_reference IS NOT NULL"),
    )
    op.execute("UPDATE plans SET ended_because = 'cancelled' WHERE ended_because = 'replaced'")
    op.drop_constraint("ck_plans_ended_because_known", "plans")
    op.create_check_constraint(
        op.f("ck_plans_ended_because_known"), "plans", ENDINGS.format(more="")
    )
    op.drop_column("plans", "suspended_at")
    op.drop_column("plans", "priority")
    op.drop_column("plans", "source_reference")
    op.drop_index("uq_subscriptions_provider_id", table_name="subscriptions")
    op.drop_index(
        "uq_subscriptions_one_live",
        table_name="subscriptions",
        postgresql_where=sa.text(
            "status IN ('trialing', 'active', 'past_due', 'unpaid', 'incomplete', 'paused')"
        ),
    )
    op.drop_table("subscriptions")
    op.drop_index("uq_provider_customers_customer_id", table_name="provider_customers")
    op.drop_table("provider_customers")
    op.drop_index("uq_offer_prices_price_id", table_name="offer_prices")
    op.drop_table("offer_prices")
    op.drop_table("invoices")
    op.drop_index(
        "uq_checkouts_one_open",
        table_name="checkouts",
        postgresql_where=sa.text("status IN ('creating', 'open')"),
    )
    op.drop_table("checkouts")
    op.drop_index(
        "ix_webhook_events_open",
        table_name="webhook_events",
        postgresql_where=sa.text("state <> 'processed'"),
    )
    op.drop_table("webhook_events")
    op.drop_index(
        "ix_provider_writes_pending",
        table_name="provider_writes",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.drop_table("provider_writes")

"""Alerts: rules of accounts and their defaults, what was raised, deliveries and preferences."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision: str = "0039"
down_revision: str | None = "0038"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KINDS = (
    "'remaining_share', 'remaining_number', 'overage_spent', 'forecast_end', 'renewal_coming',"
    " 'payment_failed', 'card_expiring', 'execution_refused', 'unusual_pace', 'error_loop'"
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_rules()
    _create_alerts()
    _create_deliveries()
    op.create_table(
        "given_back_counts",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "minute", name=op.f("pk_given_back_counts")),
    )


def downgrade() -> None:
    for table in (
        "given_back_counts",
        "alert_preferences",
        "alert_deliveries",
        "alerts",
        "default_alert_rules",
        "alert_rules",
    ):
        op.drop_table(table)


def _create_rules() -> None:
    op.create_table(
        "alert_rules",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rules", JSONB()),
        sa.Column("updated_by", sa.String(length=255), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_alert_rules_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_alert_rules")),
    )
    op.create_index("ix_alert_rules_updated_at", "alert_rules", ["updated_at"])
    op.create_table(
        "default_alert_rules",
        sa.Column("offer_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rules", JSONB(), nullable=False),
        sa.Column("updated_by", sa.String(length=255), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_default_alert_rules")),
    )


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("occasion", sa.String(length=255), nullable=False),
        sa.Column("figures", JSONB(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True)),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(f"kind IN ({KINDS})", name=op.f("ck_alerts_kind_known")),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_alerts")),
        sa.UniqueConstraint(
            "account_id", "rule", "occasion", name=op.f("uq_alerts_account_id_rule_occasion")
        ),
    )
    op.create_index(
        "ix_alerts_undelivered",
        "alerts",
        ["account_id", "number"],
        postgresql_where=sa.text("delivered_at IS NULL"),
    )
    op.create_index(
        "ix_alerts_uncleared",
        "alerts",
        ["account_id", "rule"],
        postgresql_where=sa.text("cleared_at IS NULL"),
    )


def _create_deliveries() -> None:
    op.create_table(
        "alert_deliveries",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("read_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "channel IN ('app', 'mail')", name=op.f("ck_alert_deliveries_channel_known")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_alert_deliveries_user_id")
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "number", "user_id", "channel", name=op.f("pk_alert_deliveries")
        ),
    )
    op.create_index(
        "ix_alert_deliveries_user_id", "alert_deliveries", ["user_id", "channel", "read_at"]
    )
    op.create_index("ix_alert_deliveries_created_at", "alert_deliveries", ["created_at"])
    op.create_table(
        "alert_preferences",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("wants_mail", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "muted_kinds", ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("unsubscribe_key", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_alert_preferences_user_id")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_alert_preferences")),
    )

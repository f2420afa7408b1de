"""Offers edited as drafts before they are published."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "offers", sa.Column("published_revision", sa.Integer(), server_default="0", nullable=False)
    )
    op.create_table(
        "offer_drafts",
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("trial_days", sa.Integer(), nullable=False),
        sa.Column("overage", sa.String(), nullable=False),
        sa.Column("overage_unit_price_minor", sa.BigInteger(), nullable=True),
        sa.Column("overage_unit_executions", sa.BigInteger(), nullable=False),
        sa.Column("overage_limit_executions", sa.BigInteger(), nullable=True),
        sa.Column("valid_days", sa.Integer(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("visible", sa.Boolean(), nullable=False),
        sa.Column("edited_by", sa.String(length=255), nullable=False),
        sa.Column("edited_by_name", sa.String(length=255), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "interval IN ('month', 'year', 'once')", name=op.f("ck_offer_drafts_interval_known")
        ),
        sa.CheckConstraint(
            "overage IN ('hard', 'soft')", name=op.f("ck_offer_drafts_overage_known")
        ),
        sa.CheckConstraint("executions > 0", name=op.f("ck_offer_drafts_executions_positive")),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_offer_drafts_price_not_negative")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_offer_drafts_currency_iso")),
        sa.CheckConstraint(
            "(overage = 'soft') = (overage_unit_price_minor IS NOT NULL)",
            name=op.f("ck_offer_drafts_unit_price_when_soft"),
        ),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_offer_drafts_offer_id")),
        sa.PrimaryKeyConstraint("offer_id", "revision", name=op.f("pk_offer_drafts")),
    )


def downgrade() -> None:
    op.drop_table("offer_drafts")
    op.drop_column("offers", "published_revision")

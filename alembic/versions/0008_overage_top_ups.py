"""Spending limits, reports to the provider's meter, overage bills and settlements, top-ups."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("offer_prices", sa.Column("overage_price_id", sa.String(length=255)))
    op.create_index(
        "uq_provider_writes_one_top_up",
        "provider_writes",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("operation = 'top_up' AND state = 'pending'"),
    )
    _create_limits()
    _create_reports()
    _create_bills()
    _create_top_ups()


def downgrade() -> None:
    for table in (
        "top_ups",
        "overage_settlements",
        "overage_bills",
        "meter_reports",
        "overage_limits",
    ):
        op.drop_table(table)
    op.drop_index("uq_provider_writes_one_top_up", "provider_writes")
    op.drop_column("offer_prices", "overage_price_id")


def _account_id(table: str) -> list[sa.schema.SchemaItem]:
    """The key of a table with one row for an account."""
    return [
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=f"fk_{table}_account_id"),
        sa.PrimaryKeyConstraint("account_id", name=op.f(f"pk_{table}")),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f(f"ck_{table}_currency_iso")),
    ]


def _create_limits() -> None:
    op.create_table(
        "overage_limits",
        *_account_id("overage_limits"),
        sa.Column("limit_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("limit_minor >= 0", name=op.f("ck_overage_limits_limit_not_negative")),
    )


def _create_reports() -> None:
    op.create_table(
        "meter_reports",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan_sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'done')", name=op.f("ck_meter_reports_state_known")
        ),
        sa.CheckConstraint("executions <> 0", name=op.f("ck_meter_reports_executions_not_zero")),
        sa.PrimaryKeyConstraint(
            "account_id", "plan_sequence", "day", "number", name=op.f("pk_meter_reports")
        ),
    )
    op.create_index(
        "uq_meter_reports_one_pending",
        "meter_reports",
        ["account_id", "plan_sequence", "day"],
        unique=True,
        postgresql_where=sa.text("state = 'pending'"),
    )


def _create_bills() -> None:
    op.create_table(
        "overage_bills",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan_sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("billed_minor", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "plan_sequence", name=op.f("pk_overage_bills")),
    )
    op.create_table(
        "overage_settlements",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan_sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'done')", name=op.f("ck_overage_settlements_state_known")
        ),
        sa.CheckConstraint(
            "amount_minor <> 0", name=op.f("ck_overage_settlements_amount_not_zero")
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "plan_sequence", "number", name=op.f("pk_overage_settlements")
        ),
    )


def _create_top_ups() -> None:
    op.create_table(
        "top_ups",
        *_account_id("top_ups"),
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("threshold_executions", sa.BigInteger(), nullable=False),
        sa.Column("monthly_cap_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("stopped_because", sa.String(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("threshold_executions > 0", name=op.f("ck_top_ups_threshold_positive")),
        sa.CheckConstraint("monthly_cap_minor > 0", name=op.f("ck_top_ups_cap_positive")),
        sa.ForeignKeyConstraint(["offer_id"], ["offers.id"], name=op.f("fk_top_ups_offer_id")),
    )

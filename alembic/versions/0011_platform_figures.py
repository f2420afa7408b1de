"""Figures of all accounts by day, rolled up; and finding rows of a day in accounts' tables.

The indexes are BRIN: a few hundred kilobytes that say which blocks may have a day's rows, since
rows of a day stand together. They cost an insert next to nothing, and updates nothing.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

DAYS = (
    ("daily_usage", "day", "date_minmax_multi_ops"),
    ("daily_denials", "day", "date_minmax_multi_ops"),
    ("plans", "created_at", "timestamptz_minmax_multi_ops"),
    ("invoices", "issued_at", "timestamptz_minmax_multi_ops"),
)


def upgrade() -> None:
    op.create_table(
        "platform_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("trials_started", sa.BigInteger(), nullable=False),
        sa.Column("trials_converted", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_platform_days")),
    )
    op.create_table(
        "platform_denials",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("denied", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "reason", name=op.f("pk_platform_denials")),
    )
    op.create_table(
        "accounts_near_limit",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts_near_limit")),
    )
    op.create_table(
        "platform_refreshes",
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("what", name=op.f("pk_platform_refreshes")),
    )
    for table, column, operators in DAYS:
        op.create_index(
            f"ix_{table}_{column}",
            table,
            ["account_id", column],
            postgresql_using="brin",
            postgresql_ops={column: operators},
            postgresql_with={"pages_per_range": 64, "autosummarize": "on"},
        )


def downgrade() -> None:
    for table, column, _ in DAYS:
        op.drop_index(f"ix_{table}_{column}", table)
    for table in (
        "platform_refreshes",
        "accounts_near_limit",
        "platform_denials",
        "platform_days",
    ):
        op.drop_table(table)

"""Leases: reservations that services decide about themselves, settled line by line."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0040"
down_revision: str | None = "0039"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column(
        "reservations",
        sa.Column("is_lease", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unsettled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unsettled_at", sa.DateTime(timezone=True)),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "settled >= 0 AND settled <= executions", name=op.f("ck_leases_never_exceeded")
        ),
        sa.CheckConstraint(
            "(unsettled > 0) = (unsettled_at IS NOT NULL)", name=op.f("ck_leases_unsettled_since")
        ),
        sa.ForeignKeyConstraint(
            ["account_id", "number"],
            ["reservations.account_id", "reservations.number"],
            name=op.f("fk_leases_reservation"),
        ),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_leases")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "ix_leases_unsettled",
        "leases",
        ["account_id", "number"],
        postgresql_where=sa.text("unsettled > 0"),
    )
    op.create_table(
        "lease_lines",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lease_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("executions > 0", name=op.f("ck_lease_lines_executions_positive")),
        sa.ForeignKeyConstraint(
            ["account_id", "lease_number"],
            ["leases.account_id", "leases.number"],
            name=op.f("fk_lease_lines_lease"),
        ),
        sa.PrimaryKeyConstraint(
            *("account_id", "lease_number", "workflow", "user_id", "day"),
            name=op.f("pk_lease_lines"),
        ),
        postgresql_with={"fillfactor": "80"},
    )


def downgrade() -> None:
    op.drop_table("lease_lines")
    op.drop_table("leases")
    op.drop_column("reservations", "is_lease")

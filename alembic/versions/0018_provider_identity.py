"""Which account of the payment provider the database belongs to; written at first use."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "provider_identity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("provider_account_id", sa.String(length=255), nullable=True),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("mark", sa.String(length=32), nullable=False),
        sa.Column(
            "earlier_marks",
            postgresql.JSONB(),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column("system_identifier", sa.BigInteger(), nullable=True),
        sa.Column("timeline", sa.BigInteger(), nullable=True),
        sa.Column("database_oid", sa.BigInteger(), nullable=False),
        sa.Column("account_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("adopted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_provider_identity_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_identity")),
    )


def downgrade() -> None:
    op.drop_table("provider_identity")

"""Bank debits: when the bank was asked, when it decided, and when the customer was mailed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0033"
down_revision: str | None = "0032"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = ("bank_asked_at", "bank_decided_at", "bank_mailed_at")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("invoices", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_invoices_bank_unmailed",
        "invoices",
        ["bank_decided_at"],
        postgresql_where=sa.text("bank_decided_at IS NOT NULL AND bank_mailed_at IS NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_invoices_bank_unmailed", table_name="invoices")
    for name in reversed(COLUMNS):
        op.drop_column("invoices", name)

"""Bank debits: when the bank was asked, when it decided, and when the customer was mailed; audit
entries about what happens by itself."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0033"
down_revision: str | None = "0032"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ROLE = "ck_audit_entries_role_known"
ROLES = "'support', 'billing', 'admin', 'customer'"
COLUMNS = ("bank_asked_at", "bank_decided_at", "bank_mailed_at")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("invoices", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_invoices_bank_unmailed",
        "invoices",
        ["account_id"],
        postgresql_where=sa.text("bank_decided_at IS NOT NULL AND bank_mailed_at IS NULL"),
    )
    _allow_roles(f"{ROLES}, 'system'")
    op.execute(f"ALTER TABLE audit_entries VALIDATE CONSTRAINT {ROLE}")


def downgrade() -> None:
    # What is in the log stays there: it refuses changes.
    _allow_roles(ROLES)
    op.drop_index("ix_invoices_bank_unmailed", table_name="invoices")
    for name in reversed(COLUMNS):
        op.drop_column("invoices", name)


def _allow_roles(roles: str) -> None:
    op.drop_constraint(op.f(ROLE), "audit_entries")
    op.create_check_constraint(
        op.f(ROLE), "audit_entries", f"role IN ({roles})", postgresql_not_valid=True
    )

"""What was last read at the payment provider, reconciliation's cursor, and one rate budget.

Events get a number when they are stored, reads when they begin: an event that was stored before a
read began needs no read of its own.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0036"
down_revision: str | None = "0035"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NUMBERS = "provider_read_numbers"
TABLES = ("provider_mirrors", "mirrored_invoices", "reconcile_walks", "provider_budget")


def upgrade() -> None:
    op.execute(f"CREATE SEQUENCE {NUMBERS}")
    # The default comes second: with it, the new column would have the whole table rewritten.
    op.add_column("webhook_events", sa.Column("arrival_number", sa.BigInteger(), nullable=True))
    default = sa.text(f"nextval('{NUMBERS}')")
    op.alter_column("webhook_events", "arrival_number", server_default=default)
    _mirrors()
    op.create_table(
        "reconcile_walks",
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("position", sa.String(255), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("whole_since", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_reconcile_walks")),
    )
    op.create_table(
        "provider_budget",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("per_second", sa.Double(), nullable=False),
        sa.Column("refilled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("slowed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_provider_budget_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_budget")),
    )
    op.add_column(
        "reconciliations", sa.Column("whole_since", sa.DateTime(timezone=True), nullable=True)
    )


def downgrade() -> None:
    op.drop_column("reconciliations", "whole_since")
    for table in reversed(TABLES):
        op.drop_table(table)
    op.drop_column("webhook_events", "arrival_number")
    op.execute(f"DROP SEQUENCE {NUMBERS}")


def _mirrors() -> None:
    op.create_table(
        "provider_mirrors",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("read_number", sa.BigInteger(), nullable=False),
        sa.Column("whole_number", sa.BigInteger(), nullable=False),
        sa.Column("subscriptions", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_provider_mirrors")),
    )
    op.create_table(
        "mirrored_invoices",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider_id", sa.String(255), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("read_number", sa.BigInteger(), nullable=False),
        sa.Column("returned_number", sa.BigInteger(), nullable=False),
        sa.Column("payment_ids", postgresql.ARRAY(sa.String()), nullable=False),
        sa.Column("invoice", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "provider_id", name=op.f("pk_mirrored_invoices")),
    )
    op.create_index(
        "ix_mirrored_invoices_payment_ids",
        "mirrored_invoices",
        ["payment_ids"],
        postgresql_using="gin",
    )

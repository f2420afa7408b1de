"""More of what the provider says: the end of a subscription, its quantity, a pause of collection,
when an invoice is due, and what the provider took for a plan. Filled by the next synchronization."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("cancel_at", INSTANT))
    op.add_column(
        "subscriptions",
        sa.Column("is_collecting", sa.Boolean(), server_default=sa.true(), nullable=False),
    )
    op.add_column(
        "subscriptions",
        sa.Column("quantity", sa.Integer(), server_default=sa.text("1"), nullable=False),
    )
    op.add_column("plans", sa.Column("cost_minor", sa.BigInteger()))
    op.add_column("invoices", sa.Column("due_at", INSTANT))


def downgrade() -> None:
    op.drop_column("invoices", "due_at")
    op.drop_column("plans", "cost_minor")
    for name in ("quantity", "is_collecting", "cancel_at"):
        op.drop_column("subscriptions", name)

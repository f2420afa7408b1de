"""Staff find accounts by the ids of their subscriptions and invoices."""

from collections.abc import Sequence

from alembic import op

revision: str = "0032"
down_revision: str | None = "0030"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_subscriptions_provider_id", "subscriptions", ["provider_id"])
    op.create_index("ix_invoices_provider_id", "invoices", ["provider_id"])
    op.create_index("ix_invoices_number", "invoices", ["number"])


def downgrade() -> None:
    op.drop_index("ix_invoices_number", table_name="invoices")
    op.drop_index("ix_invoices_provider_id", table_name="invoices")
    op.drop_index("ix_subscriptions_provider_id", table_name="subscriptions")

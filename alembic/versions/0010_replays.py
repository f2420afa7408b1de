"""Webhook events that are replayed; what reconciliations found, dry runs too."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column(
        "webhook_events", sa.Column("replays", sa.Integer(), server_default="0", nullable=False)
    )
    op.create_index("ix_webhook_events_received_at", "webhook_events", ["received_at", "id"])
    op.create_index(
        "ix_webhook_events_customer_id", "webhook_events", ["customer_id", "received_at", "id"]
    )
    op.add_column(
        "reconciliations",
        sa.Column("dry_run", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column(
        "reconciliations",
        sa.Column(
            "found",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
    )


def downgrade() -> None:
    op.drop_column("reconciliations", "found")
    op.execute("DELETE FROM reconciliations WHERE dry_run")
    op.drop_column("reconciliations", "dry_run")
    op.drop_index("ix_webhook_events_customer_id", "webhook_events")
    op.drop_index("ix_webhook_events_received_at", "webhook_events")
    op.drop_column("webhook_events", "replays")

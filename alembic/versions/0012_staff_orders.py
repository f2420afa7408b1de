"""What the tables of the staff are sorted and filtered by, where they grow without end.

Types of events are compared byte by byte, so that the beginning of one is a range of the index.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TYPE = {"existing_type": sa.String(length=128), "existing_nullable": False}


def upgrade() -> None:
    op.alter_column("webhook_events", "type", type_=sa.String(length=128, collation="C"), **TYPE)
    op.create_index("ix_webhook_events_type", "webhook_events", ["type", "received_at", "id"])
    op.drop_index("ix_audit_entries_actor_id", "audit_entries")
    op.create_index("ix_audit_entries_actor_id", "audit_entries", ["actor_id", "at", "id"])
    op.create_index("ix_audit_entries_action", "audit_entries", ["action", "at", "id"])
    op.create_index("ix_audit_entries_at", "audit_entries", ["at", "id"])
    op.create_index(
        "ix_plans_offer_version_id",
        "plans",
        ["account_id", "offer_version_id"],
        postgresql_where=sa.text("offer_version_id IS NOT NULL"),
    )
    op.create_index(
        "ix_subscriptions_offer_version_id",
        "subscriptions",
        ["account_id", "offer_version_id"],
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_accounts_near_limit_left",
        "accounts_near_limit",
        [sa.text("(executions - used - held)"), "account_id"],
    )
    op.create_index(
        "ix_accounts_near_limit_executions", "accounts_near_limit", ["executions", "account_id"]
    )


def downgrade() -> None:
    op.drop_index("ix_accounts_near_limit_executions", "accounts_near_limit")
    op.drop_index("ix_accounts_near_limit_left", "accounts_near_limit")
    op.drop_index("ix_subscriptions_offer_version_id", "subscriptions")
    op.drop_index("ix_plans_offer_version_id", "plans")
    op.drop_index("ix_audit_entries_at", "audit_entries")
    op.drop_index("ix_audit_entries_action", "audit_entries")
    op.drop_index("ix_audit_entries_actor_id", "audit_entries")
    op.create_index("ix_audit_entries_actor_id", "audit_entries", ["actor_id", "id"])
    op.drop_index("ix_webhook_events_type", "webhook_events")
    op.alter_column(
        "webhook_events", "type", type_=sa.String(length=128, collation="default"), **TYPE
    )

"""Mail about what happened to accounts, confirmed e-mail addresses, purchase-order numbers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0044"
down_revision: str | None = "0041"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KINDS = (
    "receipt",
    "payment_failed",
    "plan_suspended",
    "renewal_coming",
    "plan_changed",
    "change_scheduled",
    "change_withdrawn",
    "plan_cancelled",
    "plan_resumed",
    "plan_ended",
    "top_up_stopped",
    "key_expiring",
    "support",
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("users", sa.Column("confirmation_asked_at", sa.DateTime(timezone=True)))
    op.add_column("users", sa.Column("email_confirmed_at", sa.DateTime(timezone=True)))
    # Entries that there are keep NULL; new ones, of the release before too, are news.
    op.add_column("audit_entries", sa.Column("is_news", sa.Boolean()))
    op.alter_column("audit_entries", "is_news", server_default=sa.true())
    op.add_column("billing_details", sa.Column("purchase_order", sa.String(length=140)))
    op.create_table(
        "notices",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("figures", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True)),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            f"kind IN ({', '.join(map(repr, KINDS))})", name=op.f("ck_notices_kind_known")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_notices_user_id")),
        sa.PrimaryKeyConstraint("account_id", "key", "user_id", name=op.f("pk_notices")),
    )
    op.create_index(
        "ix_notices_unsent",
        "notices",
        ["created_at"],
        postgresql_where=sa.text("sent_at IS NULL"),
    )
    op.create_index("ix_notices_created_at", "notices", ["created_at"])


def downgrade() -> None:
    op.drop_table("notices")
    op.drop_column("billing_details", "purchase_order")
    op.drop_column("audit_entries", "is_news")
    op.drop_column("users", "email_confirmed_at")
    op.drop_column("users", "confirmation_asked_at")

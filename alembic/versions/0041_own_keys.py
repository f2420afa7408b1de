"""API keys that customers make: of one person's account, for one workflow, and when last used."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0041"
down_revision: str | None = "0040"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("api_keys", sa.Column("user_id", sa.String()))
    op.add_column(
        "api_keys",
        sa.Column("workflow", sa.String(length=255), server_default=sa.text("''"), nullable=False),
    )
    op.add_column("api_keys", sa.Column("created_by", sa.String(length=255)))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True)))
    op.create_foreign_key(
        op.f("fk_api_keys_user_id_users"), "api_keys", "users", ["user_id"], ["id"]
    )
    op.create_check_constraint(
        op.f("ck_api_keys_user_of_public"),
        "api_keys",
        "user_id IS NULL OR organization_id IS NOT NULL",
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])


def downgrade() -> None:
    op.execute("DELETE FROM api_keys WHERE user_id IS NOT NULL OR workflow <> ''")
    op.drop_index("ix_api_keys_user_id", "api_keys")
    op.drop_constraint(op.f("ck_api_keys_user_of_public"), "api_keys")
    for column in ("last_used_at", "created_by", "workflow", "user_id"):
        op.drop_column("api_keys", column)

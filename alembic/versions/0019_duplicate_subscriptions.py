"""A second live subscription of an account is mirrored too, as a duplicate."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAME = "uq_subscriptions_one_live"
LIVE = "status IN ('trialing', 'active', 'past_due', 'unpaid', 'incomplete', 'paused')"


def upgrade() -> None:
    op.add_column(
        "subscriptions",
        sa.Column("is_duplicate", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    _index(f"{LIVE} AND NOT is_duplicate")


def downgrade() -> None:
    op.execute("DELETE FROM subscriptions WHERE is_duplicate")
    _index(LIVE)
    op.drop_column("subscriptions", "is_duplicate")


def _index(where: str) -> None:
    op.drop_index(NAME, "subscriptions")
    op.create_index(
        NAME, "subscriptions", ["account_id"], unique=True, postgresql_where=sa.text(where)
    )

"""The daily figures stand in the key itself, so that a year is read without the table's pages."""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEY = "PRIMARY KEY (account_id, day, workflow, user_id)"


def upgrade() -> None:
    _replace_key(f"{KEY} INCLUDE (used, refunded)")


def downgrade() -> None:
    _replace_key(KEY)


def _replace_key(key: str) -> None:
    op.execute(
        "ALTER TABLE daily_usage DROP CONSTRAINT pk_daily_usage,"
        f" ADD CONSTRAINT pk_daily_usage {key}"
    )

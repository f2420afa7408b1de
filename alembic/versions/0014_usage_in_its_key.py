"""The daily figures stand in the key itself, so that a year is read without the table's pages.

The new key is built beside the old one: counting goes on meanwhile.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COLUMNS = "(account_id, day, workflow, user_id)"


def upgrade() -> None:
    _replace_key(f"{COLUMNS} INCLUDE (used, refunded)")


def downgrade() -> None:
    _replace_key(COLUMNS)


def _replace_key(columns: str) -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS new_pk_daily_usage")
        op.execute(f"CREATE UNIQUE INDEX CONCURRENTLY new_pk_daily_usage ON daily_usage {columns}")
    op.execute(
        "ALTER TABLE daily_usage DROP CONSTRAINT pk_daily_usage,"
        " ADD CONSTRAINT pk_daily_usage PRIMARY KEY USING INDEX new_pk_daily_usage"
    )

"""A checkout that was paid blocks other purchases until its effect is applied: `confirming`."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CHECK = "ck_checkouts_status_known"
INDEX = "uq_checkouts_one_open"


def upgrade() -> None:
    _allow("'creating', 'open', 'confirming', 'complete', 'expired'")
    _one_of("'creating', 'open', 'confirming'")


def downgrade() -> None:
    op.execute("UPDATE checkouts SET status = 'open' WHERE status = 'confirming'")
    _allow("'creating', 'open', 'complete', 'expired'")
    _one_of("'creating', 'open'")


def _allow(statuses: str) -> None:
    op.drop_constraint(op.f(CHECK), "checkouts", type_="check")
    op.create_check_constraint(op.f(CHECK), "checkouts", f"status IN ({statuses})")


def _one_of(statuses: str) -> None:
    op.drop_index(INDEX, table_name="checkouts")
    where = sa.text(f"status IN ({statuses})")
    op.create_index(INDEX, "checkouts", ["account_id"], unique=True, postgresql_where=where)

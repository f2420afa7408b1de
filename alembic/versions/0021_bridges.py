"""Plans that bridge a renewal until it is known here. The next synchronization makes them."""

from collections.abc import Sequence

from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SOURCES = "source IN ('trial', 'contract', 'subscription', {more}'pack', 'overage', 'staff_grant')"


def upgrade() -> None:
    _sources("'bridge', ")


def downgrade() -> None:
    op.execute("UPDATE plans SET source = 'subscription' WHERE source = 'bridge'")
    _sources("")


def _sources(more: str) -> None:
    name = op.f("ck_plans_source_known")
    op.drop_constraint(name, "plans")
    op.create_check_constraint(name, "plans", SOURCES.format(more=more))

"""One trial for a person: hashes of the addresses and cards that have had one."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# As trial_uses.person_of: without case, `+tag`, and Gmail's dots.
KEEP_PEOPLE = """
WITH addresses AS (
    SELECT a.id AS account_id, p.created_at, split_part(lower(u.email), '@', 1) AS local,
           split_part(lower(u.email), '@', 2) AS domain
    FROM users AS u
    JOIN accounts AS a ON a.kind = 'user' AND a.user_id = u.id
    JOIN plans AS p ON p.account_id = a.id AND p.source = 'trial'
    WHERE u.email IS NOT NULL
), people AS (
    SELECT account_id, created_at, domain IN ('gmail.com', 'googlemail.com') AS is_gmail, domain,
           coalesce(nullif(split_part(local, '+', 1), ''), local) AS local
    FROM addresses
)
INSERT INTO trial_uses (kind, hash, account_id, created_at)
SELECT 'email', sha256(convert_to('email:' || CASE WHEN is_gmail
           THEN replace(local, '.', '') || '@gmail.com' ELSE local || '@' || domain END, 'UTF8')),
       account_id, created_at
FROM people ORDER BY created_at, account_id
ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    op.create_table(
        "trial_uses",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('email', 'card')", name=op.f("ck_trial_uses_kind_known")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_trial_uses_account_id")
        ),
        sa.PrimaryKeyConstraint("kind", "hash", name=op.f("pk_trial_uses")),
    )
    op.execute(KEEP_PEOPLE)
    op.add_column(
        "subscriptions",
        sa.Column("trial_refused_at", sa.DateTime(timezone=True), nullable=True),
    )


def downgrade() -> None:
    op.drop_column("subscriptions", "trial_refused_at")
    op.drop_table("trial_uses")

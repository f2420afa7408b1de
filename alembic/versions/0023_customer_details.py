"""New e-mail addresses that wait for a confirmation, billing details, and customers in the audit log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ROLE = "ck_audit_entries_role_known"
STAFF = "'support', 'billing', 'admin'"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "email_changes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=255)),
        sa.Column("account_id", sa.BigInteger()),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("requested_by", sa.String(length=255), nullable=False),
        sa.Column("session_hash", sa.LargeBinary()),
        sa.Column("token_hash", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(user_id IS NULL) <> (account_id IS NULL)",
            name=op.f("ck_email_changes_one_subject"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_email_changes_user_id")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_email_changes_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["requested_by"], ["users.id"], name=op.f("fk_email_changes_requested_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_changes")),
    )
    for column in ("user_id", "account_id", "token_hash"):
        op.create_index(f"uq_email_changes_{column}", "email_changes", [column], unique=True)
    op.create_index("ix_email_changes_expires_at", "email_changes", ["expires_at"])
    op.create_table(
        "billing_details",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=255), server_default=sa.text("''"), nullable=False),
        sa.Column("email", sa.String(length=320)),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_billing_details_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_billing_details")),
    )
    _allow_roles(f"{STAFF}, 'customer'")
    op.execute(f"ALTER TABLE audit_entries VALIDATE CONSTRAINT {ROLE}")


def downgrade() -> None:
    # What customers did stays in the log, which refuses changes.
    _allow_roles(STAFF)
    op.drop_table("billing_details")
    op.drop_table("email_changes")


def _allow_roles(roles: str) -> None:
    op.drop_constraint(op.f(ROLE), "audit_entries")
    op.create_check_constraint(
        op.f(ROLE), "audit_entries", f"role IN ({roles})", postgresql_not_valid=True
    )

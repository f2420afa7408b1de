"""Executions beyond the plan, packs that end, plans that are stopped, staff and their audit log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

SOURCES = "source IN ('trial', 'contract', 'subscription', 'pack'{more}, 'staff_grant')"
REASONS = (
    "reason IN ('insufficient_executions', 'plan_not_found', 'trial_ended', 'payment_past_due',"
    " 'budget_exceeded'{more})"
)
COPY_BLOCK = """
CREATE FUNCTION copy_block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT blocked_at INTO NEW.blocked_at FROM accounts WHERE id = NEW.account_id FOR SHARE;
    RETURN NEW;
END $$
"""
SPREAD_BLOCK = """
CREATE FUNCTION spread_block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE plans SET blocked_at = NEW.blocked_at WHERE account_id = NEW.id;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    _check("plans", "source_known", SOURCES.format(more=", 'overage'"))
    _check(
        "daily_denials", "reason_known", REASONS.format(more=", 'plan_paused', 'account_blocked'")
    )
    op.add_column("accounts", sa.Column("blocked_at", sa.DateTime(timezone=True)))
    op.add_column("plans", sa.Column("paused_at", sa.DateTime(timezone=True)))
    op.add_column("plans", sa.Column("blocked_at", sa.DateTime(timezone=True)))
    op.execute(COPY_BLOCK)
    op.execute(SPREAD_BLOCK)
    op.execute(
        "CREATE TRIGGER plans_copy_block BEFORE INSERT ON plans"
        " FOR EACH ROW EXECUTE FUNCTION copy_block()"
    )
    op.execute(
        "CREATE TRIGGER accounts_spread_block AFTER UPDATE OF blocked_at ON accounts"
        " FOR EACH ROW EXECUTE FUNCTION spread_block()"
    )
    _add_offer_terms()
    op.create_table(
        "daily_overage",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan_sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "used >= 0 AND refunded >= 0", name=op.f("ck_daily_overage_not_negative")
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "plan_sequence", "day", name=op.f("pk_daily_overage")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    _create_staff()


def downgrade() -> None:
    op.drop_table("audit_entries")
    op.drop_table("staff_members")
    op.drop_table("daily_overage")
    for name in ("valid_days_positive", "overage_limit_positive", "overage_unit_positive"):
        op.drop_constraint(op.f(f"ck_offer_versions_{name}"), "offer_versions")
    for name in ("priority", "valid_days", "overage_limit_executions", "overage_unit_executions"):
        op.drop_column("offer_versions", name)
    op.execute("DROP TRIGGER accounts_spread_block ON accounts")
    op.execute("DROP TRIGGER plans_copy_block ON plans")
    op.execute("DROP FUNCTION spread_block()")
    op.execute("DROP FUNCTION copy_block()")
    op.drop_column("plans", "blocked_at")
    op.drop_column("plans", "paused_at")
    op.drop_column("accounts", "blocked_at")
    _check("daily_denials", "reason_known", REASONS.format(more=""))
    _check("plans", "source_known", SOURCES.format(more=""))


def _check(table: str, name: str, condition: str) -> None:
    full_name = op.f(f"ck_{table}_{name}")
    op.drop_constraint(full_name, table)
    op.create_check_constraint(full_name, table, condition)


def _add_offer_terms() -> None:
    table = "offer_versions"
    op.add_column(
        table,
        sa.Column("overage_unit_executions", sa.BigInteger(), server_default="1", nullable=False),
    )
    op.add_column(table, sa.Column("overage_limit_executions", sa.BigInteger()))
    op.add_column(table, sa.Column("valid_days", sa.Integer()))
    op.add_column(table, sa.Column("priority", sa.Integer(), server_default="100", nullable=False))
    for name, condition in (
        ("overage_unit_positive", "overage_unit_executions > 0"),
        ("overage_limit_positive", "overage_limit_executions > 0"),
        ("valid_days_positive", "valid_days > 0"),
    ):
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)
    op.execute("ALTER TABLE offer_versions DISABLE TRIGGER offer_versions_append_only")
    op.execute("UPDATE offer_versions SET priority = 200 WHERE interval = 'once'")
    op.execute("ALTER TABLE offer_versions ENABLE TRIGGER offer_versions_append_only")


def _create_staff() -> None:
    op.create_table(
        "staff_members",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role IN ('support', 'billing', 'admin')", name=op.f("ck_staff_members_role_known")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_staff_members_user_id")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_staff_members")),
    )
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.String(length=255), nullable=False),
        sa.Column("actor_name", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("undoes", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "role IN ('support', 'billing', 'admin')", name=op.f("ck_audit_entries_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["undoes"], ["audit_entries.id"], name=op.f("fk_audit_entries_undoes")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_account_id", "audit_entries", ["account_id", "id"])
    op.create_index(
        "uq_audit_entries_undoes",
        "audit_entries",
        ["undoes"],
        unique=True,
        postgresql_where=sa.text("undoes IS NOT NULL"),
    )
    op.execute(
        "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE"
        " ON audit_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )

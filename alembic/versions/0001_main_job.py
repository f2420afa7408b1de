"""Accounts, offers, plans, the ledger, daily usage, keys and sessions."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
APPEND_ONLY_TABLES = ("execution_events", "offer_versions")
REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: a correction is a new row', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""

branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "daily_denials",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("denied", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "reason IN ('insufficient_executions', 'plan_not_found', 'trial_ended', 'payment_past_due', 'budget_exceeded')",
            name=op.f("ck_daily_denials_reason_known"),
        ),
        sa.CheckConstraint("denied > 0", name=op.f("ck_daily_denials_denied_positive")),
        sa.PrimaryKeyConstraint(
            "account_id", "day", "workflow", "user_id", "reason", name=op.f("pk_daily_denials")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "daily_usage",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("used >= 0 AND refunded >= 0", name=op.f("ck_daily_usage_not_negative")),
        sa.PrimaryKeyConstraint(
            "account_id", "day", "workflow", "user_id", name=op.f("pk_daily_usage")
        ),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "execution_events",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan_sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("plan_used_after", sa.BigInteger(), nullable=False),
        sa.Column("remaining_after", sa.BigInteger(), nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.BigInteger(), nullable=True),
        sa.Column("refers_to", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "CASE kind WHEN 'refund' THEN executions < 0 WHEN 'adjustment' THEN executions <> 0 ELSE executions > 0 END",
            name=op.f("ck_execution_events_sign_fits_kind"),
        ),
        sa.CheckConstraint(
            "kind <> 'refund' OR refers_to IS NOT NULL",
            name=op.f("ck_execution_events_refund_refers"),
        ),
        sa.CheckConstraint(
            "kind IN ('consume', 'commit', 'refund', 'adjustment')",
            name=op.f("ck_execution_events_kind_known"),
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "number", "plan_sequence", name=op.f("pk_execution_events")
        ),
    )
    op.create_index(
        "ix_execution_events_refers_to",
        "execution_events",
        ["account_id", "refers_to"],
        unique=False,
        postgresql_where=sa.text("refers_to IS NOT NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(collation="C"), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "offers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("visible", sa.Boolean(), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offers")),
        sa.UniqueConstraint("code", name=op.f("uq_offers_code")),
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
    )
    op.create_table(
        "reservations",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=False),
        sa.Column("api_key_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("event_number", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(status = 'committed') = (event_number IS NOT NULL)",
            name=op.f("ck_reservations_event_when_committed"),
        ),
        sa.CheckConstraint(
            "status IN ('held', 'committed', 'released', 'expired')",
            name=op.f("ck_reservations_status_known"),
        ),
        sa.CheckConstraint("executions > 0", name=op.f("ck_reservations_executions_positive")),
        sa.PrimaryKeyConstraint("account_id", "number", name=op.f("pk_reservations")),
        postgresql_with={"fillfactor": "80"},
    )
    op.create_index(
        "ix_reservations_held",
        "reservations",
        ["account_id", "expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'held'"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=True),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(email IS NULL) = (password_hash IS NULL)",
            name=op.f("ck_users_email_and_password_together"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index(
        "uq_users_email_folded", "users", [sa.literal_column("lower(email)")], unique=True
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(kind = 'user') = (user_id IS NOT NULL)", name=op.f("ck_accounts_user_when_kind_user")
        ),
        sa.CheckConstraint("kind IN ('user', 'organization')", name=op.f("ck_accounts_kind_known")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_accounts_organization_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_accounts_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_index(
        "uq_accounts_organization",
        "accounts",
        ["organization_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'organization'"),
    )
    op.create_index(
        "uq_accounts_user",
        "accounts",
        ["user_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'user'"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("organization_id", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("cardinality(scopes) > 0", name=op.f("ck_api_keys_has_scope")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_api_keys_organization_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_index("ix_api_keys_organization_id", "api_keys", ["organization_id"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("organization_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('owner', 'billing_admin', 'member')", name=op.f("ck_memberships_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_memberships_organization_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_memberships_user_id")),
        sa.PrimaryKeyConstraint("organization_id", "user_id", name=op.f("pk_memberships")),
    )
    op.create_index("ix_memberships_user_id", "memberships", ["user_id"], unique=False)
    op.create_table(
        "offer_versions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("offer_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("interval", sa.String(), nullable=False),
        sa.Column("trial_days", sa.Integer(), nullable=False),
        sa.Column("overage", sa.String(), nullable=False),
        sa.Column("overage_unit_price_minor", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(overage = 'soft') = (overage_unit_price_minor IS NOT NULL)",
            name=op.f("ck_offer_versions_unit_price_when_soft"),
        ),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_offer_versions_currency_iso")),
        sa.CheckConstraint(
            "interval IN ('month', 'year', 'once')", name=op.f("ck_offer_versions_interval_known")
        ),
        sa.CheckConstraint(
            "overage IN ('hard', 'soft')", name=op.f("ck_offer_versions_overage_known")
        ),
        sa.CheckConstraint("executions > 0", name=op.f("ck_offer_versions_executions_positive")),
        sa.CheckConstraint("price_minor >= 0", name=op.f("ck_offer_versions_price_not_negative")),
        sa.CheckConstraint(
            "trial_days >= 0", name=op.f("ck_offer_versions_trial_days_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["offer_id"], ["offers.id"], name=op.f("fk_offer_versions_offer_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offer_versions")),
        sa.UniqueConstraint("offer_id", "version", name=op.f("uq_offer_versions_offer_id_version")),
    )
    op.create_table(
        "reservation_holds",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reservation_number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan_sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("executions > 0", name=op.f("ck_reservation_holds_executions_positive")),
        sa.ForeignKeyConstraint(
            ["account_id", "reservation_number"],
            ["reservations.account_id", "reservations.number"],
            name="fk_reservation_holds_reservation",
        ),
        sa.PrimaryKeyConstraint(
            "account_id", "reservation_number", "plan_sequence", name=op.f("pk_reservation_holds")
        ),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("user_agent", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)
    op.create_table(
        "plans",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("offer_version_id", sa.BigInteger(), nullable=True),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_because", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "ended_because IN ('depleted', 'period_ended', 'cancelled')",
            name=op.f("ck_plans_ended_because_known"),
        ),
        sa.CheckConstraint(
            "source IN ('trial', 'contract', 'subscription', 'pack', 'staff_grant')",
            name=op.f("ck_plans_source_known"),
        ),
        sa.CheckConstraint("type IN ('trial', 'paid')", name=op.f("ck_plans_type_known")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (ended_because IS NULL)", name=op.f("ck_plans_end_has_reason")
        ),
        sa.CheckConstraint(
            "ends_at IS NULL OR ends_at > starts_at", name=op.f("ck_plans_ends_after_start")
        ),
        sa.CheckConstraint("executions >= 0", name=op.f("ck_plans_executions_not_negative")),
        sa.CheckConstraint(
            "used >= 0 AND held >= 0 AND used + held <= executions",
            name=op.f("ck_plans_never_over_consumed"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_plans_account_id")),
        sa.ForeignKeyConstraint(
            ["offer_version_id"], ["offer_versions.id"], name=op.f("fk_plans_offer_version_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "sequence", name=op.f("pk_plans")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "uq_plans_one_trial",
        "plans",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("type = 'trial'"),
    )
    op.execute(REFUSE_CHANGE)
    for table in APPEND_ONLY_TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    op.drop_index(
        "uq_plans_one_trial", table_name="plans", postgresql_where=sa.text("type = 'trial'")
    )
    op.drop_table("plans")
    op.drop_index("ix_sessions_user_id", table_name="sessions")
    op.drop_table("sessions")
    op.drop_table("reservation_holds")
    op.drop_table("offer_versions")
    op.drop_index("ix_memberships_user_id", table_name="memberships")
    op.drop_table("memberships")
    op.drop_index("ix_api_keys_organization_id", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(
        "uq_accounts_user", table_name="accounts", postgresql_where=sa.text("kind = 'user'")
    )
    op.drop_index(
        "uq_accounts_organization",
        table_name="accounts",
        postgresql_where=sa.text("kind = 'organization'"),
    )
    op.drop_table("accounts")
    op.drop_index("uq_users_email_folded", table_name="users")
    op.drop_table("users")
    op.drop_index(
        "ix_reservations_held",
        table_name="reservations",
        postgresql_where=sa.text("status = 'held'"),
    )
    op.drop_table("reservations")
    op.drop_table("organizations")
    op.drop_table("offers")
    op.drop_table("idempotency_keys")
    op.drop_index(
        "ix_execution_events_refers_to",
        table_name="execution_events",
        postgresql_where=sa.text("refers_to IS NOT NULL"),
    )
    op.drop_table("execution_events")
    op.drop_table("daily_usage")
    op.drop_table("daily_denials")
    op.execute("DROP FUNCTION refuse_change()")

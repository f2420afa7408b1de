"""Accounts that services provision, with metadata and the offer they began with; keys of plans
that services added; portal links and their sessions."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0037"
down_revision: str | None = "0036"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ROLE = "ck_audit_entries_role_known"
ROLES = "'support', 'billing', 'admin', 'customer', 'system'"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "account_profiles",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("own_metadata", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("offer_version_id", sa.BigInteger()),
        sa.Column("offer_since", sa.DateTime(timezone=True)),
        sa.Column("refills_at", sa.DateTime(timezone=True)),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "(offer_version_id IS NULL) = (offer_since IS NULL)",
            name=op.f("ck_account_profiles_offer_has_start"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_account_profiles_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["offer_version_id"],
            ["offer_versions.id"],
            name=op.f("fk_account_profiles_offer_version_id"),
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_profiles")),
    )
    op.create_index("ix_account_profiles_refills_at", "account_profiles", ["refills_at"])
    op.create_table(
        "granted_plans",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_granted_plans_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_granted_plans")),
    )
    op.create_table(
        "portal_links",
        *_person("portal_links"),
        sa.Column("page", sa.String(length=64), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_portal_links_expires_at", "portal_links", ["expires_at"])
    op.create_table(
        "portal_sessions",
        *_person("portal_sessions"),
        sa.Column("user_agent", sa.String(length=255), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
    )
    op.create_index(
        "ix_portal_sessions_account_id", "portal_sessions", ["account_id", "created_at"]
    )
    _allow_roles(f"{ROLES}, 'service'")
    op.execute(f"ALTER TABLE audit_entries VALIDATE CONSTRAINT {ROLE}")


def downgrade() -> None:
    # What is in the log stays there: it refuses changes.
    _allow_roles(ROLES)
    op.drop_table("portal_sessions")
    op.drop_table("portal_links")
    op.drop_table("granted_plans")
    op.drop_table("account_profiles")


def _person(table: str) -> list[Any]:
    """Whose a link or a session is, for which account, until when."""
    return [
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("person_id", sa.String(length=255), nullable=False),
        sa.Column("person_name", sa.String(length=255), nullable=False),
        sa.Column("person_email", sa.String(length=320), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("return_url", sa.String(length=2000), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "role IN ('owner', 'billing_admin', 'member')", name=op.f(f"ck_{table}_role_known")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f(f"fk_{table}_account_id")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f(f"pk_{table}")),
    ]


def _allow_roles(roles: str) -> None:
    op.drop_constraint(op.f(ROLE), "audit_entries")
    op.create_check_constraint(
        op.f(ROLE), "audit_entries", f"role IN ({roles})", postgresql_not_valid=True
    )

"""Service keys with a role of the house; audit entries found by who wrote them, written once."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("staff_role", sa.String()))
    op.create_check_constraint(
        op.f("ck_api_keys_staff_role_known"),
        "api_keys",
        "staff_role IN ('support', 'billing', 'admin')",
    )
    op.create_check_constraint(
        op.f("ck_api_keys_staff_of_platform"),
        "api_keys",
        "staff_role IS NULL OR (organization_id IS NULL AND 'staff' = ANY (scopes))",
    )
    op.add_column("audit_entries", sa.Column("request_key", sa.String(length=255)))
    op.add_column("audit_entries", sa.Column("request_hash", sa.LargeBinary()))
    op.create_check_constraint(
        op.f("ck_audit_entries_request_whole"),
        "audit_entries",
        "(request_key IS NULL) = (request_hash IS NULL)",
    )
    op.create_index(
        "uq_audit_entries_request_key",
        "audit_entries",
        ["actor_id", "request_key"],
        unique=True,
        postgresql_where=sa.text("request_key IS NOT NULL"),
    )
    op.create_index("ix_audit_entries_actor_id", "audit_entries", ["actor_id", "id"])


def downgrade() -> None:
    op.drop_index("ix_audit_entries_actor_id", "audit_entries")
    op.drop_index("uq_audit_entries_request_key", "audit_entries")
    op.drop_constraint(op.f("ck_audit_entries_request_whole"), "audit_entries")
    op.drop_column("audit_entries", "request_hash")
    op.drop_column("audit_entries", "request_key")
    op.drop_constraint(op.f("ck_api_keys_staff_of_platform"), "api_keys")
    op.drop_constraint(op.f("ck_api_keys_staff_role_known"), "api_keys")
    op.drop_column("api_keys", "staff_role")

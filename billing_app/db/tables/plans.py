"""Plans: what an account holds, in a queue."""

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, text
from sqlmodel import Field, SQLModel

from billing_app.db.columns import by_day, instant, one_of
from billing_app.db.enums import EndReason, PlanSource, PlanType, TrialUseKind

QUEUE_PRIORITY: Final = 100
PACK_PRIORITY: Final = 200
# Overage: executions beyond everything that was bought, billed afterwards.
OVERAGE_PRIORITY: Final = 1000


class Plan(SQLModel, table=True):
    """A number of executions for an account, used by `priority`, then what ends first, then
    `sequence`, which is the plan's identity.

    `source_reference` names what it was created for (a line of an invoice), so that it is created
    once; `cost_minor` is what that really cost, None: unknown.
    It cannot be used from `suspended_at` on (payment overdue), while `paused_at` is set (by
    staff), or while its account is blocked (`blocked_at` is the account's).

    `ended_at` is set when the last execution is used, when the plan is cancelled, or by the first
    decision after `ends_at`. A plan whose `ends_at` has passed has ended in any case.
    """

    __tablename__ = "plans"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        one_of("type", PlanType),
        one_of("source", PlanSource),
        one_of("ended_because", EndReason),
        CheckConstraint("executions >= 0", name="executions_not_negative"),
        CheckConstraint(
            "used >= 0 AND held >= 0 AND used + held <= executions", name="never_over_consumed"
        ),
        CheckConstraint("ends_at IS NULL OR ends_at > starts_at", name="ends_after_start"),
        CheckConstraint("(ended_at IS NULL) = (ended_because IS NULL)", name="end_has_reason"),
        Index(
            "uq_plans_one_trial", "account_id", unique=True, postgresql_where=text("type = 'trial'")
        ),
        Index(
            "uq_plans_source_reference",
            "account_id",
            "source_reference",
            unique=True,
            postgresql_where=text("source_reference IS NOT NULL"),
        ),
        Index(
            "ix_plans_offer_version_id",
            "account_id",
            "offer_version_id",
            postgresql_where=text("offer_version_id IS NOT NULL"),
        ),
        by_day("plans", "created_at", "timestamptz_minmax_multi_ops"),
        {"postgresql_with": {"fillfactor": "70"}},
    )

    account_id: int = Field(primary_key=True, foreign_key="accounts.id", sa_type=BigInteger)
    sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    type: str
    name: str = Field(max_length=255)
    source: str
    source_reference: str | None = Field(default=None, max_length=255)
    priority: int = Field(default=QUEUE_PRIORITY, sa_column_kwargs={"server_default": "100"})
    offer_version_id: int | None = Field(
        default=None, foreign_key="offer_versions.id", sa_type=BigInteger
    )
    cost_minor: int | None = Field(default=None, sa_type=BigInteger)
    executions: int = Field(sa_type=BigInteger)
    used: int = Field(default=0, sa_type=BigInteger)
    held: int = Field(default=0, sa_type=BigInteger)
    starts_at: datetime = instant()
    ends_at: datetime | None = instant(nullable=True)
    began_at: datetime | None = instant(nullable=True)
    suspended_at: datetime | None = instant(nullable=True)
    paused_at: datetime | None = instant(nullable=True)
    blocked_at: datetime | None = instant(nullable=True)
    ended_at: datetime | None = instant(nullable=True)
    ended_because: str | None = None
    created_at: datetime = instant()


class TrialUse(SQLModel, table=True):
    """A person had a trial on this account: the hash of their address or of their card."""

    __tablename__ = "trial_uses"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (one_of("kind", TrialUseKind),)

    kind: str = Field(primary_key=True, max_length=16)
    hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    account_id: int = Field(foreign_key="accounts.id", sa_type=BigInteger)
    created_at: datetime = instant()


class GrantedPlan(SQLModel, table=True):
    """The key under which a service added a plan, with the answer that a retry gets."""

    __tablename__ = "granted_plans"  # pyright: ignore[reportAssignmentType]

    account_id: int = Field(primary_key=True, foreign_key="accounts.id", sa_type=BigInteger)
    key: str = Field(primary_key=True, max_length=255)
    request_hash: bytes = Field(sa_type=LargeBinary)
    answer: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = instant()

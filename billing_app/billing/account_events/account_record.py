"""What services keep of an account besides its counts, as one value that can be compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.enums import PlanSource, SubscriptionStatus

ACCOUNT: Final = text("""
SELECT account.blocked_at, profile.closed_at, own.limit_minor, own.currency
FROM accounts AS account
LEFT JOIN account_profiles AS profile ON profile.account_id = account.id
LEFT JOIN overage_limits AS own ON own.account_id = account.id
WHERE account.id = :account_id
""")
ENDED: Final = frozenset({SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED})


class PlanRecord(NamedTuple):
    """A plan but for what executions change: its counts, and when it was first used."""

    sequence: int
    type: str
    name: str
    source: str
    executions: int
    priority: int
    starts_at: datetime
    ends_at: datetime | None
    ended_at: datetime | None
    ended_because: str | None
    suspended_at: datetime | None
    paused_at: datetime | None
    blocked_at: datetime | None

    def is_usable(self, now: datetime) -> bool:
        is_in_period = self.starts_at <= now and (self.ends_at is None or self.ends_at > now)
        is_stopped = self.paused_at or self.blocked_at
        is_suspended = self.suspended_at is not None and self.suspended_at <= now
        return is_in_period and not self.ended_at and not is_stopped and not is_suspended


class SubscriptionRecord(NamedTuple):
    number: int
    provider_id: str
    status: str
    offer_version_id: int
    next_offer_version_id: int | None
    quantity: int
    period_end: datetime
    cancel_at_period_end: bool
    cancel_at: datetime | None
    is_collecting: bool
    is_duplicate: bool
    past_due_since: datetime | None

    @property
    def is_live(self) -> bool:
        return self.status not in ENDED and not self.is_duplicate


class InvoiceRecord(NamedTuple):
    provider_id: str
    number: str
    status: str
    currency: str
    amount_due_minor: int
    amount_paid_minor: int
    issued_at: datetime


def _of_account(table: str, columns: Iterable[str], also: str = "true") -> TextClause:
    listed = ", ".join(columns)
    return text(f"SELECT {listed} FROM {table} WHERE account_id = :account_id AND {also}")  # noqa: S608


PLANS: Final = _of_account(
    "plans", PlanRecord._fields, f"source NOT IN ('{PlanSource.OVERAGE}', '{PlanSource.BRIDGE}')"
)
SUBSCRIPTIONS: Final = _of_account("subscriptions", SubscriptionRecord._fields)
INVOICES: Final = _of_account("invoices", InvoiceRecord._fields)


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Plans by sequence, subscriptions and invoices by the provider's id. Overage and bridges are
    left out: they belong to a plan."""

    blocked_at: datetime | None
    closed_at: datetime | None
    limit: tuple[int, str] | None
    plans: dict[int, PlanRecord]
    subscriptions: dict[str, SubscriptionRecord]
    invoices: dict[str, InvoiceRecord]


async def read_record(session: AsyncSession, account_id: int) -> AccountRecord:
    """As the transaction of `session` sees it, with what it changed itself."""
    await session.flush()
    connection = await session.connection()
    values = {"account_id": account_id}
    account = (await connection.execute(ACCOUNT, values)).one()
    limit = None if account.limit_minor is None else (account.limit_minor, account.currency)
    plans = [PlanRecord(*row) for row in await connection.execute(PLANS, values)]
    subscriptions = [
        SubscriptionRecord(*row) for row in await connection.execute(SUBSCRIPTIONS, values)
    ]
    invoices = [InvoiceRecord(*row) for row in await connection.execute(INVOICES, values)]
    return AccountRecord(
        blocked_at=account.blocked_at,
        closed_at=account.closed_at,
        limit=limit,
        plans={plan.sequence: plan for plan in plans},
        subscriptions={each.provider_id: each for each in subscriptions},
        invoices={each.provider_id: each for each in invoices},
    )

"""What services keep of an account besides its counts, as one value that can be compared."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.enums import PlanSource, SubscriptionStatus

# What is older is history that was read for the first time, and no news.
NEWS_DAYS: Final = timedelta(days=60)
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


def _listed(table: str, columns: Iterable[str], where: str = "true") -> str:
    """The account's rows as the text of a JSON array of arrays."""
    row = f"jsonb_build_array({', '.join(columns)})"
    return (
        f"(SELECT coalesce(jsonb_agg({row}), '[]')::text FROM {table}"  # noqa: S608
        f" WHERE account_id = :account_id AND {where})"
    )


_SUBSCRIPTIONS: Final = _listed("subscriptions", SubscriptionRecord._fields)
_INVOICES: Final = _listed("invoices", InvoiceRecord._fields, "issued_at > :since")
# What is on the coordinator of a cluster; plans are on a worker.
ACCOUNT: Final = text(f"""
SELECT account.blocked_at, profile.closed_at, own.limit_minor, own.currency,
       {_SUBSCRIPTIONS} AS subscriptions, {_INVOICES} AS invoices
FROM accounts AS account
LEFT JOIN account_profiles AS profile ON profile.account_id = account.id
LEFT JOIN overage_limits AS own ON own.account_id = account.id
WHERE account.id = :account_id
""")  # noqa: S608
PLANS: Final = text(f"""
SELECT {", ".join(PlanRecord._fields)} FROM plans
WHERE account_id = :account_id AND source NOT IN ('{PlanSource.OVERAGE}', '{PlanSource.BRIDGE}')
""")  # noqa: S608
_subscriptions: Final = msgspec.json.Decoder(list[SubscriptionRecord])
_invoices: Final = msgspec.json.Decoder(list[InvoiceRecord])


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """Plans by sequence, subscriptions and invoices of NEWS_DAYS by the provider's id. Overage and
    bridges are left out: they belong to a plan."""

    blocked_at: datetime | None
    closed_at: datetime | None
    limit: tuple[int, str] | None
    plans: dict[int, PlanRecord]
    subscriptions: dict[str, SubscriptionRecord]
    invoices: dict[str, InvoiceRecord]


async def read_record(session: AsyncSession, account_id: int, now: datetime) -> AccountRecord:
    """As the transaction of `session` sees it, with what it changed itself."""
    await session.flush()
    connection = await session.connection()
    values: dict[str, Any] = {"account_id": account_id}
    account = (await connection.execute(ACCOUNT, values | {"since": now - NEWS_DAYS})).one()
    limit = None if account.limit_minor is None else (account.limit_minor, account.currency)
    plans = [PlanRecord(*row) for row in await connection.execute(PLANS, values)]
    return AccountRecord(
        blocked_at=account.blocked_at,
        closed_at=account.closed_at,
        limit=limit,
        plans={plan.sequence: plan for plan in plans},
        subscriptions={
            each.provider_id: each for each in _subscriptions.decode(account.subscriptions)
        },
        invoices={each.provider_id: each for each in _invoices.decode(account.invoices)},
    )

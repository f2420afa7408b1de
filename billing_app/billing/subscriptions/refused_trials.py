"""Trials that are not given, because their card has had one on another account.

The subscription is refused when it is first seen here (see apply.py) and cancelled at once: nothing
is charged and nothing is granted. Whoever pays right away can have the plan. One that charged
before it could be cancelled is a subscription like any other.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import ConflictError
from billing_app.billing.subscriptions.installation import ProviderNotAdoptedError
from billing_app.billing.subscriptions.provider_request_recovery import (
    ProviderRequests,
    RequestTarget,
)
from billing_app.billing.subscriptions.provider_requests import (
    Operation,
    ProviderRequestPendingError,
)
from billing_app.db.engine import Database
from billing_app.db.enums import SubscriptionStatus
from billing_app.db.tables import ProviderCustomer, Subscription

log = structlog.get_logger(__name__)


class CardTrialUsedError(ConflictError):
    """Nothing was charged."""

    code = "card_trial_used"
    title = "This card has already been used for a trial"

    def __init__(self) -> None:
        super().__init__("Subscribe again to start paying right away.")


@dataclass(frozen=True, slots=True)
class RefusedTrials:
    _database: Database
    _requests: ProviderRequests
    _cancelling: set[str] = field(default_factory=set[str], init=False)

    async def cancel(self, customer_id: str, now: datetime) -> bool:
        """End the customer's refused subscriptions; False: there were none, or they must wait.
        While another request is pending, or this database may not write, the next synchronization
        tries again.

        A request synchronizes the customer itself, which asks for this again: once is enough.
        """
        if customer_id in self._cancelling:
            return False
        self._cancelling.add(customer_id)
        try:
            rows = await self._refused(customer_id)
            for row in rows:
                await self._cancel(row, customer_id, now)
            return bool(rows)
        except (ProviderRequestPendingError, ProviderNotAdoptedError) as error:
            log.warning("refused_trial_waits", customer_id=customer_id, code=error.code)
            return False
        finally:
            self._cancelling.discard(customer_id)

    async def _refused(self, customer_id: str) -> list[Subscription]:
        query = (
            select(Subscription)
            .join(ProviderCustomer, col(ProviderCustomer.account_id) == Subscription.account_id)
            .where(ProviderCustomer.customer_id == customer_id)
            .where(col(Subscription.trial_refused_at).is_not(None))
            .where(Subscription.status == SubscriptionStatus.TRIALING)
        )
        async with self._database.reading() as session:
            return list((await session.exec(query)).all())

    async def _cancel(self, row: Subscription, customer_id: str, now: datetime) -> None:
        async def parameters(_: AsyncSession) -> dict[str, Any]:
            return {"subscription_id": row.provider_id}

        wanted = RequestTarget(Operation.CANCEL_NOW, row.provider_id)
        await self._requests.carry_out(row.account_id, customer_id, wanted, parameters, now)


async def newest_refused(session: AsyncSession, account_id: int) -> Subscription | None:
    """The account's newest subscription, if its trial was refused."""
    query = (
        select(Subscription)
        .where(Subscription.account_id == account_id)
        .order_by(col(Subscription.number).desc())
        .limit(1)
    )
    row = (await session.exec(query)).first()
    return row if row is not None and row.trial_refused_at is not None else None

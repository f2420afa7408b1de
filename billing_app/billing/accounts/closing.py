"""Closing an organization: its subscription ends at the provider first, then everything here.

If the provider cannot be asked, nothing has happened. The ledger and invoices stay; reservations
that are held can still be committed.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.account_events.changes import telling
from billing_app.billing.accounts.profiles import lock_profile
from billing_app.billing.accounts.provisioned_views import (
    OrganizationView,
    organization_account,
    organization_view,
)
from billing_app.billing.accounts.service_keys import require_key
from billing_app.billing.actors import Actor, OperatorActor, ServiceActor
from billing_app.billing.errors import ConflictError, OrganizationNotFoundError
from billing_app.billing.plans.locking import lock_plans
from billing_app.billing.staff.audit.audit_writing import ServiceAction, service_entry
from billing_app.billing.subscriptions.checkouts import open_checkout
from billing_app.billing.subscriptions.provider import ENDED
from billing_app.billing.subscriptions.service import Subscriptions
from billing_app.billing.subscriptions.views import SUBSCRIPTION
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, Scope, When
from billing_app.db.tables import Account, AccountProfile, Subscription, TopUp

# An account has one live subscription, or a second one by mistake.
MAX_SUBSCRIPTIONS: Final = 4


class BoughtMeanwhileError(ConflictError):
    code = "bought_meanwhile"
    title = "Something was bought while the account was being closed"


@dataclass(frozen=True, slots=True)
class Closing:
    database: Database
    subscriptions: Subscriptions

    async def close(self, actor: Actor, organization_id: str, now: datetime) -> OrganizationView:
        """The closed organization; closing it again changes nothing.

        Raises OrganizationNotFoundError, ForbiddenError, ScopeMissingError, BoughtMeanwhileError,
        and what cancelling a subscription raises.
        """
        key = require_key(actor, Scope.ACCOUNTS, organization_id)
        async with self.database.reading() as session:
            account = await organization_account(session, organization_id)
            if account is None:
                raise OrganizationNotFoundError(organization_id=organization_id)
            profile = await session.get(AccountProfile, account.id)
            if profile is not None and profile.closed_at is not None:
                return await organization_view(session, account.id)
        await self._end_subscriptions(account.id, now)
        async with self.database.transaction() as session:
            await session.get_one(Account, account.id, with_for_update=True)
            async with telling(session, account.id, now):
                await _close(session, key, account.id, now)
            return await organization_view(session, account.id)

    async def _end_subscriptions(self, account_id: int, now: datetime) -> None:
        """At the provider: an open checkout first, so that nobody pays in it afterwards."""
        operator = OperatorActor()
        await self.subscriptions.close_checkout(account_id, now)
        for _ in range(MAX_SUBSCRIPTIONS):
            async with self.database.reading() as session:
                row = await _live(session, account_id)
            if row is None:
                return
            subscription_id = ids.encode(SUBSCRIPTION, account_id, row.number)
            await self.subscriptions.cancel(operator, subscription_id, when=When.NOW, now=now)


async def _close(session: AsyncSession, key: ServiceActor, account_id: int, now: datetime) -> None:
    account = await session.get_one(Account, account_id)
    profile = await lock_profile(session, account_id)
    if profile.closed_at is not None:
        return
    if await _live(session, account_id) or await open_checkout(session, account_id):
        raise BoughtMeanwhileError("Close it again.")
    # What comes later all the same, such as a payment of an old invoice, cannot be used.
    account.blocked_at = account.blocked_at or now
    profile.closed_at = now
    session.add(account)
    session.add(profile)
    ended = await _end_plans(session, account, now)
    connection = await session.connection()
    await connection.execute(delete(TopUp).where(col(TopUp.account_id) == account_id))
    after = {"plans_ended": ended}
    session.add(service_entry(key, account_id, ServiceAction.CLOSE_ACCOUNT, now, after=after))
    await session.flush()


async def _end_plans(session: AsyncSession, account: Account, now: datetime) -> int:
    """How many were open; what they hold stays held."""
    plans = await lock_plans(session, account.id)
    still_open = [plan for plan in plans if plan.ended_at is None]
    for plan in plans:
        plan.blocked_at = account.blocked_at
        session.add(plan)
    for plan in still_open:
        plan.ended_at, plan.ended_because = now, EndReason.CANCELLED
    await session.flush()
    return len(still_open)


async def _live(session: AsyncSession, account_id: int) -> Subscription | None:
    """A subscription that has not ended, also a second one."""
    query = select(Subscription).where(Subscription.account_id == account_id)
    query = query.where(col(Subscription.status).not_in(ENDED))
    return (await session.exec(query.order_by(col(Subscription.number)))).first()

"""The most that an account wants to spend on overage in a period."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.account_events.changes import telling
from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.money import Money, check_currency
from billing_app.billing.offers.catalogue import offer_version
from billing_app.billing.overage.rules import allowed_executions
from billing_app.db.engine import Database
from billing_app.db.enums import PlanSource
from billing_app.db.tables import Account, OverageLimit, Plan

MAX_LIMIT_MINOR: Final = 10**12


@dataclass(frozen=True, slots=True)
class OverageLimitView:
    """`limit_minor` None: only the offer's own limit applies."""

    account_id: str
    limit_minor: int | None
    currency: str | None
    updated_at: datetime | None


async def read_overage_limit(database: Database, actor: Actor, account_id: str) -> OverageLimitView:
    """Raises AccountNotFoundError."""
    async with database.reading() as session:
        account = await authorize_managing(session, actor, account_id, reading=True)
        row = await session.get(OverageLimit, account.id)
    return _view(account_id, row)


async def set_overage_limit(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    limit_minor: int | None,
    currency: str,
    now: datetime,
) -> OverageLimitView:
    """Set the limit, for the current period too; None removes it, 0 allows no overage.

    When more is already used or held, nothing further is allowed. Raises AccountNotFoundError,
    ForbiddenError, ScopeMissingError, InvalidInputError.
    """
    if limit_minor is not None and not 0 <= limit_minor <= MAX_LIMIT_MINOR:
        raise InvalidInputError(
            f"The limit must be from 0 to {MAX_LIMIT_MINOR}.", field="limit_minor"
        )
    check_currency(currency)
    async with database.transaction() as session:
        account = await authorize_managing(session, actor, account_id)
        await session.get(Account, account.id, with_for_update=True)
        async with telling(session, account.id, now):
            row = await _keep(session, account.id, limit_minor, currency, now)
            await _fit_running_plans(session, account.id, now)
    return _view(account_id, row)


async def spending_limit(session: AsyncSession, account_id: int) -> Money | None:
    row = await session.get(OverageLimit, account_id)
    return Money(row.limit_minor, row.currency) if row else None


async def _keep(
    session: AsyncSession, account_id: int, limit_minor: int | None, currency: str, now: datetime
) -> OverageLimit | None:
    row = await session.get(OverageLimit, account_id)
    if limit_minor is None:
        if row is not None:
            await session.delete(row)
            await session.flush()
        return None
    values = {"limit_minor": limit_minor, "currency": currency, "updated_at": now}
    statement = (
        insert(OverageLimit)
        .values(account_id=account_id, **values)
        .on_conflict_do_update(index_elements=["account_id"], set_=values)
    )
    await (await session.connection()).execute(statement)
    return await session.get(OverageLimit, account_id, populate_existing=True)


async def _fit_running_plans(session: AsyncSession, account_id: int, now: datetime) -> None:
    """Resize open overage plans to what is allowed now, never below what is used or held."""
    query = (
        select(Plan)
        .where(Plan.account_id == account_id)
        .where(Plan.source == PlanSource.OVERAGE)
        .where(col(Plan.ended_at).is_(None))
        .where(col(Plan.ends_at) > now)
        .order_by(col(Plan.sequence))
        .with_for_update()
    )
    limit = await spending_limit(session, account_id)
    for plan in (await session.exec(query)).all():
        assert plan.offer_version_id is not None
        offer = await offer_version(session, plan.offer_version_id)
        assert offer.overage is not None
        allowed = allowed_executions(offer.overage, offer.currency, limit)
        plan.executions = max(allowed, plan.used + plan.held)
        session.add(plan)


def _view(account_id: str, row: OverageLimit | None) -> OverageLimitView:
    if row is None:
        return OverageLimitView(account_id, None, None, None)
    return OverageLimitView(account_id, row.limit_minor, row.currency, row.updated_at)

"""Notices of what time brings: a renewal, the end of grace, a key that expires."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, or_
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.notices.writing import NewNotice, write
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, AlertKind, NoticeKind, PlanSource
from billing_app.db.tables import Account, ApiKey, Notice, OfferVersion, Plan, Subscription

AHEAD: Final = timedelta(days=7)
# What a worker that was away for long comes too late for is no news.
LATE: Final = timedelta(days=1)
# An upper bound of one run; the next one finds the others.
MAX_ROWS: Final = 5_000

Found = Sequence[tuple[int, NewNotice]]


async def write_notices(database: Database, book: RuleBook, now: datetime) -> int:
    """What is due, each once; returns how many people are mailed."""
    await book.read()
    async with database.reading() as session:
        found = [
            *await _renewals(session, book, now),
            *await _suspended(session, now),
            *await _expiring_keys(session, now),
        ]
        keys = {notice.key for _, notice in found}
        known = select(Notice.account_id, Notice.key).where(col(Notice.key).in_(keys))
        written = set((await session.exec(known)).all())
    count = 0
    for account_id, notice in found:
        if (account_id, notice.key) not in written:
            async with database.transaction() as session:
                account = await session.get_one(Account, account_id)
                count += await write(session, account, notice, now)
    return count


async def _renewals(session: AsyncSession, book: RuleBook, now: datetime) -> Found:
    """Subscriptions that renew within a week. Accounts with a rule of their own choose when they
    are told, by an alert."""
    query = (
        select(Subscription, OfferVersion)
        .join(OfferVersion, col(OfferVersion.id) == Subscription.offer_version_id)
        .where(col(Subscription.ended_at).is_(None), col(Subscription.past_due_since).is_(None))
        .where(col(Subscription.cancel_at_period_end).is_(False))
        .where(col(Subscription.is_duplicate).is_(False))
        .where(col(Subscription.period_end) > now, col(Subscription.period_end) <= now + AHEAD)
        .order_by(col(Subscription.period_end), col(Subscription.account_id))
        .limit(MAX_ROWS)
    )
    found: list[tuple[int, NewNotice]] = []
    for row, version in (await session.exec(query)).all():
        if book.rules_of(row.account_id, row.offer_version_id).of_kind(AlertKind.RENEWAL_COMING):
            continue
        following = await session.get(OfferVersion, row.next_offer_version_id or version.id)
        figures = _renewal_figures(row, version, following or version)
        key = f"renewal:{row.provider_id}:{row.period_end.isoformat()}"
        found.append((row.account_id, NewNotice(NoticeKind.RENEWAL_COMING, key, figures)))
    return found


def _renewal_figures(
    row: Subscription, version: OfferVersion, following: OfferVersion
) -> dict[str, Any]:
    return {
        "plan": version.name,
        "next_plan": following.name,
        "period_end": row.period_end.isoformat(),
        "amount_minor": following.price_minor * row.quantity,
        "currency": following.currency,
        "interval": following.interval,
    }


async def _suspended(session: AsyncSession, now: datetime) -> Found:
    """Plans that stopped because a payment is overdue."""
    overdue = select(Subscription.account_id).where(
        col(Subscription.past_due_since).is_not(None), col(Subscription.ended_at).is_(None)
    )
    accounts = (await session.exec(overdue.limit(MAX_ROWS))).all()
    query = (
        select(Plan)
        .where(col(Plan.account_id).in_(accounts))
        .where(col(Plan.suspended_at) > now - LATE, col(Plan.suspended_at) <= now)
        .where(col(Plan.ended_at).is_(None), Plan.source == PlanSource.SUBSCRIPTION)
        .order_by(col(Plan.account_id))
    )
    return [
        (
            plan.account_id,
            NewNotice(
                NoticeKind.PLAN_SUSPENDED,
                f"suspended:{plan.sequence}:{plan.suspended_at}",
                {"plan": plan.name},
            ),
        )
        for plan in (await session.exec(query)).all()
    ]


async def _expiring_keys(session: AsyncSession, now: datetime) -> Found:
    """Keys of organizations and people that expire within a week, and have no newer one of the same
    name: those were rotated."""
    is_organizations = and_(
        col(ApiKey.user_id).is_(None),
        col(Account.kind) == AccountKind.ORGANIZATION,
        col(Account.organization_id) == ApiKey.organization_id,
    )
    newer = aliased(ApiKey)
    is_rotated = select(newer.id).where(
        col(newer.organization_id) == ApiKey.organization_id,
        col(newer.user_id).is_not_distinct_from(ApiKey.user_id),
        newer.name == ApiKey.name,
        col(newer.created_at) > ApiKey.created_at,
        col(newer.revoked_at).is_(None),
    )
    query = (
        select(ApiKey, Account.id)
        .join(Account, or_(is_organizations, col(Account.user_id) == ApiKey.user_id))
        .where(col(ApiKey.revoked_at).is_(None), ~is_rotated.exists())
        .where(col(ApiKey.expires_at) > now, col(ApiKey.expires_at) <= now + AHEAD)
        .order_by(col(ApiKey.expires_at))
        .limit(MAX_ROWS)
    )
    return [
        (
            account_id,
            NewNotice(
                NoticeKind.KEY_EXPIRING,
                f"key:{key.id}:{key.expires_at}",
                {"name": key.name, "hint": key.hint, "expires_at": f"{key.expires_at:%Y-%m-%d}"},
            ),
        )
        for key, account_id in (await session.exec(query)).all()
    ]

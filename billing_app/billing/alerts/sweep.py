"""Finds what decisions missed: a process of an older release, or one that did not know a new rule
yet, crosses a threshold without an alert."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.balance import clear_risen, read_level
from billing_app.billing.alerts.raising import NewAlert, raise_alert
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Level, Rule, figures_of, is_met
from billing_app.billing.alerts.walk import WalkedAccount, just_depleted, walk
from billing_app.billing.plans.locking import lock_plans
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind, EndReason
from billing_app.db.tables import Alert


async def sweep_balances(database: Database, book: RuleBook, now: datetime) -> int:
    """Raise what was missed, and clear what the balance has risen above; returns how many were
    raised. A balance that began at or below a threshold never crossed it."""
    await book.read()
    raised = 0
    async for page in walk(database, book, now):
        raised += await _sweep_page(database, page, now)
    return raised + await _sweep_page(database, await just_depleted(database, book, now), now)


async def _sweep_page(database: Database, page: Sequence[WalkedAccount], now: datetime) -> int:
    async with database.reading() as session:
        uncleared = await _uncleared(session, [each.account_id for each in page])
    raised = 0
    for account in page:
        its = uncleared.get(account.account_id, set())
        met = _met(account, account.level)
        known = {rule.key for rule in account.rules.balance}
        if met - its or (its & known) - met:
            raised += await _settle(database, account, now)
    return raised


async def _settle(database: Database, account: WalkedAccount, now: datetime) -> int:
    """Again, with the plans locked as decisions lock them."""
    async with database.transaction() as session:
        plans = await lock_plans(session, account.account_id)
        level = await read_level(session, account.account_id, now)
        if level.total == 0 and not any(plan.ended_because == EndReason.DEPLETED for plan in plans):
            return 0
        await clear_risen(session, account.account_id, level, now)
        uncleared = await _uncleared(session, [account.account_id])
        its = uncleared.get(account.account_id, set())
        missed = _met(account, level) - its
        raised = 0
        for rule in account.rules.balance:
            if rule.key in missed:
                figures = figures_of(rule, level, account.price)
                occasion = f"sweep:{now.isoformat()}"
                alert = NewAlert(account.account_id, rule, occasion, figures)
                raised += await raise_alert(session, alert, now)
        return raised


def _met(account: WalkedAccount, level: Level) -> set[str]:
    """Rules that are met and were crossed."""
    return {
        rule.key
        for rule in account.rules.balance
        if is_met(rule, level, account.price) and not _began_below(rule, level)
    }


def _began_below(rule: Rule, level: Level) -> bool:
    return rule.kind == AlertKind.REMAINING_NUMBER and 0 < level.total <= rule.value


async def _uncleared(session: AsyncSession, account_ids: list[int]) -> dict[int, set[str]]:
    query = (
        select(Alert.account_id, Alert.rule)
        .where(col(Alert.account_id).in_(account_ids))
        .where(col(Alert.cleared_at).is_(None))
    )
    found: dict[int, set[str]] = {}
    for account_id, rule in (await session.exec(query)).all():
        found.setdefault(account_id, set()).add(rule)
    return found

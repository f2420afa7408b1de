"""Alerts about the pace of use: unusually many executions today, and when they run out.

Unusual is what is far above the account's own weekdays: the median of the same weekday of the last
eight weeks, which one odd day does not move, and at least the median of all those days, so that a
first busy Sunday is no alarm. Without three weeks of use there is nothing to compare with.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.actors import OperatorActor
from billing_app.billing.alerts.raising import NewAlert, raise_alert
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.alerts.walk import WalkedAccount, walk
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.forecast import Pace, read_pace
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind
from billing_app.db.tables import Alert

WEEKS: Final = 8
WEEKS_NEEDED: Final = 3
# Fewer are never unusual.
LEAST_UNUSUAL: Final = 100
# An account that has not been used for so long has no pace.
USED_WITHIN_DAYS: Final = 7

USED: Final = text("""
SELECT account_id, day, sum(used - refunded)::bigint FROM daily_usage
WHERE account_id = ANY(:accounts) AND day BETWEEN :first AND :today GROUP BY account_id, day
""")
Days = Mapping[date, int]


def usual_executions(days: Days, today: date) -> int | None:
    """What is usual on a day like today; None: too little is known."""
    before = {day: used for day, used in days.items() if day < today and used > 0}
    if not before or (today - min(before)).days < 7 * WEEKS_NEEDED:
        return None
    first = max(min(before), today - timedelta(weeks=WEEKS))
    all_days = [before.get(first + timedelta(n), 0) for n in range((today - first).days)]
    weekdays = [
        before.get(today - timedelta(weeks=n), 0)
        for n in range(1, WEEKS + 1)
        if today - timedelta(weeks=n) >= first
    ]
    return round(max(median(weekdays), median(all_days)))


async def alert_unusual_pace(database: Database, book: RuleBook, now: datetime) -> int:
    """Once a day for each rule."""
    raised = 0
    async for page in walk(database, book, now):
        watched = [each for each in page if each.rules.of_kind(AlertKind.UNUSUAL_PACE)]
        used = await _used(database, watched, now.date(), days=7 * WEEKS)
        for account in watched:
            its = used.get(account.account_id, {})
            today, usual = its.get(now.date(), 0), usual_executions(its, now.date())
            if usual is None or today < LEAST_UNUSUAL:
                continue
            figures = {"executions": today, "usual_executions": usual}
            for rule in account.rules.of_kind(AlertKind.UNUSUAL_PACE):
                if today > rule.value * usual:
                    alert = NewAlert(account.account_id, rule, f"{now:%Y-%m-%d}", figures)
                    async with database.transaction() as session:
                        raised += await raise_alert(session, alert, now)
    return raised


async def alert_forecasts(database: Database, book: RuleBook, now: datetime) -> int:
    """When the days left fall to a rule's; again after they were more."""
    raised = 0
    async for page in walk(database, book, now):
        watched = [each for each in page if each.rules.of_kind(AlertKind.FORECAST_END)]
        used = await _used(database, watched, now.date(), days=USED_WITHIN_DAYS)
        for account in watched:
            if account.account_id in used:
                raised += await _forecast(database, account, now)
    return raised


async def _forecast(database: Database, account: WalkedAccount, now: datetime) -> int:
    actor = OperatorActor()
    summary = await read_summary(database, actor, ids.encode_account(account.account_id), now)
    pace = await read_pace(database, actor, summary)
    rules = account.rules.of_kind(AlertKind.FORECAST_END)
    query = (
        select(Alert)
        .where(Alert.account_id == account.account_id)
        .where(Alert.kind == AlertKind.FORECAST_END, col(Alert.cleared_at).is_(None))
    )
    raised = 0
    async with database.transaction() as session:
        open_alerts = {each.rule: each for each in (await session.exec(query)).all()}
        for rule in rules:
            is_near = _is_near(pace, rule)
            alert = open_alerts.get(rule.key)
            if is_near and alert is None:
                raised += await raise_alert(session, _forecast_alert(account, rule, pace, now), now)
            elif not is_near and alert is not None:
                alert.cleared_at = now
                session.add(alert)
    return raised


def _is_near(pace: Pace, rule: Rule) -> bool:
    """Executions that expire unused do not run out."""
    return pace.ended_at is None and pace.days_left is not None and pace.days_left <= rule.value


def _forecast_alert(account: WalkedAccount, rule: Rule, pace: Pace, now: datetime) -> NewAlert:
    figures = {
        "days": pace.days_left,
        "runs_out_on": f"{pace.runs_out_on}",
        "executions_per_day": pace.executions_per_day,
        "executions_left": account.level.left,
    }
    return NewAlert(account.account_id, rule, f"{now:%Y-%m-%dT%H}", figures)


async def _used(
    database: Database, accounts: Sequence[WalkedAccount], today: date, *, days: int
) -> dict[int, dict[date, int]]:
    """By account and day; accounts without use are left out."""
    if not accounts:
        return {}
    values = {
        "accounts": [each.account_id for each in accounts],
        "first": today - timedelta(days=days),
        "today": today,
    }
    async with database.reading() as session:
        rows = (await (await session.connection()).execute(USED, values)).all()
    found: defaultdict[int, dict[date, int]] = defaultdict(dict)
    for account_id, day, used in rows:
        found[account_id][day] = used
    return found

"""The rules of an account. Processes that decide know new ones within seconds (rule_book.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.alerts.access import authorize_alerts, name_of
from billing_app.billing.alerts.effective import default_rules
from billing_app.billing.alerts.rules import Rule, as_rows, check_rules, parse_rules
from billing_app.db.engine import Database
from billing_app.db.tables import AlertRules


@dataclass(frozen=True, slots=True)
class AlertRulesView:
    """`rules` apply: the account's own, or else `defaults`. `updated_at`: of own ones."""

    account_id: str
    is_own: bool
    rules: tuple[Rule, ...]
    defaults: tuple[Rule, ...]
    updated_at: datetime | None


async def read_rules(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> AlertRulesView:
    """Raises AccountNotFoundError, ScopeMissingError."""
    async with database.reading() as session:
        account = await authorize_alerts(session, actor, account_id, reading=True)
        return await _view(session, account.id, account_id, now)


async def set_rules(
    database: Database,
    actor: Actor,
    account_id: str,
    rules: Sequence[Rule] | None,
    now: datetime,
) -> AlertRulesView:
    """Replace the account's own rules; none of them means no alerts, None the defaults again.

    Raises AccountNotFoundError, ForbiddenError, ScopeMissingError, InvalidInputError.
    """
    checked = None if rules is None else as_rows(check_rules(rules))
    async with database.transaction() as session:
        account = await authorize_alerts(session, actor, account_id, reading=False)
        # By the database's clock, as processes look for what has changed.
        changed_at = await (await session.connection()).scalar(select(func.clock_timestamp()))
        values: dict[str, Any] = {
            "rules": checked,
            "updated_by": name_of(actor),
            "updated_at": changed_at,
        }
        statement = (
            insert(AlertRules)
            .values(account_id=account.id, **values)
            .on_conflict_do_update(index_elements=["account_id"], set_=values)
        )
        await (await session.connection()).execute(statement)
        return await _view(session, account.id, account_id, now)


async def _view(
    session: AsyncSession, number: int, account_id: str, now: datetime
) -> AlertRulesView:
    own = await session.get(AlertRules, number, populate_existing=True)
    defaults = (await default_rules(session, number, now)).rules
    if own is None or own.rules is None:
        return AlertRulesView(account_id, False, defaults, defaults, None)
    return AlertRulesView(account_id, True, parse_rules(own.rules), defaults, own.updated_at)

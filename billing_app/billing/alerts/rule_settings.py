"""The rules of an account, and the defaults that staff set for offers. Processes that decide know
new ones within seconds (rule_book.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.alerts.access import authorize_alerts, name_of
from billing_app.billing.alerts.effective import default_rules
from billing_app.billing.alerts.rule_book import EVERY_OFFER
from billing_app.billing.alerts.rules import Rule, as_rows, check_rules, parse_rules
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.db.engine import Database
from billing_app.db.tables import AlertRules, DefaultAlertRules, Offer


@dataclass(frozen=True, slots=True)
class AlertRulesView:
    """`rules` apply: the account's own, or else `defaults`. `updated_at`: of own ones."""

    account_id: str
    is_own: bool
    rules: tuple[Rule, ...]
    defaults: tuple[Rule, ...]
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class DefaultRulesView:
    """`offer` None: of every offer without rules of its own, and of plans without an offer."""

    offer: str | None
    rules: tuple[Rule, ...]
    updated_by: str
    updated_at: datetime


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
    values: dict[str, Any] = {
        "rules": checked,
        "updated_by": name_of(actor),
        "updated_at": func.clock_timestamp(),
    }
    async with database.transaction() as session:
        account = await authorize_alerts(session, actor, account_id, reading=False)
        statement = (
            insert(AlertRules)
            .values(account_id=account.id, **values)
            .on_conflict_do_update(index_elements=["account_id"], set_=values)
        )
        await (await session.connection()).execute(statement)
        return await _view(session, account.id, account_id, now)


async def list_default_rules(database: Database, actor: Actor) -> list[DefaultRulesView]:
    """The defaults of every offer first, then by offer. Raises ForbiddenError."""
    require(actor, Action.READ)
    query = (
        select(DefaultAlertRules, col(Offer.code))
        .outerjoin(Offer, col(Offer.id) == DefaultAlertRules.offer_id)
        .order_by(col(DefaultAlertRules.offer_id) != EVERY_OFFER, col(Offer.code))
    )
    async with database.reading() as session:
        rows = (await session.exec(query)).all()
    return [_default_view(row, code) for row, code in rows]


async def set_default_rules(
    database: Database,
    actor: Actor,
    offer: str | None,
    rules: Sequence[Rule] | None,
    reason: str,
    now: datetime,
) -> DefaultRulesView | None:
    """Replace the defaults of an offer, by its code, or of every other; None removes them.

    Raises ForbiddenError, StaffRoleMissingError, InvalidInputError.
    """
    staff, reason = require(actor, Action.EDIT_ALERT_RULES), clean_reason(reason)
    checked = None if rules is None else as_rows(check_rules(rules))
    async with database.transaction() as session:
        offer_id = EVERY_OFFER if offer is None else await _offer_id(session, offer)
        row = await session.get(DefaultAlertRules, offer_id, with_for_update=True)
        audit = AuditRecord(
            Action.EDIT_ALERT_RULES,
            reason,
            subject=offer or "",
            before={"rules": row.rules if row else None},
            after={"rules": checked},
        )
        await record(session, staff, audit, now)
        if checked is None:
            if row is not None:
                await session.delete(row)
            return None
        row = row or DefaultAlertRules(offer_id=offer_id)  # pyright: ignore[reportCallIssue]
        row.rules, row.updated_by, row.updated_at = checked, staff.name[:255], now
        session.add(row)
        await session.flush()
        return _default_view(row, offer)


async def _offer_id(session: AsyncSession, code: str) -> int:
    found = (await session.exec(select(Offer.id).where(Offer.code == code))).first()
    if found is None:
        raise InvalidInputError(f"There is no offer {code}.", field="offer")
    return found


async def _view(
    session: AsyncSession, number: int, account_id: str, now: datetime
) -> AlertRulesView:
    own = await session.get(AlertRules, number, populate_existing=True)
    defaults = (await default_rules(session, number, now)).rules
    if own is None or own.rules is None:
        return AlertRulesView(account_id, False, defaults, defaults, None)
    return AlertRulesView(account_id, True, parse_rules(own.rules), defaults, own.updated_at)


def _default_view(row: DefaultAlertRules, code: str | None) -> DefaultRulesView:
    return DefaultRulesView(code, parse_rules(row.rules), row.updated_by, row.updated_at)

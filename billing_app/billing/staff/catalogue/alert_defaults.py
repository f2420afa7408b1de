"""The alert rules of accounts without own ones, by offer. Every change is audited."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import Actor
from billing_app.billing.alerts.rule_book import EVERY_OFFER
from billing_app.billing.alerts.rules import Rule, as_rows, check_rules, parse_rules
from billing_app.billing.offers.catalogue import OfferUnknownError
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, clean_reason, record
from billing_app.db.engine import Database
from billing_app.db.tables import DefaultAlertRules, Offer

# Two who set the first rules of an offer find no row to lock.
LOCK: Final = text("LOCK TABLE default_alert_rules IN SHARE ROW EXCLUSIVE MODE")


@dataclass(frozen=True, slots=True)
class DefaultRulesView:
    """`offer` None: of every offer without rules of its own, and of plans without an offer."""

    offer: str | None
    rules: tuple[Rule, ...]
    updated_by: str
    updated_at: datetime


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

    Raises ForbiddenError, StaffRoleMissingError, InvalidInputError, OfferUnknownError.
    """
    staff, reason = require(actor, Action.EDIT_ALERT_RULES), clean_reason(reason)
    checked = None if rules is None else as_rows(check_rules(rules))
    async with database.transaction() as session:
        await (await session.connection()).execute(LOCK)
        offer_id = EVERY_OFFER if offer is None else await _offer_id(session, offer)
        row = await session.get(DefaultAlertRules, offer_id)
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
        raise OfferUnknownError(f"Offer {code} does not exist.", field="offer")
    return found


def _default_view(row: DefaultAlertRules, code: str | None) -> DefaultRulesView:
    return DefaultRulesView(code, parse_rules(row.rules), row.updated_by, row.updated_at)

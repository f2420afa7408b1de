"""The rules that apply to an account, as the database knows them."""

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.rule_book import EVERY_OFFER
from billing_app.billing.alerts.rules import NO_RULES, RuleSet, parse_rules
from billing_app.billing.plans.usable import is_usable, queue_order
from billing_app.db.tables import AlertRules

# The plan that is used next names the offer.
OFFER: Final = text(f"""
SELECT v.offer_id FROM plans AS p JOIN offer_versions AS v ON v.id = p.offer_version_id
WHERE p.account_id = :account AND {is_usable("p")}
ORDER BY {queue_order("p")} LIMIT 1
""")  # noqa: S608
DEFAULTS: Final = text(
    "SELECT offer_id, rules FROM default_alert_rules WHERE offer_id IN (:offer, :every)"
)


async def effective_rules(session: AsyncSession, account_id: int, now: datetime) -> RuleSet:
    own = await session.get(AlertRules, account_id, populate_existing=True)
    if own is not None and own.rules is not None:
        return RuleSet(parse_rules(own.rules))
    return await default_rules(session, account_id, now)


async def default_rules(session: AsyncSession, account_id: int, now: datetime) -> RuleSet:
    """Of the offer of the plan that is used next, or else of every offer."""
    connection = await session.connection()
    offer_id = await connection.scalar(OFFER, {"account": account_id, "now": now})
    values = {"offer": offer_id or EVERY_OFFER, "every": EVERY_OFFER}
    found = {row[0]: row[1] for row in (await connection.execute(DEFAULTS, values)).all()}
    rows = found.get(offer_id or EVERY_OFFER, found.get(EVERY_OFFER))
    return NO_RULES if rows is None else RuleSet(parse_rules(rows))

"""Alerts about paying: a renewal is coming, a payment failed, a card expires."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.raising import NewAlert, raise_alert
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.subscriptions.customers import card_on_file
from billing_app.billing.subscriptions.provider import PaymentProvider
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind, InvoiceStatus
from billing_app.db.tables import Alert, OfferVersion, ProviderCustomer, Subscription

DAY: Final = timedelta(days=1)
MAX_DAYS: Final = 90
# An upper bound of one run; the next one finds the others.
MAX_ROWS: Final = 5_000

UNPAID: Final = text(f"""
SELECT s.account_id, s.offer_version_id, i.provider_id, i.amount_due_minor, i.currency
FROM subscriptions AS s JOIN invoices AS i ON i.account_id = s.account_id
WHERE s.past_due_since IS NOT NULL AND s.ended_at IS NULL
      AND i.status = '{InvoiceStatus.OPEN}' AND i.amount_due_minor > 0
      AND i.issued_at >= s.past_due_since - interval '35 days'
ORDER BY s.account_id LIMIT {MAX_ROWS}
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Renewal:
    subscription: Subscription
    plan: str
    rules: Sequence[Rule]


async def alert_failed_payments(database: Database, book: RuleBook, now: datetime) -> int:
    """Each unpaid invoice of an overdue subscription, once."""
    async with database.reading() as session:
        rows = (await (await session.connection()).execute(UNPAID)).all()
        raised = await _occasions(session, [row[0] for row in rows], AlertKind.PAYMENT_FAILED)
    alerts = [
        NewAlert(row[0], rule, row[2], {"amount_minor": row[3], "currency": row[4]})
        for row in rows
        for rule in book.rules_of(row[0], row[1]).of_kind(AlertKind.PAYMENT_FAILED)
    ]
    return await _raise_new(database, alerts, raised, now)


async def alert_renewals(database: Database, book: RuleBook, now: datetime) -> int:
    """Each period's end, once for each rule: so many days before it."""
    async with database.reading() as session:
        found = await _renewals(session, book, AlertKind.RENEWAL_COMING, now)
        accounts = [each.subscription.account_id for each in found]
        raised = await _occasions(session, accounts, AlertKind.RENEWAL_COMING)
    alerts = [
        NewAlert(
            each.subscription.account_id,
            rule,
            each.subscription.period_end.isoformat(),
            {
                "plan": each.plan,
                "days": (each.subscription.period_end - now) // DAY,
                "renews_on": f"{each.subscription.period_end:%Y-%m-%d}",
            },
        )
        for each in found
        for rule in each.rules
    ]
    return await _raise_new(database, alerts, raised, now)


async def alert_cards(
    database: Database, provider: PaymentProvider, book: RuleBook, now: datetime
) -> int:
    """Cards that expire before the next renewal, or within the days of the rule. The provider is
    asked once a period, a day before the rule's days begin to run."""
    async with database.reading() as session:
        found = await _renewals(session, book, AlertKind.CARD_EXPIRING, now)
        asked = [each for each in found if _is_first_day(each, now)]
        customers = {
            each.subscription.account_id: await session.get(
                ProviderCustomer, each.subscription.account_id
            )
            for each in asked
        }
    alerts: list[NewAlert] = []
    for each in asked:
        subscription = each.subscription
        card = await card_on_file(provider, customers[subscription.account_id], subscription)
        if card is None or not (expires_at := end_of_month(card.expires)):
            continue
        figures = {"last4": card.last4, "expires": card.expires}
        alerts += [
            NewAlert(subscription.account_id, rule, f"{card.provider_id}:{card.expires}", figures)
            for rule in each.rules
            if expires_at <= max(subscription.period_end, now + rule.value * DAY)
        ]
    return await _raise_new(database, alerts, set(), now)


def end_of_month(expires: str) -> datetime | None:
    """When a card with this date, such as 12/2030, is no longer valid; None for other texts."""
    month, _, year = expires.partition("/")
    try:
        first = datetime.strptime(f"{int(month):02}/{int(year)} +0000", "%m/%Y %z")
    except ValueError:
        return None
    return (first + timedelta(days=32)).replace(day=1)


def _is_first_day(renewal: Renewal, now: datetime) -> bool:
    left = renewal.subscription.period_end - now
    return any(rule.value * DAY - DAY < left <= rule.value * DAY for rule in renewal.rules)


async def _renewals(
    session: AsyncSession, book: RuleBook, kind: AlertKind, now: datetime
) -> list[Renewal]:
    """Subscriptions that renew within the days of their accounts' rules of the kind."""
    query = (
        select(Subscription, OfferVersion.name)
        .join(OfferVersion, col(OfferVersion.id) == Subscription.offer_version_id)
        .where(col(Subscription.ended_at).is_(None), col(Subscription.past_due_since).is_(None))
        .where(col(Subscription.cancel_at_period_end).is_(False))
        .where(col(Subscription.period_end) > now)
        .where(col(Subscription.period_end) <= now + MAX_DAYS * DAY)
        .order_by(col(Subscription.period_end), col(Subscription.account_id))
    )
    found: list[Renewal] = []
    for row, name in (await session.exec(query)).all():
        rules = book.rules_of(row.account_id, row.offer_version_id).of_kind(kind)
        within = [rule for rule in rules if row.period_end - now <= rule.value * DAY]
        if within:
            found.append(Renewal(row, name, within))
    return found[:MAX_ROWS]


async def _occasions(
    session: AsyncSession, account_ids: Sequence[int], kind: AlertKind
) -> set[tuple[int, str, str]]:
    """Account, rule and occasion of the alerts that there are."""
    query = (
        select(Alert.account_id, Alert.rule, Alert.occasion)
        .where(col(Alert.account_id).in_(set(account_ids)))
        .where(Alert.kind == kind)
    )
    return set((await session.exec(query)).all())


async def _raise_new(
    database: Database,
    alerts: Sequence[NewAlert],
    raised: set[tuple[int, str, str]],
    now: datetime,
) -> int:
    count = 0
    for alert in alerts:
        if (alert.account_id, alert.key, alert.occasion) not in raised:
            async with database.transaction() as session:
                count += await raise_alert(session, alert, now)
    return count

"""Renewals that come, payments that failed and cards that expire: each is told once."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from billing_app.billing.alerts.paying import (
    alert_cards,
    alert_failed_payments,
    alert_renewals,
    end_of_month,
)
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.subscriptions.provider import PaymentProvider, ProviderPaymentMethod
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind
from tests.billing.alerts.rows import alerts, own_rules, subscribe
from tests.factories import connect, organization

NOW: Final = datetime.now(UTC)
DAY: Final = timedelta(days=1)
RENEWAL: Final = Rule(AlertKind.RENEWAL_COMING, 7)
CARD: Final = Rule(AlertKind.CARD_EXPIRING, 30)
FAILED: Final = Rule(AlertKind.PAYMENT_FAILED)


class Cards:
    """Answers for one card, and counts how often it is asked: the sandbox has no clock of ours."""

    def __init__(self, expires: str) -> None:
        self.expires = expires
        self.asked = 0

    async def payment_method(self, _customer: str, _subscription: str | None) -> Any:
        self.asked += 1
        return ProviderPaymentMethod("pm_1", "Visa", "4242", self.expires)


@pytest.fixture
async def ground(own_database_url: str) -> Any:
    database = Database(own_database_url)
    yield SimpleNamespace(url=own_database_url, database=database, book=RuleBook(database))
    await database.dispose()


async def test_renewal_is_told_once_within_the_days_of_the_rule(ground: Any) -> None:
    soon, later = organization(ground.url, 10), organization(ground.url, 10)
    cancelled, without = organization(ground.url, 10), organization(ground.url, 10)
    for holder in (soon, later, cancelled):
        own_rules(ground.url, holder, RENEWAL)
    subscribe(ground.url, soon, NOW + 6.5 * DAY)
    subscribe(ground.url, later, NOW + 8 * DAY)
    subscribe(ground.url, cancelled, NOW + 6 * DAY, cancel=True)
    subscribe(ground.url, without, NOW + 6 * DAY)
    await ground.book.read()
    assert await alert_renewals(ground.database, ground.book, NOW) == 1
    assert await alert_renewals(ground.database, ground.book, NOW) == 0
    ((rule, figures, _),) = alerts(ground.url, soon)
    assert (rule, figures["plan"], figures["days"]) == ("renewal_coming:7", "Growth", 6)
    assert await alert_renewals(ground.database, ground.book, NOW + 2 * DAY) == 1
    assert len(alerts(ground.url, later)) == 1


async def test_failed_payment_is_told_once_for_each_invoice(ground: Any) -> None:
    holder = organization(ground.url, 10)
    own_rules(ground.url, holder, FAILED)
    subscribe(ground.url, holder, NOW + 20 * DAY, past_due=NOW - DAY)
    await ground.book.read()
    assert await alert_failed_payments(ground.database, ground.book, NOW) == 0
    for number in range(2):
        with connect(ground.url) as connection:
            connection.execute(
                "INSERT INTO invoices (account_id, provider_id, number, status, billing_reason,"
                " currency, amount_due_minor, amount_paid_minor, page_url, pdf_url, issued_at,"
                " synced_at) VALUES (%s, %s, '', 'open', '', 'USD', 900, 0, '', '', now(), now())",
                [holder.account_number, f"in_{number}"],
            )
        assert await alert_failed_payments(ground.database, ground.book, NOW) == 1
        assert await alert_failed_payments(ground.database, ground.book, NOW) == 0
    figures = {"amount_minor": 900, "currency": "USD"}
    assert [row[:2] for row in alerts(ground.url, holder)] == [("payment_failed", figures)] * 2


async def test_card_is_asked_for_once_a_period_and_told_if_it_expires_before_it_is_charged(
    ground: Any,
) -> None:
    holder = organization(ground.url, 10)
    own_rules(ground.url, holder, CARD)
    period_end = NOW + 29.5 * DAY
    subscribe(ground.url, holder, period_end)
    await ground.book.read()
    cards = Cards(f"{NOW - 32 * DAY:%m/%Y}")
    provider = cast("PaymentProvider", cards)
    for days in range(5):
        await alert_cards(ground.database, provider, ground.book, NOW + days * DAY)
    assert cards.asked == 1
    ((rule, figures, _),) = alerts(ground.url, holder)
    assert (rule, figures) == ("card_expiring:30", {"last4": "4242", "expires": cards.expires})


async def test_card_that_lasts_is_not_told(ground: Any) -> None:
    holder = organization(ground.url, 10)
    own_rules(ground.url, holder, CARD)
    subscribe(ground.url, holder, NOW + 29.5 * DAY)
    await ground.book.read()
    cards = Cards(f"12/{NOW.year + 5}")
    assert await alert_cards(ground.database, cast("PaymentProvider", cards), ground.book, NOW) == 0
    assert cards.asked == 1
    assert alerts(ground.url, holder) == []


def test_card_is_valid_until_the_end_of_its_month() -> None:
    assert end_of_month("12/2030") == datetime(2031, 1, 1, tzinfo=UTC)
    assert end_of_month("1/2030") == datetime(2030, 2, 1, tzinfo=UTC)
    assert [end_of_month(each) for each in ("", "x", "13/2030", "1/x")] == [None] * 4

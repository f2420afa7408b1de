"""Which events of an account people are mailed about: each once, and never history."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from billing_app.billing.account_events.event_types import EventType
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.notices.account_events import AccountEventNotices
from billing_app.billing.webhooks_out.dispatch import dispatch_events
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind, NoticeKind
from tests.billing.alerts.rows import own_rules
from tests.billing.notices.rows import DAY, NOW, happened, invoice, notices, subscription_of, team
from tests.factories import Holder, connect, membership, person


@dataclass
class Ground:
    url: str
    database: Database
    listener: AccountEventNotices

    async def dispatch(self) -> None:
        """As the worker does."""
        await dispatch_events(self.database, NOW, self.listener)

    async def tell(
        self, holder: Holder, event_type: EventType, key: str | None = None, **data: Any
    ) -> list[NoticeKind]:
        await happened(self.database, holder, event_type, key=key, **data)
        await self.dispatch()
        return [NoticeKind(each.kind) for each in notices(self.url, holder)]

    async def told_of_plan(self, holder: Holder, event_type: EventType, **data: Any) -> Any:
        return await self.tell(holder, event_type, subscription=subscription_of(holder), **data)


@pytest.fixture
async def ground(own_database_url: str) -> AsyncIterator[Ground]:
    database = Database(own_database_url)
    yield Ground(own_database_url, database, AccountEventNotices(RuleBook(database)))
    await database.dispose()


async def test_receipt_says_what_was_paid_and_leads_to_the_invoice(ground: Ground) -> None:
    acme = team(ground.url)
    invoice(ground.url, acme.holder, "in_1")
    paid = EventType.INVOICE_PAID
    assert await ground.tell(acme.holder, paid, "invoice.paid:in_1") == [NoticeKind.RECEIPT]
    (notice,) = notices(ground.url, acme.holder)
    assert (notice.user_id, notice.key) == (acme.owner.user_id, "receipt:in_1")
    figures = notice.figures
    assert (figures["amount_minor"], figures["currency"]) == (2900, "USD")
    assert (figures["number"], figures["page_url"]) == ("A-1", "https://pay.example/1")


async def test_imported_history_mails_nobody(ground: Ground) -> None:
    acme = team(ground.url)
    invoice(ground.url, acme.holder, "in_old", issued_at=NOW - DAY)
    assert await ground.tell(acme.holder, EventType.INVOICE_PAID, "invoice.paid:in_old") == []
    failed = EventType.INVOICE_FAILED
    assert await ground.tell(acme.holder, failed, "invoice.failed:in_old:2") == []
    assert await ground.told_of_plan(acme.holder, EventType.SUBSCRIPTION_CREATED) == []


async def test_free_invoice_and_one_that_a_bank_paid_have_no_receipt(ground: Ground) -> None:
    acme = team(ground.url)
    invoice(ground.url, acme.holder, "in_free", paid=0)
    invoice(ground.url, acme.holder, "in_bank", bank_decided_at=NOW)
    for each in ("in_free", "in_bank"):
        assert await ground.tell(acme.holder, EventType.INVOICE_PAID, f"invoice.paid:{each}") == []


async def test_each_attempt_of_a_renewal_is_told_once(ground: Ground) -> None:
    acme, failed = team(ground.url), EventType.INVOICE_FAILED
    invoice(ground.url, acme.holder, "in_1", status="open", paid=0)
    for attempt in (1, 2, 2):
        await ground.tell(acme.holder, failed, f"invoice.failed:in_1:{attempt}")
    told = notices(ground.url, acme.holder)
    assert [each.kind for each in told] == [NoticeKind.PAYMENT_FAILED] * 2
    assert [each.figures["attempt"] for each in told] == [1, 2]


async def test_attempt_that_an_alert_tells_is_not_told_twice(ground: Ground) -> None:
    acme, failed = team(ground.url), EventType.INVOICE_FAILED
    before = team(ground.url)
    invoice(ground.url, before.holder, "in_0", status="open", paid=0)
    assert await ground.tell(before.holder, failed, "invoice.failed:in_0:1") != []
    own_rules(ground.url, acme.holder, Rule(AlertKind.PAYMENT_FAILED))
    invoice(ground.url, acme.holder, "in_1", status="open", paid=0)
    assert await ground.tell(acme.holder, failed, "invoice.failed:in_1:1") == []
    kinds = await ground.tell(acme.holder, failed, "invoice.failed:in_1:2")
    assert kinds == [NoticeKind.PAYMENT_FAILED]


async def test_purchase_that_is_declined_on_the_page_is_not_mailed(ground: Ground) -> None:
    acme = team(ground.url)
    invoice(ground.url, acme.holder, "in_1", status="open", paid=0, reason="subscription_create")
    assert await ground.tell(acme.holder, EventType.INVOICE_FAILED, "invoice.failed:in_1:1") == []


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        (EventType.SUBSCRIPTION_CANCELLED, NoticeKind.PLAN_CANCELLED),
        (EventType.SUBSCRIPTION_RESUMED, NoticeKind.PLAN_RESUMED),
        (EventType.SUBSCRIPTION_ENDED, NoticeKind.PLAN_ENDED),
    ],
)
async def test_end_of_a_subscription_is_told(
    ground: Ground, event_type: EventType, kind: NoticeKind
) -> None:
    acme = team(ground.url)
    assert await ground.told_of_plan(acme.holder, event_type) == [kind]
    assert notices(ground.url, acme.holder)[0].figures["plan"] == "Growth"


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        (["offer", "period"], [NoticeKind.PLAN_CHANGED]),
        (["next_offer"], [NoticeKind.CHANGE_WITHDRAWN]),
        (["period", "status"], []),
        ([], []),
    ],
)
async def test_update_is_told_when_the_plan_changes_and_not_when_it_renews(
    ground: Ground, changed: list[str], kinds: list[NoticeKind]
) -> None:
    acme, updated = team(ground.url), EventType.SUBSCRIPTION_UPDATED
    assert await ground.told_of_plan(acme.holder, updated, changed=changed) == kinds


async def test_scheduled_change_names_the_next_plan(ground: Ground) -> None:
    acme = team(ground.url)
    with connect(ground.url) as connection:
        connection.execute(
            "UPDATE subscriptions SET next_offer_version_id = offer_version_id"
            " WHERE account_id = %s",
            [acme.holder.account_number],
        )
    updated = EventType.SUBSCRIPTION_UPDATED
    kinds = await ground.told_of_plan(acme.holder, updated, changed=["next_offer"])
    assert kinds == [NoticeKind.CHANGE_SCHEDULED]


async def test_top_up_that_stops_says_why(ground: Ground) -> None:
    acme, reason = team(ground.url), "The card was declined."
    kinds = await ground.tell(acme.holder, EventType.TOP_UP_STOPPED, reason=reason)
    assert kinds == [NoticeKind.TOP_UP_STOPPED]
    assert notices(ground.url, acme.holder)[0].figures == {"reason": reason}


async def test_only_who_manages_the_account_and_wants_it_is_mailed(ground: Ground) -> None:
    acme, admin, reader, muted = team(ground.url), *(person(ground.url) for _ in range(3))
    roles = ((admin, "billing_admin"), (reader, "member"), (muted, "owner"))
    for each, role in roles:
        membership(ground.url, acme.holder.organization_id, each.user_id, role)
    with connect(ground.url) as connection:
        connection.execute(
            "INSERT INTO alert_preferences (user_id, muted_kinds, unsubscribe_key, updated_at)"
            " VALUES (%s, '{plan_changes}', 'x', now())",
            [muted.user_id],
        )
    await ground.told_of_plan(acme.holder, EventType.SUBSCRIPTION_ENDED)
    told = {each.user_id for each in notices(ground.url, acme.holder)}
    assert told == {acme.owner.user_id, admin.user_id}

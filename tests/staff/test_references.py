"""Accounts are found by references, ends are one day, and ignored events are hidden."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.customers.customers import search_customers
from billing_app.billing.staff.customers.search import CustomerFilter
from billing_app.billing.staff.operations.provider_events import EventQuery, list_received
from billing_app.billing.staff.repairs.adjustments import Adjustment
from billing_app.billing.staff.repairs.fields import last_day
from billing_app.billing.staff.repairs.grants import Grant
from billing_app.billing.usage.service import Days
from billing_app.composition import build_services
from billing_app.db.enums import StaffRole
from billing_app.settings import Settings
from billing_app.states import formatting
from billing_app.states.staff.customer_views import plan_line
from tests.factories import OPERATOR, connect, organization, staff_member
from tests.staff.test_console_labels import plan_view

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROWS = (
    (
        "INSERT INTO provider_customers (account_id, customer_id, created_at)"
        " VALUES (%(account)s, 'cus_9', now())"
    ),
    (
        "INSERT INTO invoices (account_id, provider_id, number, status, currency, amount_due_minor,"
        " amount_paid_minor, issued_at, synced_at, billing_reason, page_url, pdf_url) VALUES"
        " (%(account)s, 'in_9', 'ABCD-0009', 'open', 'USD', 1, 0, now(), now(), '', '', '')"
    ),
    (
        "INSERT INTO webhook_events (id, type, object_id, customer_id, payload, state, attempts,"
        " occurred_at, received_at, finished_at)"
        " VALUES ('evt_handled', 'invoice.paid', '', 'cus_9', '{}', 'processed', 1, now(), now(),"
        " now()), ('evt_ignored', 'charge.updated', '', 'cus_9', '{}', 'processed', 0, now(),"
        " now(), NULL)"
    ),
)


async def test_search_finds_references_and_lists_hide_ignored_events(
    settings: Settings, own_database_url: str
) -> None:
    url, services = own_database_url, build_services(settings, own_database_url)
    holder, support = organization(url, 5), staff_member(url, StaffRole.SUPPORT)
    organization(url, 5)
    with connect(url) as connection:
        for statement in ROWS:
            connection.execute(statement, {"account": holder.account_number})  # pyright: ignore[reportArgumentType, reportCallIssue]
    event_id = ids.encode(ids.EVENT, holder.account_number, 7)
    plan_id = ids.encode(ids.PLAN, holder.account_number, 1)
    for query in ("in_9", "ABCD-0009", "abcd-0009", " evt_handled ", event_id, plan_id, "cus_9"):
        found = await search_customers(services.database, support, CustomerFilter(query), now=NOW)
        assert [row.account_id for row in found.items] == [holder.account_id], query
    for query in ("in_99", "sub_1", "evt_other", "x" * 150):
        page = await search_customers(services.database, support, CustomerFilter(query), now=NOW)
        assert page.items == [], query
    for ignored, names in (
        (None, {"evt_handled", "evt_ignored"}),
        (False, {"evt_handled"}),
        (True, {"evt_ignored"}),
    ):
        listed = await list_received(
            services.database, services.links, support, EventQuery(ignored=ignored)
        )
        assert {event.id for event in listed.items} == names
    await services.close()


def test_an_end_at_midnight_is_the_day_before_everywhere() -> None:
    midnight = datetime(2026, 12, 24, tzinfo=UTC)
    assert formatting.last_day(midnight) == "23 December 2026"
    assert last_day(midnight.isoformat()) == "2026-12-23"
    assert formatting.last_day(midnight + timedelta(hours=9)) == "24 December 2026"
    assert plan_line(plan_view(ends_at=midnight)).dates == "Not started, ends 23 Dec 2026"


def test_parameter_names_do_not_reach_people() -> None:

    for check in (
        lambda: Grant(executions=0).check(OPERATOR, NOW),  # pyright: ignore[reportArgumentType]
        lambda: Adjustment(0).check(OPERATOR, NOW),  # pyright: ignore[reportArgumentType]
        lambda: Days(NOW.date(), NOW.date() - timedelta(days=1)),
    ):
        with pytest.raises(InvalidInputError) as refused:
            check()
        assert refused.value.detail[0].isupper()
        assert "_" not in refused.value.detail

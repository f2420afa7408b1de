"""An account that has nothing to use: what it had last, and what lists say of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.staff.customers.account import read_identity
from billing_app.billing.staff.customers.customers import CustomerRow, search_customers
from billing_app.billing.staff.customers.search import CustomerFilter
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.forecast import Pace
from billing_app.composition import Services
from billing_app.states import formatting
from billing_app.states.staff.customer_views import customer_head
from billing_app.states.staff.customers import customer_line
from tests.factories import OPERATOR, Holder, add_plan, connect, organization

NOW = datetime.now(UTC)
PAST, YESTERDAY = NOW - timedelta(days=30), NOW - timedelta(days=1)


def change(url: str, holder: Holder, sequence: int, **values: Any) -> None:
    sets = ", ".join(f"{name} = %({name})s" for name in values)
    query = f"UPDATE plans SET {sets} WHERE account_id = %(account)s AND sequence = %(sequence)s"  # noqa: S608
    values |= {"account": holder.account_number, "sequence": sequence}
    with connect(url) as connection:
        connection.execute(query, values)  # pyright: ignore[reportArgumentType, reportCallIssue]


async def found(staff_services: Services, holder: Holder) -> CustomerRow:
    where = CustomerFilter(holder.account_id)
    (row,) = (await search_customers(staff_services.database, OPERATOR, where, now=NOW)).items
    return row


@pytest.mark.parametrize(
    ("last", "status", "left"),
    [
        ({"used": 40, "ended_at": NOW, "ended_because": "depleted"}, ("Used up", "bad"), "0 of 40"),
        ({"ends_at": YESTERDAY}, ("Ended", "warning"), "0 of 40"),
        ({"ended_at": NOW, "ended_because": "cancelled"}, ("Ended", "warning"), "0 of 40"),
        ({"paused_at": NOW}, ("Paused", "warning"), ""),
        ({"suspended_at": YESTERDAY}, ("Suspended", "warning"), ""),
    ],
)
async def test_reason_when_no_plan_is_usable(
    staff_services: Services,
    staff_url: str,
    last: dict[str, Any],
    status: tuple[str, str],
    left: str,
) -> None:
    holder = organization(staff_url, 100, 40)
    change(staff_url, holder, 1, starts_at=PAST, ends_at=YESTERDAY)
    change(staff_url, holder, 2, starts_at=PAST, name="Second", **last)
    line = customer_line(await found(staff_services, holder))
    assert (line.plan, (line.status, line.tone)) == ("Second", status)
    assert line.remaining_text == (f"{left} left" if left else "")
    assert line.meter_tone == ("spent" if left else "")


@pytest.mark.parametrize(
    ("because", "note"), [("depleted", "Used up"), ("period_ended", "Ended"), ("", "No end date")]
)
async def test_account_header_matches_list(
    staff_services: Services, staff_url: str, because: str, note: str
) -> None:
    holder = organization(staff_url, 40)
    if because:
        change(staff_url, holder, 1, used=40, ended_at=YESTERDAY, ended_because=because)
    account = (staff_services.database, OPERATOR, holder.account_id, NOW)
    identity = await read_identity(account[0], staff_services.links, *account[1:])
    summary = await read_summary(*account)
    head = customer_head(identity, summary, Pace(0, None, None), None)
    assert head.plan == "Plan 1"
    assert head.plan_note == (f"{note} {formatting.day(YESTERDAY)}" if because else note)
    assert (head.left, head.of_total) == ("0" if because else "40", "of 40 executions left")


async def test_plan_that_ended_last_is_the_last_plan(
    staff_services: Services, staff_url: str
) -> None:
    """Whatever its turn was: the trial has no end, so its turn came after the month's."""
    holder = organization(staff_url, 100, 40)
    change(staff_url, holder, 1, used=100, ended_at=PAST, ended_because="depleted", name="Trial")
    change(staff_url, holder, 2, starts_at=PAST, ends_at=YESTERDAY, name="Starter")
    assert customer_line(await found(staff_services, holder)).plan == "Starter"
    summary = await read_summary(staff_services.database, OPERATOR, holder.account_id, NOW)
    assert summary.current.plan is not None
    assert summary.current.plan.name == "Starter"


async def test_list_names_the_plan_that_is_used_next(
    staff_services: Services, staff_url: str
) -> None:
    holder = organization(staff_url, 100, 40)
    change(staff_url, holder, 2, starts_at=PAST, ends_at=NOW + timedelta(days=1), name="Starter")
    assert customer_line(await found(staff_services, holder)).plan == "Starter"


async def test_account_without_plans(staff_services: Services, staff_url: str) -> None:
    holder = organization(staff_url)
    identity = await read_identity(
        staff_services.database, staff_services.links, OPERATOR, holder.account_id, NOW
    )
    summary = await read_summary(staff_services.database, OPERATOR, holder.account_id, NOW)
    head = customer_head(identity, summary, Pace(0, None, None), None)
    assert (head.status, head.plan, head.plan_note) == ("No plan", "None", "None started yet")


async def test_future_plan_is_not_the_last_plan(staff_services: Services, staff_url: str) -> None:
    for holder in (organization(staff_url), organization(staff_url, 100)):
        change(staff_url, holder, 1, starts_at=NOW + timedelta(days=1))
        line = customer_line(await found(staff_services, holder))
        assert (line.plan, line.status, line.remaining) == ("", "No plan", "")


@pytest.mark.parametrize(("used", "status"), [(3, "On overage"), (10, "Used up")])
async def test_overage_is_shown(
    staff_services: Services, staff_url: str, used: int, status: str
) -> None:
    holder = organization(staff_url, 100)
    change(staff_url, holder, 1, used=100, ended_at=NOW, ended_because="depleted")
    add_plan(staff_url, holder, 2, 10)
    change(staff_url, holder, 2, source="overage", used=used)
    assert customer_line(await found(staff_services, holder)).status == status

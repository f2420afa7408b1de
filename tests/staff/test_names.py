"""Lists of the console name the accounts that their rows are about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from billing_app.billing import ids
from billing_app.billing.actors import StaffActor
from billing_app.billing.staff.audit.audit_reading import EntryQuery, list_entries
from billing_app.billing.staff.customers.customers import read_names
from billing_app.billing.staff.repairs.grants import GRANT, Grant
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.composition import Services
from billing_app.db.enums import StaffRole
from billing_app.states.staff.audit_entries import entry_line
from tests.factories import NOW, connect, organization, person, trial
from tests.staff.staff_services import Customer

SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)
MANY = 50


@contextmanager
def statements() -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    asked: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", hear)


async def test_names_of_each_kind_of_account(staff_services: Services, staff_url: str) -> None:
    firm = organization(staff_url)
    people = [person(staff_url).user_id for _ in range(3)]
    ada, addressed, nameless = (trial(staff_url, user_id, 5) for user_id in people)
    with connect(staff_url) as connection:
        connection.execute("UPDATE users SET name = '' WHERE id = ANY(%s)", [people[1:]])
        connection.execute(
            "UPDATE users SET email = NULL, password_hash = NULL WHERE id = %s", [people[2]]
        )
    found = await read_names(
        staff_services.database,
        SUPPORT,
        [None, "", "acc_x", ids.encode_account(1)]
        + [each.account_id for each in (firm, ada, addressed, nameless, firm)],
    )
    assert found == {
        firm.account_id: "Acme",
        ada.account_id: "Ada",
        addressed.account_id: f"{people[1]}@example.com",
        nameless.account_id: people[2],
    }


async def test_names_of_a_page_are_read_in_one_query(
    staff_services: Services, staff_url: str
) -> None:
    holders = [organization(staff_url) for _ in range(MANY)]
    with statements() as asked:
        found = await read_names(
            staff_services.database, SUPPORT, [each.account_id for each in holders]
        )
    assert len(found) == MANY
    assert len([each for each in asked if "FROM accounts" in each]) == 1
    with statements() as asked:
        assert await read_names(staff_services.database, SUPPORT, [None]) == {}
    assert asked == []


@pytest.mark.parametrize(
    ("before", "after", "figures"),
    [
        (
            {"blocked_at": None},
            {"blocked_at": "2026-11-24T11:12:30+00:00"},
            "Blocked: 24 Nov 2026, 11:12",
        ),
        ({"role": "support"}, {"role": "admin"}, "Role: Support \N{RIGHTWARDS ARROW} Admin"),
        ({"visible": True}, {"visible": False}, "Visible: yes \N{RIGHTWARDS ARROW} no"),
    ],
)
async def test_entry_figures_are_worded(
    staff_services: Services,
    customer: Customer,
    before: dict[str, Any],
    after: dict[str, Any],
    figures: str,
) -> None:
    await carry_out(
        staff_services.repairs,
        SUPPORT,
        GRANT,
        customer.id,
        Grant(executions=3),
        reason="Because",
        now=NOW,
    )
    page = await list_entries(staff_services.database, SUPPORT, EntryQuery(account_id=customer.id))
    entry = replace(page.items[0], action="edit_offer", before=before, after=after)
    assert entry_line(entry, SUPPORT, {}, {}).figures == figures


async def test_entry_shows_its_account_name(staff_services: Services, customer: Customer) -> None:
    await carry_out(
        staff_services.repairs,
        SUPPORT,
        GRANT,
        customer.id,
        Grant(executions=3),
        reason="Because",
        now=NOW,
    )
    page = await list_entries(staff_services.database, SUPPORT, EntryQuery(account_id=customer.id))
    names = await read_names(
        staff_services.database, SUPPORT, [each.account_id for each in page.items]
    )
    (line,) = [entry_line(each, SUPPORT, {}, names) for each in page.items]
    assert (line.account_id, line.account) == (customer.id, "Acme")

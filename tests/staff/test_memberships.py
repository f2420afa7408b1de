"""People join an organization, or change their role in it, by staff and on the command line."""

from typing import Any

import pytest

from billing_app.billing.accounts.service import list_accounts
from billing_app.billing.actors import Actor
from billing_app.billing.alerts.delivery import deliver
from billing_app.billing.alerts.raising import NewAlert, raise_alert
from billing_app.billing.alerts.rules import Rule
from billing_app.billing.alerts.service import count_unread, list_bell
from billing_app.billing.errors import ConflictError, InvalidInputError, UserNotFoundError
from billing_app.billing.staff.access.permissions import OwnAccountError
from billing_app.billing.staff.audit.audit_reading import EntryQuery, list_entries
from billing_app.billing.staff.repairs.memberships import ADD_MEMBER, NewMember
from billing_app.billing.staff.repairs.repair import AlreadyInStateError, ChangedSinceError
from billing_app.billing.staff.repairs.service import carry_out, review
from billing_app.db.enums import AlertKind, Role, StaffRole
from billing_app.states.staff.audit_entries import entry_text
from billing_app.states.staff.review_lines import review_lines
from tests.conftest import server_environment
from tests.factories import connect, organization, person, staff_member
from tests.processes import run_command
from tests.staff.conftest import Staff
from tests.staff.staff_services import WHY, Customer, now


async def add(customer: Customer, actor: Actor, email: str, role: Role = Role.OWNER) -> Any:
    form = NewMember(email, role)
    repairs = customer.services.repairs
    return await carry_out(repairs, actor, ADD_MEMBER, customer.id, form, reason=WHY, now=now())


def roles(customer: Customer) -> list[tuple[Any, ...]]:
    return customer.rows(
        "SELECT m.user_id, m.role FROM memberships AS m JOIN accounts AS a"
        " USING (organization_id) WHERE a.id = %s ORDER BY m.created_at"
    )


async def test_member_is_added_changed_and_undone(customer: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], customer.services.database
    ada = person(database.url)
    preview = await review(
        customer.services.repairs,
        billing,
        ADD_MEMBER,
        customer.id,
        NewMember(ada.email.upper(), Role.OWNER),
        account_id=customer.id,
        now=now(),
    )
    assert review_lines(preview) == [f"Ada ({ada.email}) joins Acme as owner."]
    added = await add(customer, billing, f" {ada.email.upper()} ")
    assert roles(customer) == [(ada.user_id, "owner")]
    (account,) = await list_accounts(database, ada)
    assert (account.account_id, account.may_manage) == (customer.id, True)
    with pytest.raises(AlreadyInStateError):
        await add(customer, billing, ada.email)
    changed = await add(customer, billing, ada.email, Role.MEMBER)
    with pytest.raises(ChangedSinceError):
        await customer.undo(billing, added)
    await customer.undo(billing, changed)
    await customer.undo(billing, added)
    assert roles(customer) == []
    entries = await list_entries(database, billing, EntryQuery(account_id=customer.id))
    assert [entry_text(entry, {}) for entry in reversed(entries.items)] == [
        "Ada added as owner",
        "Ada is now member, was owner",
        "Undid an earlier action",
        "Undid an earlier action",
    ]


async def test_who_is_no_member_any_more_sees_no_alerts(customer: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], customer.services.database
    ada = person(database.url)
    added = await add(customer, billing, ada.email)
    figures = {"threshold": 200, "executions_left": 120, "executions_total": 1000}
    alert = NewAlert(
        customer.holder.account_number, Rule(AlertKind.REMAINING_NUMBER, 200), "once", figures
    )
    async with database.transaction() as session:
        assert await raise_alert(session, alert, now())
    assert await deliver(database, None, now()) >= 1  # those of other tests too
    assert (len(await list_bell(database, ada)), await count_unread(database, ada)) == (1, 1)
    await customer.undo(billing, added)
    assert (await list_bell(database, ada), await count_unread(database, ada)) == ([], 0)


async def test_who_cannot_be_added(customer: Customer, trial: Customer, staff: Staff) -> None:
    url, admin = customer.services.database.url, staff[StaffRole.ADMIN]
    ada = person(url)
    with pytest.raises(UserNotFoundError, match=r"Nobody has signed up as nobody@example\.com"):
        await add(customer, admin, "nobody@example.com")
    with pytest.raises(InvalidInputError):
        await add(customer, admin, "nobody")
    with pytest.raises(ConflictError, match="personal account"):
        await add(trial, admin, ada.email)
    assert roles(customer) == []


async def test_only_admins_add_themselves(customer: Customer, staff: Staff) -> None:
    url = customer.services.database.url
    for role in (StaffRole.BILLING, StaffRole.ADMIN):
        actor = staff_member(url, role)
        own = add(customer, actor, f"{actor.actor_id}@example.com")
        if role is StaffRole.ADMIN:
            await own
            assert roles(customer) == [(actor.actor_id, "owner")]
        else:
            with pytest.raises(OwnAccountError):
                await own
            assert roles(customer) == []


def test_command_adds_a_member_once(own_database_url: str) -> None:
    url, environment = own_database_url, server_environment(own_database_url)
    holder, ada = organization(url, 5), person(url)

    def run(organization_id: str, email: str, *role: str) -> tuple[int, str]:
        ended = run_command(environment, "accounts", "add-member", organization_id, email, *role)
        return ended.returncode, (ended.stdout + ended.stderr).strip()

    owner = ("--role", "owner")
    assert run(holder.organization_id, ada.email, *owner) == (0, "")
    told = f"{ada.email} is already owner."
    assert run(holder.organization_id, ada.email, *owner) == (0, told)
    assert run(holder.organization_id, ada.email, "--role", "billing_admin") == (0, "")
    nobody = (2, "Nobody has signed up as nobody@example.com.")
    assert run(holder.organization_id, "nobody@example.com") == nobody
    assert run("org_nothing", ada.email)[0] == 2
    with connect(url) as connection:
        kept = connection.execute("SELECT user_id, role FROM memberships").fetchall()
        audited = connection.execute("SELECT actor_id, action FROM audit_entries").fetchall()
    assert kept == [(ada.user_id, "billing_admin")]
    assert audited == [("operator", "add_member")] * 2

"""Undo is offered where it can work, and shows what it would change before it does."""

from typing import Any

import pytest

from billing_app.billing.errors import BillingError
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.adjustments import ADJUST, Adjustment
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.grants import GRANT, Grant, GrantUsedError
from billing_app.billing.staff.repairs.memberships import ADD_MEMBER, NewMember
from billing_app.billing.staff.repairs.refunds import REFUND, REFUND_RANGE, Range, RefundOne
from billing_app.billing.staff.repairs.registry import REPAIRS
from billing_app.billing.staff.repairs.service import carry_out, review_undo
from billing_app.billing.staff.repairs.stops import BLOCK, PAUSE, RESUME, UNBLOCK
from billing_app.billing.staff.repairs.trial_extensions import EXTEND_TRIAL, Extension
from billing_app.db.enums import Role, StaffRole
from tests.factories import person, trial
from tests.staff.conftest import Staff
from tests.staff.staff_services import DAY, WHY, Customer, now


async def do(customer: Customer, staff: Staff, repair: Any, target: str, form: Any) -> EntryView:
    repairs, admin = customer.services.repairs, staff[StaffRole.ADMIN]
    return await carry_out(repairs, admin, repair, target, form, reason=WHY, now=now())


async def entries(customer: Customer, staff: Staff) -> dict[str, EntryView]:
    where = audit_reading.EntryQuery(account_id=customer.id)
    page = await audit_reading.list_entries(
        customer.services.database, staff[StaffRole.ADMIN], where
    )
    return {entry.id: entry for entry in page.items}


async def test_review_shows_figures_and_changes_nothing(customer: Customer, staff: Staff) -> None:
    entry = await do(customer, staff, GRANT, customer.id, Grant(executions=7))
    before = customer.figures()
    repairs, admin = customer.services.repairs, staff[StaffRole.ADMIN]
    result = await review_undo(repairs, admin, entry.id, now=now())
    assert (result.before["executions"], result.after) == (7, {})
    assert customer.figures() == before
    assert len(await entries(customer, staff)) == 1


async def test_undo_of_a_used_grant_is_neither_offered_nor_reviewed(
    customer: Customer, staff: Staff
) -> None:
    entry = await do(customer, staff, GRANT, customer.id, Grant(executions=7, ends_at=now() + DAY))
    assert (await entries(customer, staff))[entry.id].can_undo
    await customer.use(1)
    assert not (await entries(customer, staff))[entry.id].can_undo
    with pytest.raises(GrantUsedError):
        await review_undo(customer.services.repairs, staff[StaffRole.ADMIN], entry.id, now=now())


async def used(customer: Customer) -> str:
    """Executions of two workflows; returns the event of one."""
    await customer.use(2, workflow="v")
    return (await customer.use(3, workflow="w"))["event_id"]


async def each_repair(customer: Customer, staff: Staff, event: str) -> list[EntryView]:
    """One of each kind on a trial."""
    span = Range("v", now() - DAY, now() + DAY)
    plan = customer.plan_id()
    return [
        await do(customer, staff, *what)
        for what in (
            (GRANT, customer.id, Grant(executions=5, ends_at=now() + DAY)),
            (REFUND, event, RefundOne(1)),
            (REFUND_RANGE, customer.id, span),
            (ADJUST, plan, Adjustment(4)),
            (EXTEND_TRIAL, customer.id, Extension(executions=3)),
            (PAUSE, plan, NoFields()),
            (RESUME, plan, NoFields()),
            (BLOCK, customer.id, NoFields()),
            (UNBLOCK, customer.id, NoFields()),
        )
    ]


async def test_offer_agrees_with_trying(customer: Customer, staff: Staff) -> None:
    """Of each kind of repair, whatever happened since."""
    url = customer.services.database.url
    user_id = person(url).user_id
    theirs = Customer(customer.services, trial(url, user_id, 40), user_id)
    made = await each_repair(theirs, staff, await used(theirs))
    assert {entry.action for entry in made} == {
        repair.action for repair in REPAIRS if repair.undo is not None
    } - {"move_offer", "add_member"}
    repairs, admin = customer.services.repairs, staff[StaffRole.ADMIN]
    for step in range(3):
        offered = await entries(theirs, staff)
        for entry in made:
            try:
                await review_undo(repairs, admin, entry.id, now=now())
                works = True
            except BillingError:
                works = False
            assert offered[entry.id].can_undo == works, (step, entry.action)
        if step == 0:
            await theirs.use(5)
        else:
            await theirs.use(32)


async def test_undo_of_a_membership_is_offered_while_the_role_stays(
    customer: Customer, staff: Staff
) -> None:
    email = str(person(customer.services.database.url).email)
    first = await do(customer, staff, ADD_MEMBER, customer.id, NewMember(email))
    assert (await entries(customer, staff))[first.id].can_undo
    second = await do(customer, staff, ADD_MEMBER, customer.id, NewMember(email, Role.OWNER))
    offered = await entries(customer, staff)
    assert (offered[first.id].can_undo, offered[second.id].can_undo) == (False, True)
    admin = staff[StaffRole.ADMIN]
    undone = await customer.undo(admin, second)
    again = await customer.undo(admin, undone)
    assert again.after["role"] == Role.OWNER


async def test_every_undo_is_undone(customer: Customer, staff: Staff) -> None:
    url = customer.services.database.url
    user_id = person(url).user_id
    theirs = Customer(customer.services, trial(url, user_id, 40), user_id)
    events = await used(theirs)
    before = theirs.figures()
    made = await each_repair(theirs, staff, events)
    admin, repairs = staff[StaffRole.ADMIN], customer.services.repairs
    for entry in reversed(made):
        undone = await theirs.undo(admin, entry)
        await review_undo(repairs, admin, undone.id, now=now())
        again = await theirs.undo(admin, undone)
        assert again.action == entry.action
        assert again.undoes == undone.id
        await theirs.undo(admin, again)
    assert theirs.figures() == before
    await theirs.agrees()


async def test_search_by_name_and_reason(customer: Customer, staff: Staff) -> None:
    await do(customer, staff, GRANT, customer.id, Grant(executions=7))
    database, admin = customer.services.database, staff[StaffRole.ADMIN]
    ((name,),) = customer.rows(
        "SELECT name FROM organizations WHERE id ="
        " (SELECT organization_id FROM accounts WHERE id = %s)"
    )
    for words in (name[1:], name.upper(), WHY[2:].lower(), admin.name, customer.id):
        where = audit_reading.EntryQuery(words=words)
        page = await audit_reading.list_entries(database, admin, where)
        assert customer.id in {entry.account_id for entry in page.items}, words
    for words in ("100%", "_" * 30, "nobody said this"):
        where = audit_reading.EntryQuery(words=words)
        assert not (await audit_reading.list_entries(database, admin, where)).items

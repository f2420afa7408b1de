"""What every repair has in common: its input, its key, and who may undo it."""

from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import (
    AccountNotFoundError,
    EventNotFoundError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    PlanUnknownError,
)
from billing_app.billing.staff.access.permissions import Action, OverLimitError
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.audit.account_history import read_account_history
from billing_app.billing.staff.audit.audit_writing import AuditRecord, record
from billing_app.billing.staff.repairs.adjustments import ADJUST, Adjustment
from billing_app.billing.staff.repairs.drivers import AlreadyUndoneError
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.grants import GRANT, Grant, GrantUsedError
from billing_app.billing.staff.repairs.refunds import REFUND, REFUND_RANGE, Range, RefundOne
from billing_app.billing.staff.repairs.service import NotUndoableError, carry_out, undo
from billing_app.billing.staff.repairs.stops import BLOCK
from billing_app.composition import Services
from billing_app.db.enums import StaffRole
from tests.factories import OPERATOR, organization
from tests.staff.conftest import Staff
from tests.staff.staff_services import DAY, WHY, Customer, now


@pytest.mark.parametrize("executions", [0, -1, -(10**30), 10**9 + 1, 10**30])
async def test_absurd_numbers_are_refused(
    customer: Customer, staff: Staff, executions: int
) -> None:
    about: dict[str, Any] = {"reason": WHY, "now": now()}
    admin, services = staff[StaffRole.ADMIN], customer.services
    with pytest.raises(InvalidInputError):
        await carry_out(
            services.repairs, admin, GRANT, customer.id, Grant(executions=executions), **about
        )
    if executions != -1:
        with pytest.raises(InvalidInputError):
            await carry_out(
                services.repairs,
                admin,
                ADJUST,
                customer.plan_id(),
                Adjustment(executions=executions),
                **about,
            )
    with pytest.raises(InvalidInputError):
        await carry_out(
            services.repairs, admin, REFUND, "evt_", RefundOne(executions=executions), **about
        )


async def test_unknown_targets_are_not_found(staff_services: Services, staff: Staff) -> None:
    about: dict[str, Any] = {"reason": WHY, "now": now()}
    admin = staff[StaffRole.ADMIN]
    for account_id in ("", "acc_", "acc_" + "0" * 16, "acc_" + "f" * 16, "org_1"):
        with pytest.raises(AccountNotFoundError):
            await carry_out(
                staff_services.repairs, admin, GRANT, account_id, Grant(executions=1), **about
            )
        with pytest.raises(AccountNotFoundError):
            await carry_out(staff_services.repairs, admin, BLOCK, account_id, NoFields(), **about)
        with pytest.raises(AccountNotFoundError):
            await carry_out(
                staff_services.repairs,
                admin,
                REFUND_RANGE,
                account_id,
                Range("x", now() - DAY, now()),
                **about,
            )
    nobodys = ids.encode(ids.PLAN, 5, 1)
    for plan_id in ("", "pln_", nobodys, ids.encode(ids.PLAN, 5, 2**40)):
        with pytest.raises(PlanUnknownError):
            await carry_out(
                staff_services.repairs, admin, ADJUST, plan_id, Adjustment(executions=1), **about
            )
    with pytest.raises(EventNotFoundError):
        await carry_out(
            staff_services.repairs, admin, REFUND, ids.encode("evt_", 5, 1), RefundOne(), **about
        )
    for entry_id in ("", "aud_", "aud_zz", "aud_ffffffffffff"):
        with pytest.raises(audit_reading.EntryNotFoundError):
            await undo(staff_services.repairs, admin, entry_id, **about)


async def test_repeated_request_makes_one_repair(customer: Customer, staff: Staff) -> None:
    services, billing = customer.services, staff[StaffRole.BILLING]

    async def grant(executions: int) -> Any:
        return await carry_out(
            services.repairs,
            billing,
            GRANT,
            customer.id,
            Grant(executions=executions),
            reason=WHY,
            now=now(),
            key="one",
        )

    first = await grant(7)
    assert await grant(7) == first
    assert await customer.remaining() == 157
    with pytest.raises(IdempotencyKeyReusedError):
        await grant(8)
    answer = await customer.use(10)

    async def refund(count: int) -> Any:
        return await carry_out(
            services.repairs,
            billing,
            REFUND,
            answer["event_id"],
            RefundOne(executions=count),
            reason=WHY,
            now=now(),
            key="two",
        )

    once = await refund(2)
    assert await refund(2) == once
    assert await customer.remaining() == 149
    with pytest.raises(IdempotencyKeyReusedError):
        await refund(3)
    other = Customer(services, organization(services.database.url, 5))
    with pytest.raises(IdempotencyKeyReusedError):
        await carry_out(
            services.repairs,
            billing,
            GRANT,
            other.id,
            Grant(executions=7),
            reason=WHY,
            now=now(),
            key="one",
        )
    assert await other.remaining() == 5


async def test_undo_can_be_undone_once(customer: Customer, staff: Staff) -> None:
    admin, repairs = staff[StaffRole.ADMIN], customer.services.repairs
    entry = await carry_out(
        repairs, admin, GRANT, customer.id, Grant(executions=7), reason=WHY, now=now()
    )
    left = await customer.remaining()
    undone = await customer.undo(admin, entry)
    assert (undone.can_undo, undone.can_redo) == (False, True)
    again = await customer.undo(admin, undone)
    assert (again.action, again.undoes, again.can_undo) == (entry.action, undone.id, True)
    assert again.after["executions"] == 7
    assert await customer.remaining() == left
    with pytest.raises(AlreadyUndoneError):
        await customer.undo(admin, undone)
    history = await read_account_history(customer.services.database, OPERATOR, customer.id)
    assert [each.what for each in history.items[:3]] == [
        "Done again: 7 executions granted",
        "Undone: 7 executions granted",
        "7 executions granted",
    ]
    await customer.undo(admin, again)
    assert await customer.remaining() == left - 7
    await customer.agrees()


async def test_only_repairs_can_be_undone(customer: Customer, staff: Staff) -> None:
    admin = staff[StaffRole.ADMIN]
    entry = await carry_out(
        customer.services.repairs,
        admin,
        GRANT,
        customer.id,
        Grant(executions=7),
        reason=WHY,
        now=now(),
    )
    undone = await customer.undo(admin, entry)
    database = customer.services.database
    async with database.transaction() as session:
        await record(session, admin, AuditRecord(Action.RECONCILE, WHY), now())
    ran = audit_reading.EntryQuery(action=Action.RECONCILE)
    [other] = (await audit_reading.list_entries(database, admin, ran, limit=1)).items
    assert (other.can_undo, other.can_redo) == (False, False)
    with pytest.raises(NotUndoableError):
        await customer.undo(admin, other)
    where = audit_reading.EntryQuery(account_id=customer.id)
    page = await audit_reading.list_entries(customer.services.database, admin, where)
    assert [(each.id, each.can_undo) for each in page.items] == [
        (undone.id, False),
        (entry.id, False),
    ]
    assert page.items[1].undone_by == undone.id


async def test_undo_is_held_to_the_role_limit(customer: Customer, staff: Staff) -> None:
    entry = await carry_out(
        customer.services.repairs,
        staff[StaffRole.BILLING],
        GRANT,
        customer.id,
        Grant(executions=1_001),
        reason=WHY,
        now=now(),
    )
    with pytest.raises(OverLimitError):
        await customer.undo(staff[StaffRole.SUPPORT], entry)
    await customer.use(151)
    with pytest.raises(GrantUsedError):
        await customer.undo(staff[StaffRole.ADMIN], entry)

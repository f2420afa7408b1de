"""A plan is paused and an account blocked, until that is undone."""

from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.executions.requests import Mode, Release
from billing_app.billing.staff.repairs import grants, stops
from billing_app.billing.staff.repairs.repairs import AlreadySoError
from billing_app.billing.staff.repairs.stops import MovedOnError
from billing_app.db.enums import StaffRole
from tests.factories import PLATFORM, PLATFORM_SERVICE
from tests.staff.conftest import Staff
from tests.staff.staff_services import WHY, Customer, now


async def test_a_plan_is_paused_and_resumed(customer: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], customer.services.database
    about: dict[str, Any] = {"reason": WHY, "now": now()}
    with pytest.raises(AlreadySoError):
        await stops.resume_plan(database, billing, customer.plan_id(), **about)
    before = customer.figures()
    paused = await stops.pause_plan(database, billing, customer.plan_id(), **about)
    assert await customer.remaining() == 50
    with pytest.raises(AlreadySoError):
        await stops.pause_plan(database, billing, customer.plan_id(), **about)
    resumed = await stops.resume_plan(database, billing, customer.plan_id(), **about)
    with pytest.raises(MovedOnError):
        await customer.undo(billing, paused)
    await customer.undo(billing, resumed)
    assert await customer.remaining() == 50
    await customer.undo(billing, paused)
    assert customer.figures() == before
    await stops.pause_plan(database, billing, customer.plan_id(1), **about)
    await stops.pause_plan(database, billing, customer.plan_id(2), **about)
    assert await customer.use(1) == {"code": "plan_paused"}


async def test_an_account_is_blocked_with_all_its_plans(customer: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], customer.services.database
    before = customer.figures()
    held = await customer.use(3, Mode.RESERVE)
    blocked = await stops.block_account(database, billing, customer.id, reason=WHY, now=now())
    assert await customer.use(1) == {"code": "account_blocked"}
    await grants.grant_executions(
        database, billing, customer.id, executions=9, reason=WHY, now=now()
    )
    assert await customer.use(1) == {"code": "account_blocked"}, "nor from a new plan"
    pair = ids.decode(ids.RESERVATION, held["reservation"]["id"])
    assert pair is not None
    await customer.services.executions.decide(PLATFORM_SERVICE, Release(*pair, PLATFORM))
    with pytest.raises(AlreadySoError):
        await stops.block_account(database, billing, customer.id, reason=WHY, now=now())
    await customer.undo(billing, blocked)
    assert await customer.remaining() == 159
    assert customer.figures()["plans"][:2] == [row[:2] + row[2:] for row in before["plans"]]
    await customer.agrees()

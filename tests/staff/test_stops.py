"""A plan is paused and an account blocked, until that is undone."""

from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.executions.requests import Mode, Release
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.grants import GRANT, Grant
from billing_app.billing.staff.repairs.repair import AlreadyInStateError, ChangedSinceError
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.staff.repairs.stops import BLOCK, PAUSE, RESUME
from billing_app.db.enums import StaffRole
from tests.factories import PLATFORM, PLATFORM_SERVICE
from tests.staff.conftest import Staff
from tests.staff.staff_services import WHY, Customer, now


async def test_plan_is_paused_and_resumed(customer: Customer, staff: Staff) -> None:
    billing = staff[StaffRole.BILLING]
    about: dict[str, Any] = {"reason": WHY, "now": now()}
    with pytest.raises(AlreadyInStateError):
        await carry_out(
            customer.services.repairs, billing, RESUME, customer.plan_id(), NoFields(), **about
        )
    before = customer.figures()
    paused = await carry_out(
        customer.services.repairs, billing, PAUSE, customer.plan_id(), NoFields(), **about
    )
    assert await customer.remaining() == 50
    with pytest.raises(AlreadyInStateError):
        await carry_out(
            customer.services.repairs, billing, PAUSE, customer.plan_id(), NoFields(), **about
        )
    resumed = await carry_out(
        customer.services.repairs, billing, RESUME, customer.plan_id(), NoFields(), **about
    )
    with pytest.raises(ChangedSinceError):
        await customer.undo(billing, paused)
    await customer.undo(billing, resumed)
    assert await customer.remaining() == 50
    await customer.undo(billing, paused)
    assert customer.figures() == before
    await carry_out(
        customer.services.repairs, billing, PAUSE, customer.plan_id(1), NoFields(), **about
    )
    await carry_out(
        customer.services.repairs, billing, PAUSE, customer.plan_id(2), NoFields(), **about
    )
    assert await customer.use(1) == {"code": "plan_paused"}


async def test_blocking_an_account_blocks_all_its_plans(customer: Customer, staff: Staff) -> None:
    billing = staff[StaffRole.BILLING]
    before = customer.figures()
    held = await customer.use(3, Mode.RESERVE)
    blocked = await carry_out(
        customer.services.repairs, billing, BLOCK, customer.id, NoFields(), reason=WHY, now=now()
    )
    assert await customer.use(1) == {"code": "account_blocked"}
    await carry_out(
        customer.services.repairs,
        billing,
        GRANT,
        customer.id,
        Grant(executions=9),
        reason=WHY,
        now=now(),
    )
    assert await customer.use(1) == {"code": "account_blocked"}, "nor from a new plan"
    pair = ids.decode(ids.RESERVATION, held["reservation"]["id"])
    assert pair is not None
    await customer.services.executions.decide(PLATFORM_SERVICE, Release(*pair, PLATFORM))
    with pytest.raises(AlreadyInStateError):
        await carry_out(
            customer.services.repairs,
            billing,
            BLOCK,
            customer.id,
            NoFields(),
            reason=WHY,
            now=now(),
        )
    await customer.undo(billing, blocked)
    assert await customer.remaining() == 159
    assert customer.figures()["plans"][:2] == [row[:2] + row[2:] for row in before["plans"]]
    await customer.agrees()

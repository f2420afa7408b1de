"""An adjustment moves the balance within its plan, and is undone."""

from typing import Any

import pytest

from billing_app.billing.errors import AdjustmentExceedsError, RefundExceedsError
from billing_app.billing.staff.repairs.adjustments import ADJUST, Adjustment
from billing_app.billing.staff.repairs.refunds import REFUND, RefundOne
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.db.enums import StaffRole
from tests.staff.conftest import Staff
from tests.staff.staff_services import WHY, Customer, now


async def test_adjustment_changes_the_balance_and_is_undone(
    customer: Customer, staff: Staff
) -> None:
    billing = staff[StaffRole.BILLING]
    answer = await customer.use(30, workflow="w")
    before = customer.figures()

    async def adjust(used: int, sequence: int = 1) -> Any:
        return await carry_out(
            customer.services.repairs,
            billing,
            ADJUST,
            customer.plan_id(sequence),
            Adjustment(executions=used),
            reason=WHY,
            now=now(),
        )

    less = await adjust(-30)
    assert await customer.remaining() == 150
    with pytest.raises(RefundExceedsError):
        await carry_out(
            customer.services.repairs,
            billing,
            REFUND,
            answer["event_id"],
            RefundOne(),
            reason=WHY,
            now=now(),
        )
    with pytest.raises(AdjustmentExceedsError) as exceeds:
        await adjust(-1)
    assert exceeds.value.extensions["executions_used"] == 0
    with pytest.raises(AdjustmentExceedsError):
        await adjust(101)
    more = await adjust(100)
    assert await customer.remaining() == 50
    with pytest.raises(AdjustmentExceedsError) as used:
        await customer.undo(billing, less)
    assert used.value.extensions["executions_remaining"] == 0
    await customer.undo(billing, more)
    await customer.undo(billing, less)
    assert customer.figures() == before
    await customer.agrees()

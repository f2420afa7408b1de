"""A trial gets more executions or time, and only a trial does."""

from typing import Any

import pytest

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.repairs.repair import ChangedSinceError
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.billing.staff.repairs.trial_extensions import (
    EXTEND_TRIAL,
    Extension,
    NoTrialError,
    TrialEndError,
    TrialUsedError,
)
from billing_app.db.enums import StaffRole
from tests.conftest import TRIAL_EXECUTIONS
from tests.factories import connect
from tests.staff.conftest import Staff
from tests.staff.staff_services import DAY, WHY, Customer, now


async def test_trial_gets_more_executions(trial: Customer, staff: Staff) -> None:
    billing = staff[StaffRole.BILLING]
    before = trial.figures()

    async def extend(**more: Any) -> Any:
        return await carry_out(
            trial.services.repairs,
            billing,
            EXTEND_TRIAL,
            trial.id,
            Extension(**more),
            reason=WHY,
            now=now(),
        )

    with pytest.raises(TrialEndError):
        await extend(ends_at=now() + DAY)
    with pytest.raises(InvalidInputError):
        await extend()
    entry = await extend(executions=50)
    assert await trial.remaining() == TRIAL_EXECUTIONS + 49
    await trial.undo(billing, entry)
    assert trial.figures() == before
    await trial.use(TRIAL_EXECUTIONS - 1)
    assert trial.figures()["plans"][0][5] == "depleted"
    second = await extend(executions=50)
    await trial.use(1)
    with pytest.raises(TrialUsedError) as used:
        await trial.undo(billing, second)
    assert used.value.extensions["executions_used"] == TRIAL_EXECUTIONS + 1
    await trial.agrees()


async def test_ended_trial_is_reopened(trial: Customer, staff: Staff) -> None:
    billing = staff[StaffRole.BILLING]
    with connect(trial.services.database.url) as connection:
        connection.execute(
            "UPDATE plans SET starts_at = now() - interval '9 days',"
            " ends_at = now() - interval '1 day' WHERE account_id = %s",
            [trial.holder.account_number],
        )
    assert await trial.use(1) == {"code": "trial_ended"}
    before = trial.figures()
    with pytest.raises(TrialEndError):
        await carry_out(
            trial.services.repairs,
            billing,
            EXTEND_TRIAL,
            trial.id,
            Extension(executions=5),
            reason=WHY,
            now=now(),
        )
    entry = await carry_out(
        trial.services.repairs,
        billing,
        EXTEND_TRIAL,
        trial.id,
        Extension(executions=5, ends_at=now() + DAY),
        reason=WHY,
        now=now(),
    )
    assert await trial.remaining() == TRIAL_EXECUTIONS + 4
    with pytest.raises(TrialEndError):
        await carry_out(
            trial.services.repairs,
            billing,
            EXTEND_TRIAL,
            trial.id,
            Extension(ends_at=now() + DAY / 2),
            reason=WHY,
            now=now(),
        )
    later = await carry_out(
        trial.services.repairs,
        billing,
        EXTEND_TRIAL,
        trial.id,
        Extension(ends_at=now() + 2 * DAY),
        reason=WHY,
        now=now(),
    )
    with pytest.raises(ChangedSinceError):
        await trial.undo(billing, entry)
    await trial.undo(billing, later)
    await trial.undo(billing, entry)
    assert trial.figures() == before
    assert await trial.use(1) == {"code": "trial_ended"}
    await trial.agrees()


async def test_organization_has_no_trial(customer: Customer, staff: Staff) -> None:
    with pytest.raises(NoTrialError):
        await carry_out(
            customer.services.repairs,
            staff[StaffRole.BILLING],
            EXTEND_TRIAL,
            customer.id,
            Extension(executions=5),
            reason=WHY,
            now=now(),
        )

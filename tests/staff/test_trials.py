"""A trial gets more executions or time, and only a trial does."""

from typing import Any

import pytest

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.repairs import trial_extensions
from billing_app.billing.staff.repairs.stops import MovedOnError
from billing_app.billing.staff.repairs.trial_extensions import (
    NoTrialError,
    TrialEndError,
    TrialUsedError,
)
from billing_app.db.enums import StaffRole
from tests.conftest import TRIAL_EXECUTIONS
from tests.factories import connect
from tests.staff.conftest import Staff
from tests.staff.staff_services import DAY, WHY, Customer, now


async def test_a_trial_gets_more_executions(trial: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], trial.services.database
    before = trial.figures()

    async def extend(**more: Any) -> Any:
        return await trial_extensions.extend_trial(
            database, billing, trial.id, reason=WHY, now=now(), **more
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


async def test_a_trial_that_ended_goes_on(trial: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], trial.services.database
    with connect(database.url) as connection:
        connection.execute(
            "UPDATE plans SET starts_at = now() - interval '9 days',"
            " ends_at = now() - interval '1 day' WHERE account_id = %s",
            [trial.holder.account_number],
        )
    assert await trial.use(1) == {"code": "trial_ended"}
    before = trial.figures()
    with pytest.raises(TrialEndError):
        await trial_extensions.extend_trial(
            database, billing, trial.id, executions=5, reason=WHY, now=now()
        )
    entry = await trial_extensions.extend_trial(
        database, billing, trial.id, executions=5, ends_at=now() + DAY, reason=WHY, now=now()
    )
    assert await trial.remaining() == TRIAL_EXECUTIONS + 4
    with pytest.raises(TrialEndError):
        await trial_extensions.extend_trial(
            database, billing, trial.id, ends_at=now() + DAY / 2, reason=WHY, now=now()
        )
    later = await trial_extensions.extend_trial(
        database, billing, trial.id, ends_at=now() + 2 * DAY, reason=WHY, now=now()
    )
    with pytest.raises(MovedOnError):
        await trial.undo(billing, entry)
    await trial.undo(billing, later)
    await trial.undo(billing, entry)
    assert trial.figures() == before
    assert await trial.use(1) == {"code": "trial_ended"}
    await trial.agrees()


async def test_an_organization_has_no_trial(customer: Customer, staff: Staff) -> None:
    with pytest.raises(NoTrialError):
        await trial_extensions.extend_trial(
            customer.services.database,
            staff[StaffRole.BILLING],
            customer.id,
            executions=5,
            reason=WHY,
            now=now(),
        )

"""A block and a new plan at the same time: whichever comes first, the plan is blocked.

The tests' databases lack the triggers that copied blocks up to 0.2.0 (tests/conftest.py).
"""

import asyncio
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from billing_app.billing.accounts.service import add_plan
from billing_app.billing.actors import StaffActor
from billing_app.billing.executions.store import connect
from billing_app.billing.plans import trials
from billing_app.billing.plans.inserting import insert_plan
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.repairs import stops
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.repair import RepairRequest
from billing_app.composition import Services
from billing_app.db.enums import PlanSource, PlanType, StaffRole
from billing_app.db.tables import Plan
from billing_app.db.urls import for_asyncpg
from tests.factories import OPERATOR
from tests.staff.conftest import Staff
from tests.staff.staff_services import Customer, now

WAITS_SECONDS = 0.3


def a_plan(customer: Customer, sequence: int) -> Plan:
    return Plan(
        account_id=customer.holder.account_number,
        sequence=sequence,
        type=PlanType.PAID,
        name="New",
        source=PlanSource.STAFF_GRANT,
        executions=5,
        starts_at=now(),
        created_at=now(),
    )


def block_request(customer: Customer, staff: StaffActor) -> RepairRequest[NoFields]:
    number = customer.holder.account_number
    return RepairRequest(staff, Action.BLOCK, number, NoFields(), now())


async def block(customer: Customer, staff: StaffActor) -> None:
    async with customer.services.database.transaction() as session:
        await stops.block(session, block_request(customer, staff))


async def insert(customer: Customer, sequence: int) -> None:
    async with customer.services.database.transaction() as session:
        await insert_plan(session, a_plan(customer, sequence))


async def require_waiting(task: "asyncio.Task[None]") -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), WAITS_SECONDS)
    assert not task.done()


def blocks(customer: Customer) -> list[datetime | None]:
    rows = customer.rows("SELECT blocked_at FROM plans WHERE account_id = %s ORDER BY sequence")
    return [at for (at,) in rows]


async def test_block_waits_for_a_plan_that_is_being_added(customer: Customer, staff: Staff) -> None:
    async with customer.services.database.transaction() as session:
        await insert_plan(session, a_plan(customer, 3))
        blocking = asyncio.create_task(block(customer, staff[StaffRole.BILLING]))
        await require_waiting(blocking)
    await blocking
    assert None not in blocks(customer)


async def test_plan_waits_for_a_block_that_is_under_way(customer: Customer, staff: Staff) -> None:
    async with customer.services.database.transaction() as session:
        await stops.block(session, block_request(customer, staff[StaffRole.BILLING]))
        adding = asyncio.create_task(insert(customer, 3))
        await require_waiting(adding)
    await adding
    assert len(blocks(customer)) == 3
    assert None not in blocks(customer)


async def test_unblocking_frees_every_plan(customer: Customer, staff: Staff) -> None:
    billing = staff[StaffRole.BILLING]
    await block(customer, billing)
    await insert(customer, 3)
    async with customer.services.database.transaction() as session:
        await stops.unblock(session, block_request(customer, billing))
    assert blocks(customer) == [None, None, None]


@pytest.mark.parametrize("first", range(20))
async def test_plans_and_a_block_race(customer: Customer, staff: Staff, first: int) -> None:
    adding = [insert(customer, 3 + n) for n in range(4)]
    adding.insert(first % 5, block(customer, staff[StaffRole.BILLING]))
    await asyncio.gather(*adding)
    assert len(blocks(customer)) == 6
    assert None not in blocks(customer)


async def test_contract_of_a_blocked_account_is_blocked(customer: Customer, staff: Staff) -> None:
    await block(customer, staff[StaffRole.BILLING])
    await add_plan(
        customer.services.database,
        OPERATOR,
        organization_id=customer.holder.organization_id,
        executions=7,
        now=now(),
    )
    assert None not in blocks(customer)


async def test_trial_that_a_service_begins_is_blocked(
    staff_services: Services, trial: Customer
) -> None:
    number = trial.holder.account_number
    connection = await connect(for_asyncpg(staff_services.database.url))
    transaction: Any = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("UPDATE accounts SET blocked_at = now() WHERE id = $1", number)
        await connection.execute("DELETE FROM plans WHERE account_id = $1", number)
        terms = (trials.TRIAL_PLAN_NAME, 5, None, [trial.user_id])
        await connection.execute(trials.ENSURE_TRIALS, *terms)
        query = "SELECT blocked_at FROM plans WHERE account_id = $1"
        (row,) = await connection.fetch(query, number)
        assert row["blocked_at"] is not None
    finally:
        await transaction.rollback()
        await connection.close(timeout=1)

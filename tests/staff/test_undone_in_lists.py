"""What lists say of runs that were refunded, and of steps that were undone."""

from billing_app.billing import ids
from billing_app.billing.staff.audit.account_history import read_account_history, read_undone
from billing_app.billing.staff.repairs.grants import GRANT, Grant
from billing_app.billing.staff.repairs.refunds import REFUND, RefundOne, read_refunded
from billing_app.billing.staff.repairs.service import carry_out
from billing_app.db.enums import StaffRole
from tests.factories import OPERATOR
from tests.staff.conftest import Staff
from tests.staff.staff_services import WHY, Customer, now


async def test_refunded_executions_of_events(customer: Customer, staff: Staff) -> None:
    """A refund that was undone was not given back; a run over two plans counts once."""
    billing, services = staff[StaffRole.BILLING], customer.services
    runs = [(await customer.use(count))["event_id"] for count in (120, 5, 6)]
    numbers = [(ids.decode(ids.EVENT, run) or (0, 0))[1] for run in runs]

    async def refund(event_id: str, count: int) -> None:
        entry = await carry_out(
            customer.services.repairs,
            billing,
            REFUND,
            event_id,
            RefundOne(executions=count),
            reason=WHY,
            now=now(),
        )
        if count == 6:
            await customer.undo(billing, entry)

    for event_id, count in ((runs[0], 110), (runs[0], 3), (runs[2], 6)):
        await refund(event_id, count)
    found = await read_refunded(services.database, billing, customer.id, numbers)
    assert found == {numbers[0]: 113}
    assert await read_refunded(services.database, billing, customer.id, []) == {}


async def test_undo_entry_says_what_it_undid(customer: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], customer.services.database
    granted = await carry_out(
        customer.services.repairs,
        billing,
        GRANT,
        customer.id,
        Grant(executions=1),
        reason=WHY,
        now=now(),
    )
    undone = await customer.undo(billing, granted)
    found = await read_undone(database, billing, [undone, granted])
    assert found == {granted.id: "Undone: 1 execution granted"}
    told = await read_account_history(database, OPERATOR, customer.id)
    assert [item.what for item in told.items] == [found[granted.id], "1 execution granted"]

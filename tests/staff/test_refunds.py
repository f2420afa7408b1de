"""Refunds by staff, of one event and of a failed workflow, and that they are undone."""

from datetime import timedelta
from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import AdjustmentExceedsError, InvalidInputError, RefundExceedsError
from billing_app.billing.executions.receipts import read_receipt
from billing_app.billing.executions.requests import Mode, Refund
from billing_app.billing.staff.audit.account_history import read_account_history
from billing_app.billing.staff.repairs import refunds
from billing_app.billing.staff.repairs.refunds import (
    REFUND,
    REFUND_RANGE,
    NothingToRefundError,
    Range,
    RefundOne,
    RefundPreview,
    TooManyEventsError,
)
from billing_app.billing.staff.repairs.service import carry_out, preview, review
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.forecast import read_pace
from billing_app.billing.usage.service import read_refunds_of_use
from billing_app.db.enums import StaffRole
from tests.factories import OPERATOR, PLATFORM, PLATFORM_SERVICE, add_plan
from tests.staff.conftest import Staff
from tests.staff.staff_services import DAY, WHY, Customer, now


async def test_event_refund_can_be_undone_and_repeated(customer: Customer, staff: Staff) -> None:
    billing, services = staff[StaffRole.BILLING], customer.services
    answer = await customer.use(120, workflow="w")
    event_id = answer["event_id"]
    before = customer.figures()

    async def refund(count: int | None) -> Any:
        return await carry_out(
            services.repairs,
            billing,
            REFUND,
            event_id,
            RefundOne(executions=count),
            reason=WHY,
            now=now(),
        )

    entry = await refund(50)
    assert await customer.remaining() == 80
    receipt = await read_receipt(services.database, OPERATOR, event_id)
    assert (receipt.executions_refunded, receipt.refunds[0].reason) == (50, WHY)
    rest = await refund(None)
    assert rest.after["executions"] == 70
    with pytest.raises(RefundExceedsError):
        await refund(1)
    await customer.undo(billing, entry)
    await customer.undo(billing, rest)
    assert customer.figures() == before
    receipt = await read_receipt(services.database, OPERATOR, event_id)
    assert receipt.executions_refunded == 0
    again = await refund(None)
    assert again.after["executions"] == 120
    await customer.use(100)
    with pytest.raises(AdjustmentExceedsError) as used:
        await customer.undo(billing, again)
    assert used.value.extensions["executions_remaining"] == 0
    await customer.agrees()


async def test_service_and_staff_refund_the_same_event(customer: Customer, staff: Staff) -> None:
    services, billing = customer.services, staff[StaffRole.BILLING]
    answer = await customer.use(10)
    number = ids.decode(ids.EVENT, answer["event_id"])
    assert number is not None
    refund = Refund(*number, 4, "failed", "", PLATFORM)
    await services.executions.decide(PLATFORM_SERVICE, refund)
    entry = await carry_out(
        services.repairs, billing, REFUND, answer["event_id"], RefundOne(), reason=WHY, now=now()
    )
    assert entry.after["executions"] == 6
    await customer.undo(billing, entry)
    receipt = await read_receipt(services.database, OPERATOR, answer["event_id"])
    assert receipt.executions_refunded == 4
    await customer.agrees()


async def test_workflow_is_refunded_as_a_whole(customer: Customer, staff: Staff) -> None:
    billing, services = staff[StaffRole.BILLING], customer.services
    began = now() - timedelta(minutes=1)
    events = [await customer.use(n, workflow="broken") for n in (1, 2, 3, 4)]
    await customer.use(5, workflow="fine")
    held = await customer.use(6, Mode.RESERVE, workflow="broken")
    assert held["reservation"]
    await carry_out(
        services.repairs, billing, REFUND, events[1]["event_id"], RefundOne(), reason=WHY, now=now()
    )
    await carry_out(
        services.repairs,
        billing,
        REFUND,
        events[2]["event_id"],
        RefundOne(executions=1),
        reason=WHY,
        now=now(),
    )
    before = customer.figures()
    found = Range("broken", began, now() + timedelta(minutes=1))
    view = await preview(services.repairs, billing, REFUND_RANGE, customer.id, found, now())
    assert (view.events, view.executions) == (3, 1 + 2 + 4)
    assert (view.events_refunded, view.executions_refunded) == (1, 3)
    assert view.executions_refunded_partly == 1
    assert customer.figures() == before

    async def refund(found: Range) -> Any:
        return await carry_out(
            services.repairs, billing, REFUND_RANGE, customer.id, found, reason=WHY, now=now()
        )

    entry = await refund(found)
    assert (entry.after["events"], entry.after["executions"]) == (3, 7)
    left = {"events_refunded": 1, "events_left": 0, "executions_left": 0}
    assert {name: entry.after[name] for name in left} == left
    with pytest.raises(NothingToRefundError):
        await refund(found)
    with pytest.raises(NothingToRefundError):
        await refund(Range("fine", began, began + timedelta(seconds=1)))
    with pytest.raises(NothingToRefundError):
        await refund(Range("fine", began, now(), user_id="somebody"))
    await customer.undo(billing, entry)
    assert customer.figures() == before
    await customer.agrees()


async def test_range_is_bounded(
    customer: Customer, staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refunds, "MAX_EVENTS", 2)
    began = now() - timedelta(minutes=1)
    for _ in range(3):
        await customer.use(1, workflow="many")
    with pytest.raises(TooManyEventsError) as many:
        await carry_out(
            customer.services.repairs,
            staff[StaffRole.BILLING],
            REFUND_RANGE,
            customer.id,
            Range("many", began, now()),
            reason=WHY,
            now=now(),
        )
    assert many.value.extensions == {"events": 3, "max_events": 2}
    assert await customer.remaining() == 147
    with pytest.raises(InvalidInputError):
        Range("many", now(), now() - DAY)


async def test_refund_says_what_the_customer_can_use_again(
    customer: Customer, staff: Staff
) -> None:
    services, billing, url = (
        customer.services,
        staff[StaffRole.BILLING],
        customer.services.database.url,
    )
    add_plan(url, customer.holder, 3, 10, ends_at=now() + DAY)
    began = now() - timedelta(minutes=1)
    await customer.use(4, workflow="ended")
    both = await customer.use(12, workflow="ended")
    last = await customer.use(5, workflow="ended")
    customer.rows(
        "UPDATE plans SET ends_at = now() - interval '1 second'"
        " WHERE account_id = %s AND sequence = 3 RETURNING 1"
    )
    remaining = await customer.remaining()

    async def reviewed(count: int | None) -> RefundPreview:
        form = RefundOne(count)
        return await review(
            services.repairs,
            billing,
            REFUND,
            both["event_id"],
            form,
            account_id=customer.id,
            now=now(),
        )

    usable = [(await reviewed(count)).executions_usable for count in (5, 6, 7, None)]
    assert usable == [5, 6, 6, 6]
    one = await carry_out(
        services.repairs, billing, REFUND, last["event_id"], RefundOne(2), reason=WHY, now=now()
    )
    assert REFUND.wording(one.before, one.after) == "2 executions refunded"
    found = Range("ended", began, now() + timedelta(minutes=1))
    view = await preview(services.repairs, billing, REFUND_RANGE, customer.id, found, now())
    assert (view.executions, view.executions_usable) == (4 + 12 + 3, 6 + 3)
    entry = await carry_out(
        services.repairs, billing, REFUND_RANGE, customer.id, found, reason=WHY, now=now()
    )
    assert (entry.after["executions"], entry.after["executions_usable"]) == (19, 9)
    assert await customer.remaining() == remaining + 2 + 9
    history = await read_account_history(services.database, OPERATOR, customer.id)
    said = (
        "19 executions refunded for 3 events of ended; 9 can be used again, the rest is of plans"
        " that have ended"
    )
    assert history.items[0].what == said
    await customer.undo(billing, entry)
    await customer.agrees()


async def test_refund_of_an_ended_plan_alone_is_no_use(customer: Customer, staff: Staff) -> None:
    services, billing = customer.services, staff[StaffRole.BILLING]
    event = await customer.use(7)
    customer.rows(
        "UPDATE plans SET ended_at = now(), ended_because = 'cancelled'"
        " WHERE account_id = %s RETURNING 1"
    )
    entry = await carry_out(
        services.repairs, billing, REFUND, event["event_id"], RefundOne(), reason=WHY, now=now()
    )
    assert REFUND.wording(entry.before, entry.after) == (
        "7 executions refunded; none can be used again: the plan has ended"
    )


async def test_refund_into_a_used_up_plan_can_be_used_again(
    customer: Customer, staff: Staff
) -> None:
    event = await customer.use(150)
    entry = await carry_out(
        customer.services.repairs,
        staff[StaffRole.BILLING],
        REFUND,
        event["event_id"],
        RefundOne(),
        reason=WHY,
        now=now(),
    )
    assert entry.after["executions_usable"] == await customer.remaining() == 150


async def test_pace_leaves_out_refunds_of_earlier_use(customer: Customer, staff: Staff) -> None:
    services, billing, began = customer.services, staff[StaffRole.BILLING], now()
    earlier = await customer.use(40)
    since = now()
    later = await customer.use(10)
    for event, count in ((earlier, 30), (later, 4)):
        await carry_out(
            services.repairs,
            billing,
            REFUND,
            event["event_id"],
            RefundOne(count),
            reason=WHY,
            now=now(),
        )
    database = services.database
    assert await read_refunds_of_use(database, billing, customer.id, since=since) == 4
    assert await read_refunds_of_use(database, billing, customer.id, since=began) == 34
    summary = await read_summary(database, billing, customer.id, now())
    pace = await read_pace(database, billing, summary)
    assert (pace.executions_per_day, pace.days_left) == (16, 8)

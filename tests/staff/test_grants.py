"""A grant is a plan of its own until it is undone, and support grants within limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.staff.access.permissions import OverLimitError
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.adjustments import ADJUST, Adjustment
from billing_app.billing.staff.repairs.drivers import AlreadyUndoneError
from billing_app.billing.staff.repairs.fields import NoFields
from billing_app.billing.staff.repairs.grants import (
    GRANT,
    Grant,
    GrantTakenBackError,
    GrantUsedError,
)
from billing_app.billing.staff.repairs.refunds import REFUND, RefundOne
from billing_app.billing.staff.repairs.service import carry_out, is_blocked, review
from billing_app.billing.staff.repairs.stops import BLOCK
from billing_app.composition import Services
from billing_app.db.enums import StaffRole
from billing_app.states.staff.review_lines import review_lines
from tests.factories import add_plan, organization, staff_member
from tests.staff.conftest import Staff
from tests.staff.staff_services import DAY, WHY, Customer, now


async def test_grant_is_a_plan_until_it_ends(customer: Customer, staff: Staff) -> None:
    support = staff[StaffRole.SUPPORT]
    before = customer.figures()
    entry = await carry_out(
        customer.services.repairs,
        support,
        GRANT,
        customer.id,
        Grant(executions=20, ends_at=now() + DAY),
        reason=WHY,
        now=now(),
    )
    assert await customer.remaining() == 170
    assert (entry.action, entry.actor_name, entry.role) == (
        "grant_executions",
        support.name,
        StaffRole.SUPPORT,
    )
    assert (entry.account_id, entry.reason, entry.can_undo) == (customer.id, WHY, True)
    assert entry.after["executions"] == 20
    answer = await customer.use(5)
    assert answer["plan"]["id"] == entry.subject, "what ends first is used first"
    with pytest.raises(GrantUsedError) as used:
        await customer.undo(support, entry)
    assert used.value.extensions["executions_used"] == 5
    await carry_out(
        customer.services.repairs,
        staff[StaffRole.BILLING],
        REFUND,
        answer["event_id"],
        RefundOne(),
        reason=WHY,
        now=now(),
    )
    undone = await customer.undo(support, entry)
    assert (undone.undoes, undone.action) == (entry.id, "undo")
    assert await customer.remaining() == 150
    with pytest.raises(AlreadyUndoneError):
        await customer.undo(support, entry)
    assert customer.figures()["plans"] == before["plans"]
    await customer.agrees()


async def test_grant_without_end_is_used_after_bought_plans(
    customer: Customer, staff: Staff
) -> None:
    await carry_out(
        customer.services.repairs,
        staff[StaffRole.SUPPORT],
        GRANT,
        customer.id,
        Grant(executions=20),
        reason=WHY,
        now=now(),
    )
    assert (await customer.use(150))["executions_remaining"] == 20
    assert (await customer.use(20))["plan"]["name"] == "Granted by support"


async def test_support_grants_are_limited_per_grant_and_day(
    staff_services: Services, staff_url: str
) -> None:
    customer = Customer(staff_services, organization(staff_url, 1))
    support = staff_member(staff_url, StaffRole.SUPPORT)
    at = datetime(2026, 3, 10, 23, 59, tzinfo=UTC)

    async def grant(executions: int, at: datetime) -> Any:
        return await carry_out(
            staff_services.repairs,
            support,
            GRANT,
            customer.id,
            Grant(executions=executions),
            reason=WHY,
            now=at,
        )

    with pytest.raises(OverLimitError) as each:
        await grant(1_001, at)
    assert each.value.extensions["limit_executions"] == 1_000
    granted = [await grant(1_000, at) for _ in range(5)]
    with pytest.raises(OverLimitError) as day:
        await grant(1, at)
    assert day.value.extensions["limit_executions_per_day"] == 5_000
    assert day.value.extensions["executions_today"] == 5_000
    await customer.undo(support, granted[0])
    await grant(1_000, at)
    await grant(1_000, at + timedelta(minutes=1))
    assert await customer.remaining() == 6_001


async def test_review_refuses_what_the_confirmation_would_refuse(
    customer: Customer,
) -> None:
    support = staff_member(customer.services.database.url, StaffRole.SUPPORT)

    async def reviewed(executions: int, reason: str, at: datetime) -> Any:
        form = Grant(executions=executions)
        return await review(
            customer.services.repairs,
            support,
            GRANT,
            customer.id,
            form,
            account_id=customer.id,
            now=at,
            reason=reason,
        )

    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    for reason in ("", "   ", "x" * 501):
        with pytest.raises(InvalidInputError):
            await reviewed(1, reason, at)
    for _ in range(5):
        await carry_out(
            customer.services.repairs,
            support,
            GRANT,
            customer.id,
            Grant(executions=1_000),
            reason=WHY,
            now=at,
        )
    with pytest.raises(OverLimitError):
        await reviewed(1, WHY, at)
    assert await reviewed(1, WHY, at + timedelta(days=1))


async def test_grant_to_a_blocked_account_promises_nothing(
    customer: Customer, staff: Staff
) -> None:
    async def lines() -> list[str]:
        form, repairs = Grant(executions=50), customer.services.repairs
        return review_lines(
            await review(
                repairs,
                staff[StaffRole.SUPPORT],
                GRANT,
                customer.id,
                form,
                account_id=customer.id,
                now=now(),
                reason=WHY,
            )
        )

    assert "Remaining executions go from 150 to 200." in await lines()
    repairs, billing = customer.services.repairs, staff[StaffRole.BILLING]
    await carry_out(repairs, billing, BLOCK, customer.id, NoFields(), reason=WHY, now=now())
    assert await lines() == ["A plan of 50 executions is added to the queue, with no end date."]
    assert await is_blocked(repairs, staff[StaffRole.SUPPORT], customer.id)


async def test_refund_to_grant_cannot_be_undone_after_grant_is(
    customer: Customer, staff: Staff
) -> None:
    """Else the use of it would be booked on a plan that is gone, and the customer had it free."""
    billing = staff[StaffRole.BILLING]
    grant = await _five_for_a_day(customer, billing)
    answer = await customer.use(3, workflow="w")
    refund = await carry_out(
        customer.services.repairs,
        billing,
        REFUND,
        answer["event_id"],
        RefundOne(),
        reason=WHY,
        now=now(),
    )
    await customer.undo(billing, grant)
    before = customer.figures()
    with pytest.raises(GrantTakenBackError) as taken_back:
        await customer.undo(billing, refund)
    assert taken_back.value.extensions == {"executions_total": 5}
    with pytest.raises(GrantTakenBackError):
        await carry_out(
            customer.services.repairs,
            billing,
            ADJUST,
            grant.subject,
            Adjustment(executions=1),
            reason=WHY,
            now=now(),
        )
    assert customer.figures() == before
    await customer.agrees()


async def test_adjustment_of_grant_cannot_be_undone_after_grant_is(
    customer: Customer, staff: Staff
) -> None:
    billing = staff[StaffRole.BILLING]
    grant = await _five_for_a_day(customer, billing)
    await customer.use(3)
    less = await carry_out(
        customer.services.repairs,
        billing,
        ADJUST,
        grant.subject,
        Adjustment(executions=-3),
        reason=WHY,
        now=now(),
    )
    await customer.undo(billing, grant)
    with pytest.raises(GrantTakenBackError):
        await customer.undo(billing, less)
    await customer.agrees()


async def _five_for_a_day(customer: Customer, actor: StaffActor) -> EntryView:
    return await carry_out(
        customer.services.repairs,
        actor,
        GRANT,
        customer.id,
        Grant(executions=5, ends_at=now() + DAY),
        reason=WHY,
        now=now(),
    )


async def test_grant_is_used_after_what_ends_before_it(customer: Customer, staff: Staff) -> None:
    """A free plan does not let a paid period expire."""
    holder = customer.holder
    soon, later = now() + DAY, now() + 2 * DAY
    add_plan(customer.services.database.url, holder, 9, 4, ends_at=soon)
    entry = await carry_out(
        customer.services.repairs,
        staff[StaffRole.SUPPORT],
        GRANT,
        customer.id,
        Grant(executions=20, ends_at=later),
        reason=WHY,
        now=now(),
    )
    assert (await customer.use(4))["plan"]["id"] == customer.plan_id(9)
    assert (await customer.use(1))["plan"]["id"] == entry.subject

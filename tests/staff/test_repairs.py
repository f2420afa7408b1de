"""Each repair does what it says, tells the audit log, and is undone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing_app.billing import ids
from billing_app.billing.errors import (
    AccountNotFoundError,
    AdjustmentExceedsError,
    EventNotFoundError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    PlanUnknownError,
    RefundExceedsError,
)
from billing_app.billing.executions.requests import Mode, Refund, Release
from billing_app.billing.receipts import read_receipt
from billing_app.billing.staff import (
    adjustments,
    audit_log,
    grants,
    refunds,
    stopping,
    trials,
    undo,
)
from billing_app.billing.staff.grants import GrantUsedError
from billing_app.billing.staff.permissions import OverLimitError
from billing_app.billing.staff.refunds import EventRange, NothingToRefundError, TooManyEventsError
from billing_app.billing.staff.repairs import AlreadySoError, AlreadyUndoneError
from billing_app.billing.staff.stopping import MovedOnError
from billing_app.billing.staff.trials import NoTrialError, TrialEndError, TrialUsedError
from billing_app.billing.staff.undo import NotUndoableError
from billing_app.composition import Services
from billing_app.db.words import StaffRole
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.factories import (
    OPERATOR,
    PLATFORM,
    PLATFORM_SERVICE,
    Holder,
    connect,
    organization,
    staff_member,
)
from tests.staff.conftest import Staff
from tests.staff.house import WHY, Customer

DAY = timedelta(days=1)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def customer(house: Services, staff_url: str) -> Customer:
    return Customer(house, organization(staff_url, 100, 50))


@pytest.fixture
async def trial(house: Services) -> Customer:
    """Somebody on a trial of TRIAL_EXECUTIONS without an end."""
    user_id = ids.new_id("usr_")
    somebody = Customer(house, Holder(PUBLIC, 0), user_id)
    answer = await somebody.use(1)
    number = ids.decode_account(answer["account_id"])
    assert number is not None
    somebody.holder = Holder(PUBLIC, number)
    return somebody


async def test_a_grant_is_a_plan_until_it_ends(customer: Customer, staff: Staff) -> None:
    support = staff[StaffRole.SUPPORT]
    before = customer.figures()
    entry = await grants.grant_executions(
        customer.services.database,
        support,
        customer.id,
        executions=20,
        ends_at=now() + DAY,
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
    assert used.value.facts["executions_used"] == 5
    await refunds.refund_event(
        customer.services.executions,
        staff[StaffRole.BILLING],
        answer["event_id"],
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


async def test_a_grant_without_an_end_is_used_after_what_was_bought(
    customer: Customer, staff: Staff
) -> None:
    await grants.grant_executions(
        customer.services.database,
        staff[StaffRole.SUPPORT],
        customer.id,
        executions=20,
        reason=WHY,
        now=now(),
    )
    assert (await customer.use(150))["executions_remaining"] == 20
    assert (await customer.use(20))["plan"]["name"] == "Granted by support"


async def test_support_grants_little_each_time_and_each_day(
    house: Services, staff_url: str
) -> None:
    customer = Customer(house, organization(staff_url, 1))
    support = staff_member(staff_url, StaffRole.SUPPORT)
    at = datetime(2026, 3, 10, 23, 59, tzinfo=UTC)

    async def grant(executions: int, at: datetime) -> Any:
        return await grants.grant_executions(
            house.database, support, customer.id, executions=executions, reason=WHY, now=at
        )

    with pytest.raises(OverLimitError) as each:
        await grant(1_001, at)
    assert each.value.facts["limit_executions"] == 1_000
    granted = [await grant(1_000, at) for _ in range(5)]
    with pytest.raises(OverLimitError) as day:
        await grant(1, at)
    assert day.value.facts["limit_executions_per_day"] == 5_000
    assert day.value.facts["executions_today"] == 5_000
    await customer.undo(support, granted[0])
    await grant(1_000, at)
    await grant(1_000, at + timedelta(minutes=1))
    assert await customer.remaining() == 6_001


@pytest.mark.parametrize("executions", [0, -1, -(10**30), 10**9 + 1, 10**30])
async def test_no_absurd_numbers(customer: Customer, staff: Staff, executions: int) -> None:
    about: dict[str, Any] = {"reason": WHY, "now": now()}
    admin, services = staff[StaffRole.ADMIN], customer.services
    with pytest.raises(InvalidInputError):
        await grants.grant_executions(
            services.database, admin, customer.id, executions=executions, **about
        )
    if executions != -1:
        with pytest.raises(InvalidInputError):
            await adjustments.adjust_executions(
                services.executions, admin, customer.plan_id(), used=executions, **about
            )
    with pytest.raises(InvalidInputError):
        await refunds.refund_event(services.executions, admin, "evt_", count=executions, **about)


async def test_the_unknown_is_not_found(house: Services, staff: Staff) -> None:
    about: dict[str, Any] = {"reason": WHY, "now": now()}
    admin = staff[StaffRole.ADMIN]
    for account_id in ("", "acc_", "acc_" + "0" * 16, "acc_" + "f" * 16, "org_1"):
        with pytest.raises(AccountNotFoundError):
            await grants.grant_executions(house.database, admin, account_id, executions=1, **about)
        with pytest.raises(AccountNotFoundError):
            await stopping.block_account(house.database, admin, account_id, **about)
        with pytest.raises(AccountNotFoundError):
            await refunds.refund_range(
                house.executions,
                admin,
                account_id,
                EventRange("x", now() - DAY, now()),
                **about,
            )
    nobodys = ids.encode(ids.PLAN, 5, 1)
    for plan_id in ("", "pln_", nobodys, ids.encode(ids.PLAN, 5, 2**40)):
        with pytest.raises(PlanUnknownError):
            await adjustments.adjust_executions(house.executions, admin, plan_id, used=1, **about)
    with pytest.raises(EventNotFoundError):
        await refunds.refund_event(house.executions, admin, ids.encode("evt_", 5, 1), **about)
    for entry_id in ("", "aud_", "aud_zz", "aud_ffffffffffff"):
        with pytest.raises(audit_log.EntryNotFoundError):
            await undo.undo(house.undoing, admin, entry_id, **about)


async def test_an_adjustment_moves_the_balance_and_is_undone(
    customer: Customer, staff: Staff
) -> None:
    billing, executions = staff[StaffRole.BILLING], customer.services.executions
    answer = await customer.use(30, workflow="w")
    before = customer.figures()

    async def adjust(used: int, sequence: int = 1) -> Any:
        return await adjustments.adjust_executions(
            executions,
            billing,
            customer.plan_id(sequence),
            used=used,
            reason=WHY,
            now=now(),
        )

    less = await adjust(-30)
    assert await customer.remaining() == 150
    with pytest.raises(RefundExceedsError):
        await refunds.refund_event(executions, billing, answer["event_id"], reason=WHY, now=now())
    with pytest.raises(AdjustmentExceedsError) as exceeds:
        await adjust(-1)
    assert exceeds.value.facts["executions_used"] == 0
    with pytest.raises(AdjustmentExceedsError):
        await adjust(101)
    more = await adjust(100)
    assert await customer.remaining() == 50
    with pytest.raises(AdjustmentExceedsError) as used:
        await customer.undo(billing, less)
    assert used.value.facts["executions_remaining"] == 0
    await customer.undo(billing, more)
    await customer.undo(billing, less)
    assert customer.figures() == before
    await customer.agrees()


async def test_a_refund_of_one_event_can_be_undone_and_done_again(
    customer: Customer, staff: Staff
) -> None:
    billing, services = staff[StaffRole.BILLING], customer.services
    answer = await customer.use(120, workflow="w")
    event_id = answer["event_id"]
    before = customer.figures()

    async def refund(count: int | None) -> Any:
        return await refunds.refund_event(
            services.executions, billing, event_id, count=count, reason=WHY, now=now()
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
    assert used.value.facts["executions_remaining"] == 0
    await customer.agrees()


async def test_a_service_and_staff_refund_the_same_event(customer: Customer, staff: Staff) -> None:
    services, billing = customer.services, staff[StaffRole.BILLING]
    answer = await customer.use(10)
    number = ids.decode(ids.EVENT, answer["event_id"])
    assert number is not None
    refund = Refund(*number, 4, "failed", "", PLATFORM)
    await services.executions.decide(PLATFORM_SERVICE, refund)
    entry = await refunds.refund_event(
        services.executions, billing, answer["event_id"], reason=WHY, now=now()
    )
    assert entry.after["executions"] == 6
    await customer.undo(billing, entry)
    receipt = await read_receipt(services.database, OPERATOR, answer["event_id"])
    assert receipt.executions_refunded == 4
    await customer.agrees()


async def test_a_failed_workflow_is_refunded_as_a_whole(customer: Customer, staff: Staff) -> None:
    billing, services = staff[StaffRole.BILLING], customer.services
    began = now() - timedelta(minutes=1)
    events = [await customer.use(n, workflow="broken") for n in (1, 2, 3, 4)]
    await customer.use(5, workflow="fine")
    held = await customer.use(6, Mode.RESERVE, workflow="broken")
    assert held["reservation"]
    await refunds.refund_event(
        services.executions, billing, events[1]["event_id"], reason=WHY, now=now()
    )
    await refunds.refund_event(
        services.executions, billing, events[2]["event_id"], count=1, reason=WHY, now=now()
    )
    before = customer.figures()
    found = EventRange("broken", began, now() + timedelta(minutes=1))
    view = await refunds.preview_range(services.database, billing, customer.id, found)
    assert (view.events, view.executions) == (3, 1 + 2 + 4)
    assert (view.events_refunded, view.executions_refunded) == (1, 3)
    assert view.executions_refunded_partly == 1
    assert customer.figures() == before

    async def refund(found: EventRange) -> Any:
        return await refunds.refund_range(
            services.executions, billing, customer.id, found, reason=WHY, now=now()
        )

    entry = await refund(found)
    assert (entry.after["events"], entry.after["executions"]) == (3, 7)
    left = {"events_refunded": 1, "events_left": 0, "executions_left": 0}
    assert {name: entry.after[name] for name in left} == left
    with pytest.raises(NothingToRefundError):
        await refund(found)
    with pytest.raises(NothingToRefundError):
        await refund(EventRange("fine", began, began + timedelta(seconds=1)))
    with pytest.raises(NothingToRefundError):
        await refund(EventRange("fine", began, now(), user_id="somebody"))
    await customer.undo(billing, entry)
    assert customer.figures() == before
    await customer.agrees()


async def test_a_range_is_bounded(
    customer: Customer, staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refunds, "MAX_EVENTS", 2)
    began = now() - timedelta(minutes=1)
    for _ in range(3):
        await customer.use(1, workflow="many")
    with pytest.raises(TooManyEventsError) as many:
        await refunds.refund_range(
            customer.services.executions,
            staff[StaffRole.BILLING],
            customer.id,
            EventRange("many", began, now()),
            reason=WHY,
            now=now(),
        )
    assert many.value.facts == {"events": 3, "max_events": 2}
    assert await customer.remaining() == 147
    with pytest.raises(InvalidInputError):
        EventRange("many", now(), now() - DAY)


async def test_a_trial_gets_more_executions(trial: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], trial.services.database
    before = trial.figures()

    async def extend(**more: Any) -> Any:
        return await trials.extend_trial(database, billing, trial.id, reason=WHY, now=now(), **more)

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
    assert used.value.facts["executions_used"] == TRIAL_EXECUTIONS + 1
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
        await trials.extend_trial(database, billing, trial.id, executions=5, reason=WHY, now=now())
    entry = await trials.extend_trial(
        database, billing, trial.id, executions=5, ends_at=now() + DAY, reason=WHY, now=now()
    )
    assert await trial.remaining() == TRIAL_EXECUTIONS + 4
    with pytest.raises(TrialEndError):
        await trials.extend_trial(
            database, billing, trial.id, ends_at=now() + DAY / 2, reason=WHY, now=now()
        )
    later = await trials.extend_trial(
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
        await trials.extend_trial(
            customer.services.database,
            staff[StaffRole.BILLING],
            customer.id,
            executions=5,
            reason=WHY,
            now=now(),
        )


async def test_a_plan_is_paused_and_resumed(customer: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], customer.services.database
    about: dict[str, Any] = {"reason": WHY, "now": now()}
    with pytest.raises(AlreadySoError):
        await stopping.resume_plan(database, billing, customer.plan_id(), **about)
    before = customer.figures()
    paused = await stopping.pause_plan(database, billing, customer.plan_id(), **about)
    assert await customer.remaining() == 50
    with pytest.raises(AlreadySoError):
        await stopping.pause_plan(database, billing, customer.plan_id(), **about)
    resumed = await stopping.resume_plan(database, billing, customer.plan_id(), **about)
    with pytest.raises(MovedOnError):
        await customer.undo(billing, paused)
    await customer.undo(billing, resumed)
    assert await customer.remaining() == 50
    await customer.undo(billing, paused)
    assert customer.figures() == before
    await stopping.pause_plan(database, billing, customer.plan_id(1), **about)
    await stopping.pause_plan(database, billing, customer.plan_id(2), **about)
    assert await customer.use(1) == {"code": "plan_paused"}


async def test_an_account_is_blocked_with_all_its_plans(customer: Customer, staff: Staff) -> None:
    billing, database = staff[StaffRole.BILLING], customer.services.database
    before = customer.figures()
    held = await customer.use(3, Mode.RESERVE)
    blocked = await stopping.block_account(database, billing, customer.id, reason=WHY, now=now())
    assert await customer.use(1) == {"code": "account_blocked"}
    await grants.grant_executions(
        database, billing, customer.id, executions=9, reason=WHY, now=now()
    )
    assert await customer.use(1) == {"code": "account_blocked"}, "nor from a new plan"
    pair = ids.decode(ids.RESERVATION, held["reservation"]["id"])
    assert pair is not None
    await customer.services.executions.decide(PLATFORM_SERVICE, Release(*pair, PLATFORM))
    with pytest.raises(AlreadySoError):
        await stopping.block_account(database, billing, customer.id, reason=WHY, now=now())
    await customer.undo(billing, blocked)
    assert await customer.remaining() == 159
    assert customer.figures()["plans"][:2] == [row[:2] + row[2:] for row in before["plans"]]
    await customer.agrees()


async def test_a_repeated_request_is_one_repair(customer: Customer, staff: Staff) -> None:
    services, billing = customer.services, staff[StaffRole.BILLING]

    async def grant(executions: int) -> Any:
        return await grants.grant_executions(
            services.database,
            billing,
            customer.id,
            executions=executions,
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
        return await refunds.refund_event(
            services.executions,
            billing,
            answer["event_id"],
            count=count,
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
        await grants.grant_executions(
            services.database, billing, other.id, executions=7, reason=WHY, now=now(), key="one"
        )
    assert await other.remaining() == 5


async def test_what_is_no_repair_cannot_be_undone(customer: Customer, staff: Staff) -> None:
    admin = staff[StaffRole.ADMIN]
    entry = await grants.grant_executions(
        customer.services.database, admin, customer.id, executions=7, reason=WHY, now=now()
    )
    undone = await customer.undo(admin, entry)
    with pytest.raises(NotUndoableError):
        await customer.undo(admin, undone)
    where = audit_log.EntryQuery(account_id=customer.id)
    page = await audit_log.list_entries(customer.services.database, admin, where)
    assert [(each.id, each.can_undo) for each in page.items] == [
        (undone.id, False),
        (entry.id, False),
    ]
    assert page.items[1].undone_by == undone.id


async def test_nobody_undoes_what_is_over_their_limit(customer: Customer, staff: Staff) -> None:
    entry = await grants.grant_executions(
        customer.services.database,
        staff[StaffRole.BILLING],
        customer.id,
        executions=1_001,
        reason=WHY,
        now=now(),
    )
    with pytest.raises(OverLimitError):
        await customer.undo(staff[StaffRole.SUPPORT], entry)
    await customer.use(151)
    with pytest.raises(GrantUsedError):
        await customer.undo(staff[StaffRole.ADMIN], entry)

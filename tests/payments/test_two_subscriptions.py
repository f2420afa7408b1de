"""Two live subscriptions of one account: staff end either of them."""

from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.staff.access.permissions import OwnAccountError
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.audit.account_history import read_account_history
from billing_app.billing.staff.audit.audit_reading import EntryView
from billing_app.billing.staff.repairs.cancellations import (
    CANCEL_SUBSCRIPTION,
    Cancellation,
    CancellationPreview,
)
from billing_app.billing.staff.repairs.moves import NoSubscriptionError
from billing_app.billing.staff.repairs.service import (
    NotUndoableError,
    carry_out,
    review,
    undo,
)
from billing_app.billing.subscriptions.errors import SubscriptionEndedError
from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.db.enums import StaffRole
from billing_app.states.staff.review_lines import review_lines
from tests import factories
from tests.factories import OPERATOR
from tests.payments.billing_harness import DAY, BillingHarness, accepted
from tests.payments.test_quantities import price_of

pytestmark = pytest.mark.stripe_test_mode

WHY = "Subscribed twice by mistake"


@pytest.fixture
def billing(own_database_url: str) -> StaffActor:
    return factories.staff_member(own_database_url, StaffRole.BILLING)


@pytest.fixture
async def both(harness: BillingHarness) -> tuple[str, str]:
    """Growth, and Scale made beside it at Stripe; both paid."""
    await harness.subscribed("growth")
    harness.use_card("pm_card_visa")
    await harness.preview("scale")
    body: Any = {
        "customer": harness.customer_id(),
        "items": [{"price": price_of(harness, "scale")}],
    }
    first = harness.subscriptions()[0].id
    second = harness.client.v1.subscriptions.create(body).id
    await harness.deliver()
    return first, second


async def cancel(
    harness: BillingHarness, actor: StaffActor, provider_id: str, key: str | None = None
) -> EntryView:
    return await carry_out(
        harness.services.repairs,
        actor,
        CANCEL_SUBSCRIPTION,
        harness.holder.account_id,
        Cancellation(provider_id),
        reason=WHY,
        now=harness.now,
        key=key,
    )


async def reviewed(
    harness: BillingHarness, actor: StaffActor, provider_id: str
) -> CancellationPreview:
    account_id = harness.holder.account_id
    found = await review(
        harness.services.repairs,
        actor,
        CANCEL_SUBSCRIPTION,
        account_id,
        Cancellation(provider_id),
        account_id=account_id,
        now=harness.now,
    )
    assert isinstance(found, CancellationPreview)
    return found


def live_ones(harness: BillingHarness) -> list[str]:
    return [each.id for each in harness.subscriptions("active")]


async def test_second_one_is_cancelled_and_the_first_goes_on(
    harness: BillingHarness, billing: StaffActor, both: tuple[str, str]
) -> None:
    first, second = both
    preview = await reviewed(harness, billing, second)
    assert (preview.offer.code, preview.stays and preview.stays.code) == ("scale", "growth")
    assert preview.plans_remaining == [("Scale", 150_000)]
    lines = " ".join(review_lines(preview))
    assert "Nothing is refunded" in lines
    assert "The plan Scale, with 150,000 executions left, ends with it." in lines
    charged = harness.charged_minor()
    entry = await cancel(harness, billing, second)
    assert (entry.reason, entry.before["offer"], entry.can_undo) == (WHY, "Scale", False)
    assert live_ones(harness) == [first]
    assert (await harness.live()).offer.code == "growth"
    await harness.deliver()
    assert (await harness.current()).executions_remaining == 30_000
    assert await harness.reconcile() == []
    harness.skip(32 * DAY)
    await harness.deliver()
    assert harness.charged_minor() == charged + 7_900


async def test_first_one_is_cancelled_and_the_second_takes_its_place(
    harness: BillingHarness, billing: StaffActor, both: tuple[str, str]
) -> None:
    first, second = both
    preview = await reviewed(harness, billing, first)
    assert (preview.offer.code, preview.stays and preview.stays.code) == ("growth", "scale")
    await cancel(harness, billing, first)
    assert live_ones(harness) == [second]
    live = await harness.live()
    assert live.offer.code == "scale"
    assert harness.rows("SELECT count(*) FROM subscriptions WHERE is_duplicate") == [(0,)]
    assert (await harness.current()).executions_remaining == 150_000
    accepted(await harness.use(40_000))
    await harness.deliver()
    assert await harness.reconcile() == []


async def test_repeated_key_cancels_once_and_there_is_no_undo(
    harness: BillingHarness, billing: StaffActor, both: tuple[str, str]
) -> None:
    entry = await cancel(harness, billing, both[1], key="k")
    assert (await cancel(harness, billing, both[1], key="k")).id == entry.id
    with pytest.raises(SubscriptionEndedError):
        await cancel(harness, billing, both[1])
    with pytest.raises(NotUndoableError):
        await undo(harness.services.repairs, billing, entry.id, reason="No", now=harness.now)
    with pytest.raises(NoSubscriptionError):
        await cancel(harness, billing, "sub_of_others")
    where = audit_reading.EntryQuery(account_id=harness.holder.account_id)
    page = await audit_reading.list_entries(harness.services.database, OPERATOR, where)
    assert [(each.action, each.can_undo) for each in page.items] == [("cancel_subscription", False)]
    account_id = harness.holder.account_id
    history = await read_account_history(harness.services.database, OPERATOR, account_id)
    told = "Subscription to Scale cancelled, effective immediately"
    assert history.items[0].what == told


async def test_lost_answer_is_looked_up(
    harness: BillingHarness, billing: StaffActor, both: tuple[str, str]
) -> None:
    fault: dict[str, Any] = {"kind": "status", "status": 503, "times": 9, "when": "after"}
    harness.sandbox.fault(**fault, method="DELETE", path="/v1/subscriptions/*")
    with pytest.raises(PaymentProviderUnavailableError):
        await cancel(harness, billing, both[1], key="k")
    harness.sandbox.http.delete("/_sandbox/faults")
    await cancel(harness, billing, both[1], key="k")
    assert live_ones(harness) == [both[0]]
    assert harness.rows("SELECT count(*) FROM audit_entries") == [(1,)]


async def test_nobody_cancels_for_themselves(
    harness: BillingHarness, billing: StaffActor, both: tuple[str, str]
) -> None:
    organization_id = harness.holder.organization_id
    factories.membership(harness.url, organization_id, billing.actor_id, "owner")
    with pytest.raises(OwnAccountError):
        await cancel(harness, billing, both[1])
    assert len(live_ones(harness)) == 2

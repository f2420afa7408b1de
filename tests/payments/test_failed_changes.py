"""A change that Stripe refuses leaves what was scheduled or cancelled before as it was."""

from typing import Any

import pytest

from billing_app.billing.subscriptions.provider_errors import PaymentProviderFailedError
from billing_app.db.enums import When
from tests.payments.billing_harness import BillingHarness

pytestmark = pytest.mark.stripe_test_mode

REFUSED: dict[str, Any] = {"type": "invalid_request_error", "message": "Not now."}


def refuse(harness: BillingHarness, path: str, **more: Any) -> None:
    fault = {"kind": "status", "status": 400, "method": "POST", "error": REFUSED}
    harness.sandbox.control("faults", **fault | more, path=path)


async def test_refused_change_now_keeps_the_scheduled_one(harness: BillingHarness) -> None:
    await harness.subscribed("growth")
    await harness.change("starter", When.PERIOD_END)
    refuse(harness, "/v1/subscriptions/*")
    with pytest.raises(PaymentProviderFailedError):
        await harness.change("scale")
    await harness.deliver()
    found = await harness.live()
    assert (found.offer.code, found.next_offer and found.next_offer.code) == ("growth", "starter")
    assert harness.charged_minor() == 7_900


@pytest.mark.parametrize("step", ["/v1/subscription_schedules", "/v1/subscription_schedules/*"])
@pytest.mark.parametrize("by_date", [False, True])
async def test_refused_change_later_keeps_the_cancellation(
    harness: BillingHarness, step: str, by_date: bool
) -> None:
    """Who cancelled is not charged again by a change that failed."""
    found = await harness.subscribed("growth")
    if by_date:
        end: Any = {"cancel_at": int(found.period_end.timestamp()) + 86_400}
        harness.client.v1.subscriptions.update(harness.subscriptions()[0].id, end)
        await harness.deliver()
    else:
        await harness.cancel(When.PERIOD_END)
    before = await harness.live()
    assert before.cancel_at_period_end
    refuse(harness, step)
    with pytest.raises(PaymentProviderFailedError):
        await harness.change("starter", When.PERIOD_END)
    await harness.deliver()
    after = await harness.live()
    assert (after.cancel_at_period_end, after.ends_at) == (True, before.ends_at)
    await harness.change("starter", When.PERIOD_END)
    after = await harness.live()
    assert (after.cancel_at_period_end, after.next_offer and after.next_offer.code) == (
        False,
        "starter",
    )


async def test_refused_cancellation_keeps_the_scheduled_change(harness: BillingHarness) -> None:
    await harness.subscribed("growth")
    await harness.change("starter", When.PERIOD_END)
    refuse(harness, "/v1/subscriptions/*")
    with pytest.raises(PaymentProviderFailedError):
        await harness.cancel(When.PERIOD_END)
    await harness.deliver()
    found = await harness.live()
    assert found.next_offer is not None
    assert (found.cancel_at_period_end, found.next_offer.code) == (False, "starter")

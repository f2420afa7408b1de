"""The payment scenarios on Stripe's own test mode: `STRIPE_TEST_KEY=sk_test_…`.

`STRIPE_TEST_KEY=rehearsal` plays them the same way on the sandbox: on a test clock, through the API
alone, with nothing that only the sandbox has. What remains unproved without a key is Stripe itself.
"""

import os
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Never

import pytest
import stripe
from stripe import StripeClient

from billing_app.billing.subscriptions.provider import ProviderEvent
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.billing.subscriptions.views import Begun
from billing_app.payments.comparison import Difference
from billing_app.payments.translate import ACCOUNT_METADATA, INSTALLATION_METADATA
from tests import factories
from tests.payments.billing_harness import (
    CHALLENGED,
    DAY,
    DECLINED,
    DISPUTED,
    FAILS_LATER,
    POOR,
    VISA,
    BillingHarness,
)
from tests.stripe_sandbox.running import RunningSandbox

TEST_KEY: Final = os.environ.get("STRIPE_TEST_KEY", "")
IS_REHEARSED: Final = TEST_KEY == "rehearsal"
MARKER: Final = "stripe_test_mode"
RUN: Final = f"billing tests {secrets.token_hex(4)}"
RUN_METADATA: Final = "billing_test_run"
# A clock advances by at most two intervals of its shortest subscription
# (docs.stripe.com/billing/testing/test-clocks/api-advanced-usage).
LONGEST_STEP_SECONDS: Final = 27 * DAY
ADVANCE_SECONDS: Final = 180
TOKENS: Final = {
    VISA: "pm_card_visa",
    DECLINED: "pm_card_chargeDeclined",
    POOR: "pm_card_chargeDeclinedInsufficientFunds",
    CHALLENGED: "pm_card_threeDSecure2Required",
    FAILS_LATER: "pm_card_chargeCustomerFail",
    DISPUTED: "pm_card_createDispute",
}


def _needs_sandbox(what: object) -> Never:
    pytest.skip(f"only the sandbox can do this: {what}")


class StripeItself:
    """In the place of the running sandbox. Whatever only the sandbox can do skips the test."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        assert IS_REHEARSED or TEST_KEY.startswith(("sk_test_", "rk_test_")), "only a test key"
        self._sandbox = sandbox
        self.key = sandbox.key if IS_REHEARSED else TEST_KEY
        self.url = sandbox.url if IS_REHEARSED else None

    def client(self, **options: Any) -> StripeClient:
        if IS_REHEARSED:
            return self._sandbox.client(**options)
        return StripeClient(self.key, **options)

    def control(self, path: str, /, **_: Any) -> Never:
        _needs_sandbox(path)

    def fault(self, **fields: Any) -> Never:
        _needs_sandbox(fields)

    def requests(self) -> Never:
        _needs_sandbox("requests")

    def take_violations(self) -> list[dict[str, str]]:
        return []

    @property
    def http(self) -> Never:
        _needs_sandbox("http")


class ClockedHarness(BillingHarness):
    """Its customer lives on a test clock of its own, pays with cards on file, and is polled."""

    clock_id = ""
    _ticks = 0

    @property
    def now(self) -> datetime:
        """A little later each time: no two uses happen at once."""
        self._ticks += 1
        return super().now + timedelta(microseconds=self._ticks)

    async def start(self, at: datetime | None = None) -> None:
        """The account's customer, marked with this run; gone with its clock (`stop`)."""
        self.frozen = at or datetime.now(UTC).replace(microsecond=0)
        clock: Any = {"frozen_time": int(self.frozen.timestamp()), "name": RUN}
        self.clock_id = self.client.v1.test_helpers.test_clocks.create(clock).id
        marks = {ACCOUNT_METADATA: self.holder.account_id, RUN_METADATA: RUN}
        if mark := await self.services.provider.mark():  # pyright: ignore[reportAttributeAccessIssue]
            marks[INSTALLATION_METADATA] = mark
        params: Any = {"name": "Acme", "test_clock": self.clock_id, "metadata": marks}
        customer = self.client.v1.customers.create(params)
        with factories.connect(self.url) as connection:
            connection.execute(
                "INSERT INTO provider_customers (account_id, customer_id, created_at)"
                " VALUES (%s, %s, now())",
                [self.holder.account_number, customer.id],
            )

    async def stop(self) -> None:
        with suppress(stripe.StripeError):
            self.client.v1.test_helpers.test_clocks.delete(self.clock_id)
        await self.close()

    def advance(self, to: datetime) -> None:
        assert self.frozen is not None
        clocks = self.client.v1.test_helpers.test_clocks
        while self.frozen < to:
            step = timedelta(seconds=LONGEST_STEP_SECONDS)
            self.frozen = min(to, self.frozen + step)
            clocks.advance(self.clock_id, {"frozen_time": int(self.frozen.timestamp())})
            deadline = time.monotonic() + ADVANCE_SECONDS
            while clocks.retrieve(self.clock_id).status != "ready":
                assert time.monotonic() < deadline, "the clock does not come to rest"
                time.sleep(0 if IS_REHEARSED or not TEST_KEY else 1)

    async def after(self, to: datetime) -> None:
        self.advance(to)
        await self.deliver()

    def skip(self, seconds: float) -> None:
        self.advance(self.now + timedelta(seconds=int(seconds)))

    async def begin(self, offer: str) -> Begun:
        begun = await super().begin(offer)
        if begun.checkout_url is not None:
            _needs_sandbox("a page to pay on")
        return begun

    async def subscribed(
        self, offer: str = "starter", card: str = VISA, **details: str
    ) -> SubscriptionView:
        """With the card on file; no request of ours is left behind, as after a checkout."""
        if details:
            _needs_sandbox(details)
        self.use_card(TOKENS[card])
        await self.begin(offer)
        self.rows("DELETE FROM provider_writes WHERE operation = 'subscribe' RETURNING 1")
        return await self.live()

    def leave_a_stranger(self, metadata: dict[str, str]) -> Never:
        _needs_sandbox("a customer that stays")

    def missed(self) -> list[ProviderEvent]:
        """Nothing is delivered anyway."""
        return []

    async def deliver(self) -> None:
        await self.services.subscriptions.syncing.customer(self.customer_id(), self.now)

    async def deliver_each(self, events: Any) -> None:
        if events:
            _needs_sandbox("events")

    async def reconcile(self, *, dry_run: bool = False) -> list[Difference]:
        """Without events, and what other runs left in the account."""
        found = await super().reconcile(dry_run=dry_run)
        ours = ("", self.holder.account_id)
        return [each for each in found if each.account_id in ours and each.what != "event"]

"""A bed whose customer lives on a test clock: as Stripe lets time pass, and the only way there."""

import time
from datetime import datetime, timedelta
from typing import Any, Final

from billing_app.billing.subscriptions.provider import EventFacts
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.payments.translate import ACCOUNT_METADATA
from tests import factories
from tests.payments.bed import CHALLENGED, DECLINED, DISPUTED, FAILS_LATER, POOR, VISA, Bed

ADVANCE_SECONDS: Final = 300
LOOK_SECONDS: Final = 0.2
CARDS: Final = {
    VISA: "pm_card_visa",
    DECLINED: "pm_card_visa_chargeDeclined",
    POOR: "pm_card_visa_chargeDeclinedInsufficientFunds",
    CHALLENGED: "pm_card_threeDSecure2Required",
    FAILS_LATER: "pm_card_chargeCustomerFail",
    DISPUTED: "pm_card_createDispute",
}


class ClockedBed(Bed):
    clock_id = ""

    async def start(self, at: datetime) -> None:
        clocks = self.client.v1.test_helpers.test_clocks
        self.frozen = at
        self.clock_id = clocks.create({"frozen_time": int(at.timestamp())}).id
        params: Any = {
            "name": "Acme",
            "test_clock": self.clock_id,
            "metadata": {ACCOUNT_METADATA: self.holder.account_id},
        }
        customer = self.client.v1.customers.create(params)
        with factories.connect(self.url) as connection:
            connection.execute(
                "INSERT INTO provider_customers (account_id, customer_id, created_at)"
                " VALUES (%s, %s, now())",
                [self.holder.account_number, customer.id],
            )

    async def close(self) -> None:
        """Stripe deletes the customer with its clock."""
        self.client.v1.test_helpers.test_clocks.delete(self.clock_id)
        await super().close()

    async def subscribed(self, offer: str = "starter", card: str = VISA) -> SubscriptionView:
        """With the card on file: Stripe's checkout page wants a person."""
        self.use_card(CARDS[card])
        return await super().subscribed(offer, card)

    def skip(self, seconds: float) -> None:
        assert self.frozen is not None
        self.advance(self.frozen + timedelta(seconds=int(seconds)))

    def advance(self, to: datetime) -> None:
        clocks = self.client.v1.test_helpers.test_clocks
        clocks.advance(self.clock_id, {"frozen_time": int(to.timestamp())})
        deadline = time.monotonic() + ADVANCE_SECONDS
        while clocks.retrieve(self.clock_id).status != "ready":
            assert time.monotonic() < deadline, "the clock does not get there"
            time.sleep(LOOK_SECONDS)
        self.frozen = to

    async def after(self, to: datetime) -> None:
        self.advance(to)
        await self.services.subscriptions.syncing.customer(self.customer_id(), self.now)

    def missed(self) -> list[EventFacts]:
        """Not those of customers of others; a dispute names no customer."""
        ours = self.customer_id()
        return [event for event in super().missed() if event.customer_id in (ours, "")]

"""The demo's paying customers at the Stripe sandbox. Each starts in the past on a test clock,
renews month by month, and is then released to the present."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from billing_app.billing import ids
from billing_app.billing.actors import OperatorActor
from billing_app.billing.subscriptions.customers import keep_customer
from billing_app.composition import Services
from billing_app.db.enums import When

GOOD_CARD: Final = "pm_card_visa"
BAD_CARD: Final = "pm_card_chargeCustomerFail"
# A renewal's invoice is finalized and charged an hour after the period's end.
AFTER_RENEWAL: Final = timedelta(hours=2)
# Less than a month: only the last renewal is this recent.
NEWEST: Final = timedelta(days=28)
TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Payer:
    """Subscribed `days_ago`. `fails`: the card is declined at the latest renewal."""

    name: str
    offer: str
    days_ago: int
    fails: bool = False
    cancels: bool = False


@dataclass
class PaymentHistory:
    """The payments of one payer, in the order in which they happen."""

    services: Services
    sandbox: httpx.AsyncClient
    payer: Payer
    ends: datetime
    account_id: str = ""
    customer_id: str = ""
    clock_id: str = ""
    renews_at: datetime | None = None

    async def begin(self, account_number: int, name: str, now: datetime) -> None:
        """A customer with a card, who subscribes."""
        self.account_id = ids.encode_account(account_number)
        clock = await self._post("test_helpers/test_clocks", frozen_time=_seconds(now))
        self.clock_id = clock["id"]
        body = {"name": name, "metadata[billing_account]": self.account_id}
        body["test_clock"] = self.clock_id
        self.customer_id = (await self._post("customers", **body))["id"]
        await keep_customer(self.services.database, account_number, self.customer_id, now)
        await self._use_card(GOOD_CARD)
        url = self.services.settings.public_url
        await self.services.subscriptions.begin(
            OperatorActor(),
            self.account_id,
            offer_code=self.payer.offer,
            success_url=url,
            cancel_url=url,
            now=now,
        )
        await self._look_ahead()

    async def renew(self, now: datetime) -> None:
        """Renew when the renewal is due."""
        renews_at = self.renews_at
        if renews_at is None or renews_at > now:
            return
        if self.payer.fails and renews_at + NEWEST > self.ends:
            await self._use_card(BAD_CARD)
        await self._advance(renews_at)
        await self._look_ahead()

    async def _look_ahead(self) -> None:
        held = await self.services.subscriptions.read(OperatorActor(), self.account_id)
        is_paid = held is not None and held.past_due_since is None
        self.renews_at = held.period_end + AFTER_RENEWAL if held and is_paid else None

    async def go_on(self, now: datetime) -> None:
        """Advance the customer to the present."""
        await self._advance(now)
        subscriptions = self.services.subscriptions
        held = await subscriptions.read(OperatorActor(), self.account_id)
        if self.payer.cancels and held is not None:
            await subscriptions.cancel(OperatorActor(), held.id, when=When.PERIOD_END, now=now)

    async def release(self) -> None:
        """Take the customer off the test clock."""
        path = f"/_sandbox/test_clocks/{self.clock_id}/release"
        (await self.sandbox.post(path)).raise_for_status()

    async def _advance(self, now: datetime) -> None:
        path = f"test_helpers/test_clocks/{self.clock_id}/advance"
        await self._post(path, frozen_time=_seconds(now))
        await self.services.subscriptions.syncing.customer(self.customer_id, now)

    async def _use_card(self, card: str) -> None:
        attached = await self._post(f"payment_methods/{card}/attach", customer=self.customer_id)
        settings = {"invoice_settings[default_payment_method]": attached["id"]}
        await self._post(f"customers/{self.customer_id}", **settings)
        listed = await self.sandbox.get("/v1/subscriptions", params={"customer": self.customer_id})
        for held in listed.json()["data"]:
            await self._post(f"subscriptions/{held['id']}", default_payment_method=attached["id"])

    async def _post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.sandbox.post(f"/v1/{path}", data=body)
        answer.raise_for_status()
        return answer.json()


def sandbox_client(services: Services) -> httpx.AsyncClient | None:
    """None: payments go to the real Stripe or nowhere; no history is made up there."""
    settings = services.settings
    if settings.stripe_api_base is None or settings.stripe_secret_key is None:
        return None
    key = settings.stripe_secret_key.get_secret_value()
    return httpx.AsyncClient(
        base_url=settings.stripe_api_base,
        headers={"Authorization": f"Bearer {key}"},
        timeout=TIMEOUT_SECONDS,
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())

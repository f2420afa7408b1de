"""The demo's customers who pay, through the Stripe sandbox: begun in the past on a clock of their
own, renewed month by month, then left to the time that everybody has."""

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
# A month, so that only the last renewal is the newest.
NEWEST: Final = timedelta(days=28)
TIMEOUT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Payer:
    """Who subscribed so many days ago. `fails`: the card is refused at the newest renewal."""

    name: str
    offer: str
    days_ago: int
    fails: bool = False
    cancels: bool = False


class PaymentHistory:
    """Of one payer, told in the order in which it happens."""

    def __init__(
        self, services: Services, sandbox: httpx.AsyncClient, payer: Payer, ends: datetime
    ) -> None:
        self._services = services
        self._sandbox = sandbox
        self._payer = payer
        self._ends = ends
        self._account_id = ""
        self._customer_id = ""
        self._clock_id = ""
        self._renews_at: datetime | None = None

    async def begin(self, account_number: int, name: str, now: datetime) -> None:
        """A customer with a card, who subscribes."""
        self._account_id = ids.encode_account(account_number)
        clock = await self._post("test_helpers/test_clocks", frozen_time=_seconds(now))
        self._clock_id = clock["id"]
        told: dict[str, Any] = {"name": name, "metadata[billing_account]": self._account_id}
        told |= {"test_clock": self._clock_id}
        self._customer_id = (await self._post("customers", **told))["id"]
        await keep_customer(self._services.database, account_number, self._customer_id, now)
        await self._use_card(GOOD_CARD)
        url = self._services.settings.public_url
        await self._services.subscriptions.begin(
            OperatorActor(),
            self._account_id,
            offer_code=self._payer.offer,
            success_url=url,
            cancel_url=url,
            now=now,
        )
        await self._look_ahead()

    async def renew(self, now: datetime) -> None:
        """Bring about the renewal when its time has come."""
        renews_at = self._renews_at
        if renews_at is None or renews_at > now:
            return
        if self._payer.fails and renews_at + NEWEST > self._ends:
            await self._use_card(BAD_CARD)
        await self._advance(renews_at)
        await self._look_ahead()

    async def _look_ahead(self) -> None:
        held = await self._services.subscriptions.read(OperatorActor(), self._account_id)
        is_paid = held is not None and held.past_due_since is None
        self._renews_at = held.period_end + AFTER_RENEWAL if held and is_paid else None

    async def go_on(self, now: datetime) -> None:
        """Bring the customer to the present."""
        await self._advance(now)
        subscriptions = self._services.subscriptions
        held = await subscriptions.read(OperatorActor(), self._account_id)
        if self._payer.cancels and held is not None:
            await subscriptions.cancel(OperatorActor(), held.id, when=When.PERIOD_END, now=now)

    async def release(self) -> None:
        """From now on the customer has the time that everybody has."""
        path = f"/_sandbox/test_clocks/{self._clock_id}/release"
        (await self._sandbox.post(path)).raise_for_status()

    async def _advance(self, now: datetime) -> None:
        path = f"test_helpers/test_clocks/{self._clock_id}/advance"
        await self._post(path, frozen_time=_seconds(now))
        await self._services.subscriptions.syncing.customer(self._customer_id, now)

    async def _use_card(self, card: str) -> None:
        attached = await self._post(f"payment_methods/{card}/attach", customer=self._customer_id)
        settings = {"invoice_settings[default_payment_method]": attached["id"]}
        await self._post(f"customers/{self._customer_id}", **settings)
        found = await self._sandbox.get("/v1/subscriptions", params={"customer": self._customer_id})
        for held in found.json()["data"]:
            await self._post(f"subscriptions/{held['id']}", default_payment_method=attached["id"])

    async def _post(self, path: str, **told: Any) -> dict[str, Any]:
        answer = await self._sandbox.post(f"/v1/{path}", data=told)
        answer.raise_for_status()
        return answer.json()


def sandbox_client(services: Services) -> httpx.AsyncClient | None:
    """None: payments go to the real Stripe, or nowhere; nothing is made up there."""
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

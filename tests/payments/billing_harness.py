"""One account that can pay: the sandbox, the app's services in this process, and a database of its
own. Time advances in the sandbox only; `now` follows it."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import msgspec
import stripe
from stripe import StripeClient

from billing_app.billing.errors import BillingError
from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.requests import (
    DEFAULT_HOLD_SECONDS,
    Accepted,
    Caller,
    CheckRequest,
    Commit,
    Decision,
    Mode,
    Request,
)
from billing_app.billing.offers.catalogue import OfferTerms, publish_offer
from billing_app.billing.plans import service as plans
from billing_app.billing.plans.service import CurrentPlan
from billing_app.billing.subscriptions.provider import ProviderEvent
from billing_app.billing.subscriptions.service import ChangePreview, SubscriptionView
from billing_app.billing.subscriptions.views import Begun
from billing_app.composition import Services, build_services
from billing_app.db.enums import Interval, When
from billing_app.payments import replay_protection, translate, webhooks
from billing_app.payments.reconciliation import Difference, reconcile
from billing_app.settings import Settings
from tests import factories
from tests.conftest import PUBLIC, TRIAL_EXECUTIONS
from tests.databases import DatabasePool
from tests.factories import OPERATOR, Holder
from tests.stripe_sandbox.running import Sandbox

SECRET: Final = "whsec_payments"
PUBLIC_URL: Final = "http://localhost:3000"
GRACE_DAYS: Final = 7
HOUR: Final = 3_600
DAY: Final = 86_400
VISA, DECLINED, POOR, CHALLENGED, FAILS_LATER, DISPUTED = (
    "4242424242424242",
    "4000000000000002",
    "4000000000009995",
    "4000000000003220",
    "4000000000000341",
    "4000000000000259",
)
OFFERS: Final = {
    "starter": OfferTerms("Starter", "", 5_000, 1_900, "USD", Interval.MONTH),
    "growth": OfferTerms("Growth", "", 30_000, 7_900, "USD", Interval.MONTH),
    "scale": OfferTerms("Scale", "", 150_000, 29_900, "USD", Interval.MONTH),
    "growth-yearly": OfferTerms("Growth yearly", "", 360_000, 79_000, "USD", Interval.YEAR),
    "euros": OfferTerms("Euros", "", 5_000, 1_900, "EUR", Interval.MONTH),
    "pack": OfferTerms("Pack", "", 10_000, 2_500, "USD", Interval.ONCE),
}


def payment_settings(sandbox: Sandbox, **more: Any) -> Settings:
    values: dict[str, Any] = {
        "trial_plan_executions": TRIAL_EXECUTIONS,
        "public_org_id": PUBLIC,
        "public_url": PUBLIC_URL,
        "stripe_secret_key": sandbox.key,
        "stripe_webhook_secret": SECRET,
        "stripe_api_base": sandbox.url,
        "payment_grace_days": GRACE_DAYS,
        **more,
    }
    return Settings(**values)


def type_card(url: str | None, number: str = VISA, **details: str) -> httpx.Response:
    """Pay on the checkout page, and confirm when the bank asks."""
    assert url is not None
    answer = submit_card(url, number, **details)
    location = answer.headers.get("location", "")
    if "/challenge/" in location:
        return answer_challenge(url, location, passed=True)
    return answer


def submit_card(url: str, number: str, **details: str) -> httpx.Response:
    address = {"country": "US", "line1": "1 Main Street", "postal_code": "97712"}
    form = {"number": number, "expiry": "12 / 34", "cvc": "123", "name": "Ada"}
    return post_form(url, **form | address | details)


def post_form(url: str, **form: str) -> httpx.Response:
    return httpx.post(url, data=form, timeout=20)


def look(url: str | None) -> str:
    return httpx.get(str(url), timeout=20).text


def answer_challenge(url: str, location: str, *, passed: bool) -> httpx.Response:
    base = url.split("/checkout/", 1)[0]
    address = location if location.startswith("http") else base + location
    session = address.partition("session=")[2]
    form = {"session": session, "result": "approve" if passed else "fail"}
    back = httpx.post(address, data=form, timeout=20)
    return httpx.get(base + back.headers["location"], timeout=20)


class BillingHarness:
    """Acts as the customer, as Stripe and as time."""

    def __init__(self, sandbox: Sandbox, url: str, **settings: Any) -> None:
        self.sandbox = sandbox
        self.url = url
        self.client: StripeClient = sandbox.client(max_network_retries=2)
        self.services: Services = build_services(payment_settings(sandbox, **settings), url)
        self.holder: Holder = factories.organization(url)
        self.skipped_seconds = 0
        self.frozen: datetime | None = None
        self._directory = Directory(self.services.terms)
        self._connection: Any = None
        self._keys = 0
        self._seen: set[str] = set()

    @property
    def now(self) -> datetime:
        if self.frozen is not None:
            return self.frozen
        return datetime.now(UTC) + timedelta(seconds=self.skipped_seconds)

    async def open(self) -> "BillingHarness":
        self._connection = await store.connect(self.url)
        for code, terms in OFFERS.items():
            await publish_offer(
                self.services.database, OPERATOR, code=code, terms=terms, now=self.now
            )
        return self

    async def open_beside(self, first: "BillingHarness") -> "BillingHarness":
        """Another customer of the same site."""
        self._connection = await store.connect(self.url)
        self.skipped_seconds = first.skipped_seconds
        return self

    async def close(self) -> None:
        await self._connection.close(timeout=1)
        await self.services.close()

    # As the customer

    async def begin(self, offer: str) -> Begun:
        return await self.services.subscriptions.begin(
            OPERATOR,
            self.holder.account_id,
            offer_code=offer,
            success_url=f"{PUBLIC_URL}/done",
            cancel_url=f"{PUBLIC_URL}/left",
            now=self.now,
        )

    async def subscribed(
        self, offer: str = "starter", card: str = VISA, **details: str
    ) -> SubscriptionView:
        """Through the checkout, with its events delivered."""
        begun = await self.begin(offer)
        if begun.checkout_url is not None:
            assert type_card(begun.checkout_url, card, **details).status_code in (200, 303)
        await self.deliver()
        found = await self.subscription()
        assert found is not None
        return found

    async def subscription(self) -> SubscriptionView | None:
        return await self.services.subscriptions.read(OPERATOR, self.holder.account_id)

    async def live(self) -> SubscriptionView:
        found = await self.subscription()
        assert found is not None
        return found

    async def preview(self, offer: str) -> ChangePreview:
        found = await self.live()
        return await self.services.subscriptions.preview(
            OPERATOR, found.id, offer_code=offer, now=self.now
        )

    async def change(self, offer: str, when: When = When.NOW) -> SubscriptionView:
        found = await self.live()
        return await self.services.subscriptions.change(
            OPERATOR, found.id, offer_code=offer, when=when, now=self.now
        )

    async def cancel(self, when: When) -> SubscriptionView:
        found = await self.live()
        return await self.services.subscriptions.cancel(OPERATOR, found.id, when=when, now=self.now)

    async def resume(self) -> SubscriptionView:
        found = await self.live()
        return await self.services.subscriptions.resume(OPERATOR, found.id, now=self.now)

    async def use(self, executions: int, mode: Mode = Mode.CONSUME) -> Decision:
        """Ask for executions at this moment."""
        self._keys += 1
        ask = CheckRequest(
            mode=mode,
            organization_id=self.holder.organization_id,
            user_id="",
            executions=executions,
            workflow="",
            hold_seconds=DEFAULT_HOLD_SECONDS,
            idempotency_key=f"use-{self._keys}",
            caller=Caller(api_key_id=None, organization_id=None),
        )
        return await self.decide(ask)

    async def decide(self, request: Request) -> Decision:
        decisions = await store.transact(self._connection, self._directory, [request], at=self.now)
        return decisions[0]

    async def denied(self) -> str:
        """The code with which one more execution is refused; "" when it is allowed."""
        decision = await self.use(1, Mode.CHECK)
        return decision.code if isinstance(decision, BillingError) else ""

    async def current(self) -> CurrentPlan:
        return await plans.read_current(
            self.services.database, OPERATOR, self.holder.account_id, self.now
        )

    # As Stripe

    def customer_id(self) -> str:
        account = self.holder.account_number
        rows = self.rows(
            f"SELECT customer_id FROM provider_customers WHERE account_id = {account}"  # noqa: S608
        )
        return rows[0][0]

    def _query(self) -> Any:
        """Everything of our customer; a Stripe account may have others."""
        return {"customer": self.customer_id(), "limit": 100}

    def use_card(self, token: str) -> str:
        """Put a test card on file, for later payments and for the subscription."""
        who = self.customer_id()
        method = self.client.v1.payment_methods.attach(token, {"customer": who}).id
        settings: Any = {"invoice_settings": {"default_payment_method": method}}
        self.client.v1.customers.update(who, settings)
        for found in self.client.v1.subscriptions.list({"customer": who}).data:
            self.client.v1.subscriptions.update(found.id, {"default_payment_method": method})
        return method

    def charges(self) -> list[stripe.Charge]:
        """Those that took money, oldest first."""
        found = self.client.v1.charges.list(self._query()).auto_paging_iter()
        return [charge for charge in found if charge.paid][::-1]

    def charged_minor(self) -> int:
        return sum(charge.amount for charge in self.charges())

    def invoices(self) -> list[stripe.Invoice]:
        return list(self.client.v1.invoices.list(self._query()).auto_paging_iter())[::-1]

    def subscriptions(self, status: Any = "all") -> list[stripe.Subscription]:
        query: Any = self._query() | {"status": status}
        return list(self.client.v1.subscriptions.list(query).auto_paging_iter())

    def leave_a_stranger(self, metadata: dict[str, str]) -> None:
        """A customer at Stripe that nobody here knows."""
        self.client.v1.customers.create({"name": "Elsewhere", "metadata": metadata})

    def skip(self, seconds: float) -> None:
        """Let time pass at Stripe and here."""
        whole = int(seconds)
        self.sandbox.control("clock", advance_seconds=whole)
        self.skipped_seconds += whole

    def missed(self) -> list[ProviderEvent]:
        """Undelivered events, oldest first; they count as delivered from now on."""
        found = self.client.v1.events.list({"limit": 100}).auto_paging_iter()
        events = [translate.provider_event(event) for event in found][::-1]
        fresh = [event for event in events if event.id not in self._seen]
        self._seen |= {event.id for event in fresh}
        return fresh

    async def deliver(self) -> None:
        """Deliver all webhooks, each customer's at once."""
        events = self.missed()
        for event in events:
            await replay_protection.store_event(self.services.database, event, self.now)
        syncing = self.services.subscriptions.syncing
        await webhooks.process_missed(self.services.database, syncing, events, self.now)

    async def deliver_each(self, events: Iterable[ProviderEvent]) -> None:
        """Deliver these webhooks one after another, repeated ones too."""
        syncing = self.services.subscriptions.syncing
        for event in events:
            await replay_protection.store_event(self.services.database, event, self.now)
            await webhooks.process_event(self.services.database, syncing, event.id, self.now)

    async def reconcile(self, *, dry_run: bool = False) -> list[Difference]:
        services = self.services
        return await reconcile(
            services.database,
            services.provider,
            services.subscriptions,
            now=self.now,
            dry_run=dry_run,
        )

    # As the database

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with factories.connect(self.url) as connection:
            return connection.execute(query).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]

    def plans(self) -> list[dict[str, Any]]:
        """All plans by sequence, without the times when they were written and without bridges that
        were never used."""
        names = "source, name, executions, used, held, priority, ends_at, ended_because"
        found = self.rows(
            f"SELECT {names}, starts_at, suspended_at, source_reference"  # noqa: S608
            " FROM plans WHERE began_at IS NOT NULL"
            " OR coalesce(source_reference, '') NOT LIKE 'bridge:%' ORDER BY sequence"
        )
        keys = [*names.split(", "), "starts_at", "suspended_at", "source_reference"]
        return [dict(zip(keys, row, strict=True)) for row in found]

    def snapshot(self) -> dict[str, Any]:
        """Everything that must not depend on the order of events."""
        queries = {
            "subscriptions": "SELECT provider_id, status, offer_version_id, next_offer_version_id,"
            " period_start, period_end, cancel_at_period_end, ended_at,"
            " past_due_since IS NULL FROM subscriptions ORDER BY provider_id",
            "invoices": "SELECT provider_id, subscription_provider_id, status, billing_reason,"
            " amount_due_minor, amount_paid_minor FROM invoices ORDER BY provider_id",
            "checkouts": "SELECT provider_id, status FROM checkouts ORDER BY provider_id",
        }
        found: dict[str, Any] = {name: self.rows(query) for name, query in queries.items()}
        found["plans"] = sorted(self.plans(), key=lambda plan: str(plan["source_reference"]))
        return found


@asynccontextmanager
async def fresh_harness(
    sandbox: Sandbox, pool: DatabasePool, **settings: Any
) -> AsyncIterator[BillingHarness]:
    """For an example of a property: an empty sandbox, and a database of its own."""
    sandbox.control("reset")
    url = pool.take()
    harness = await BillingHarness(sandbox, url, **settings).open()
    try:
        yield harness
    finally:
        await harness.close()
        pool.give_back(url)


def accepted(decision: Decision) -> dict[str, Any]:
    assert isinstance(decision, Accepted), decision
    return msgspec.json.decode(decision.answer)


def commit_of(answer: dict[str, Any], executions: int | None = None) -> Commit:
    from billing_app.billing import ids

    pair = ids.decode(ids.RESERVATION, answer["reservation"]["id"])
    assert pair is not None
    return Commit(
        account_id=pair[0],
        number=pair[1],
        executions=executions,
        caller=Caller(api_key_id=None, organization_id=None),
    )


def until(is_so: Any, timeout_seconds: float = 20.0) -> Any:
    """Wait until it is true."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        found = is_so()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not become true")

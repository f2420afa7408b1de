"""The site as it runs: API, worker and Stripe sandbox as processes, used over HTTP only."""

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from stripe import StripeClient

from billing_app.db.enums import Scope
from billing_app.routes import SESSION_COOKIE
from tests import factories
from tests.api.server import ApiServer
from tests.factories import Holder
from tests.fork_server import AppProcess
from tests.payments.billing_harness import PUBLIC_URL, SECRET, until
from tests.processes import start_command
from tests.stripe_sandbox.running import KEY, Sandbox

SUBSCRIPTIONS = "/billing/subscriptions"
PORTAL = "/billing/portal-sessions"
WEBHOOKS = "/billing/webhooks/stripe"


class Storefront:
    """Shared by many customers; each test creates its own."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox = sandbox
        self.url = url
        self.stripe: StripeClient = sandbox.client(max_network_retries=2)
        self.server = ApiServer(url)
        self.server.environment |= {
            "PUBLIC_URL": PUBLIC_URL,
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_API_BASE": sandbox.url,
            "PYTHONUNBUFFERED": "1",
        }
        self._worker: AppProcess | None = None

    def start(self) -> "Storefront":
        self.server.start()
        self.sandbox.control("webhook_endpoints", url=self.server.url + WEBHOOKS, secret=SECRET)
        self._worker = start_command(self.server.environment, "worker")
        assert self._worker.stdout is not None
        for line in self._worker.stdout:
            if "worker_started" in line:
                threading.Thread(target=self._worker.stdout.read, daemon=True).start()
                return self
        raise AssertionError("the worker did not start")

    def stop(self) -> None:
        self.server.stop()
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()

    def log(self) -> str:
        return self.server.log.read_text()

    def customer(self) -> "Customer":
        return Customer(self, factories.organization(self.url))

    def client(self, secret: str) -> httpx.Client:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=60)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with factories.connect(self.url) as connection:
            return connection.execute(query, values).fetchall()  # pyright: ignore[reportArgumentType, reportCallIssue]


class Customer:
    """An organization, with a key that may manage its subscription and use its plans."""

    def __init__(self, storefront: Storefront, holder: Holder) -> None:
        self.storefront = storefront
        self.holder = holder
        self.http = storefront.client(self.key(Scope.SUBSCRIPTIONS))
        self.service = storefront.client(self.key(Scope.EXECUTIONS, Scope.PLANS_READ))

    def key(self, *scopes: Scope) -> str:
        organization_id = self.holder.organization_id
        return factories.api_key(self.storefront.url, *scopes, organization_id=organization_id)

    def browser(self, role: str) -> httpx.Client:
        """A member of the organization, signed in on our pages."""
        user_id = factories.member(self.storefront.url, self.holder.organization_id, role)
        return httpx.Client(
            base_url=self.storefront.server.url,
            headers={"Origin": self.storefront.server.url},
            cookies={SESSION_COOKIE: factories.session_token(self.storefront.url, user_id)},
            timeout=60,
        )

    def body(self, **more: Any) -> dict[str, Any]:
        return {"organization_id": self.holder.organization_id, **more}

    def subscribe(self, offer: str = "starter", **more: Any) -> httpx.Response:
        return self.http.post(SUBSCRIPTIONS, json=self.body(offer=offer, **more))

    def put(self, subscription_id: str, offer: Any, **more: Any) -> httpx.Response:
        return self.http.put(f"{SUBSCRIPTIONS}/{subscription_id}", json={"offer": offer, **more})

    def current(self) -> Any:
        query = {"organization_id": self.holder.organization_id}
        answer = self.http.get(f"{SUBSCRIPTIONS}/current", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["subscription"]

    def check(self) -> httpx.Response:
        return self.service.post("/billing/plans/check-executions", json=self.body())

    def customer_id(self) -> str:
        query = "SELECT customer_id FROM provider_customers WHERE account_id = %s"
        ((found,),) = self.storefront.rows(query, self.holder.account_number)
        return found

    def use_card(self, card: str = "pm_card_visa") -> None:
        who, client = self.customer_id(), self.storefront.stripe.v1
        method = client.payment_methods.attach(card, {"customer": who}).id
        settings: Any = {"invoice_settings": {"default_payment_method": method}}
        client.customers.update(who, settings)

    def with_card(self, card: str = "pm_card_visa") -> "Customer":
        """A customer at Stripe who has a card on file."""
        url = self.http.post(PORTAL, json=self.body(return_url=f"{PUBLIC_URL}/billing"))
        assert url.status_code == 200, url.text
        self.use_card(card)
        return self

    def subscribed(self, offer: str = "starter") -> str:
        """The id of a subscription that the card on file paid for."""
        answer = self.with_card().subscribe(offer)
        assert answer.status_code == 201, answer.text
        return answer.json()["subscription"]["id"]

    def charged_minor(self) -> int:
        query: Any = {"customer": self.customer_id(), "limit": 100}
        return sum(
            each.amount for each in self.storefront.stripe.v1.charges.list(query) if each.paid
        )

    def count(self, kind: str) -> int:
        """How many there are at Stripe: `subscriptions` or open `sessions`."""
        client, query = self.storefront.stripe.v1, {"customer": self.customer_id(), "limit": 100}
        if kind == "subscriptions":
            live: Any = query | {"status": "all"}
            return len([s for s in client.subscriptions.list(live) if s.status != "canceled"])
        opened: Any = query | {"status": "open"}
        return len(client.checkout.sessions.list(opened).data)

    def plans(self) -> list[int]:
        query = (
            "SELECT executions FROM plans WHERE account_id = %s AND source <> 'bridge'"
            " ORDER BY sequence"
        )
        return [row[0] for row in self.storefront.rows(query, self.holder.account_number)]

    def wait_until_subscribed(self) -> Any:
        return until(self.current, 30)


def at_once(*calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """All at the same time, each on its own connection."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def problem(response: httpx.Response, status: int, code: str) -> Any:
    """The problem document, which must be complete."""
    assert response.status_code == status, f"{response.status_code}: {response.text}"
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["code"] == code, document
    assert document["status"] == status
    assert document["type"].endswith(code)
    assert document["title"]
    assert document["detail"]
    return document


def event_body(**more: Any) -> dict[str, Any]:
    return {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "type": "plan.created",
        "created": int(time.time()),
        "data": {"object": {"id": "plan_1", "object": "plan"}},
        **more,
    }


def codes(responses: Iterable[httpx.Response]) -> list[int]:
    return sorted(response.status_code for response in responses)

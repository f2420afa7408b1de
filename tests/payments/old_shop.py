"""A Stripe account that another product filled, and `import stripe` on it."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from billing_app.billing.executions.verification import verify
from tests.conftest import server_environment
from tests.factories import Holder
from tests.payments.billing_harness import BillingHarness
from tests.processes import run_command
from tests.stripe_sandbox.running import KEY

MONTH = {"interval": "month"}


class OldShop:
    """What another product made at Stripe."""

    def __init__(self, harness: BillingHarness) -> None:
        self.harness = harness
        self.api = harness.client.v1

    def price(self, name: str, minor: int = 1_500, executions: str = "3000", **more: Any) -> str:
        metadata = {"executions": executions} if executions else {}
        product = self.api.products.create({"name": name, "metadata": metadata})
        body: Any = {
            "product": product.id,
            "currency": "usd",
            "unit_amount": minor,
            "recurring": MONTH,
            **more,
        }
        return self.api.prices.create(body).id

    def customer(self, external_id: str = "", **more: Any) -> str:
        metadata = {"external_id": external_id, "crm": "42"} if external_id else {}
        details = {"name": "Acme Inc", "email": "billing@acme.example"}
        body: Any = details | {"metadata": metadata | more.pop("metadata", {})} | more
        made = self.api.customers.create(body)
        method = self.api.payment_methods.attach("pm_card_visa", {"customer": made.id}).id
        settings: Any = {"invoice_settings": {"default_payment_method": method}}
        self.api.customers.update(made.id, settings)
        return made.id

    def subscribe(self, customer_id: str, price_id: str, **more: Any) -> str:
        body: Any = {"customer": customer_id, "items": [{"price": price_id}]} | more
        return self.api.subscriptions.create(body).id

    def charges(self) -> list[tuple[str, int]]:
        found = self.api.charges.list({"limit": 100}).auto_paging_iter()
        return sorted((str(each.customer), each.amount) for each in found if each.paid)

    def writes(self, since: int) -> list[tuple[str, str]]:
        """Requests to Stripe that were no reads, after so many."""
        requests = self.harness.sandbox.requests()[since:]
        return [(each["method"], each["path"]) for each in requests if each["method"] != "GET"]


def environment(harness: BillingHarness) -> dict[str, str]:
    keys = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_BASE": harness.sandbox.url}
    return server_environment(harness.url, **keys)


def run(harness: BillingHarness, *arguments: object) -> "subprocess.CompletedProcess[str]":
    done = run_command(environment(harness), "import", "stripe", *map(str, arguments))
    assert KEY not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def balances(harness: BillingHarness) -> list[tuple[Any, ...]]:
    return harness.rows(
        "SELECT organization_id, name, executions, used FROM plans"
        " JOIN accounts ON accounts.id = account_id"
        " WHERE source = 'subscription' AND ends_at > now() ORDER BY 1, plans.sequence"
    )


def adopt(harness: BillingHarness, organization_id: str) -> str:
    """Let the harness act for the organization; returns its account's id."""
    query = "SELECT id FROM accounts WHERE organization_id = "
    number = harness.rows(f"{query}'{organization_id}'")[0][0]
    harness.holder = Holder(organization_id, number)
    return harness.holder.account_id


def period_end(shop: OldShop, subscription: str) -> datetime:
    item = shop.api.subscriptions.retrieve(subscription)["items"].data[0]
    return datetime.fromtimestamp(item.current_period_end, UTC)


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def settled(harness: BillingHarness) -> None:
    """What happened at Stripe before the import is no news, and nothing else differs."""
    await harness.deliver()
    assert await harness.reconcile() == []
    assert await verify(harness.services.database) == []

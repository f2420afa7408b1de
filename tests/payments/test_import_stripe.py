"""`import stripe`: an account that something else filled becomes ours, and nobody is charged."""

import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from billing_app.billing.executions.verification import verify
from tests.conftest import server_environment
from tests.payments.billing_harness import DAY, BillingHarness, until
from tests.processes import run_command, start_command
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

    def writes(self) -> set[tuple[str, str]]:
        """Requests to Stripe that were no reads, without ids."""
        requests = self.harness.sandbox.requests()
        return {
            (each["method"], "/".join(each["path"].split("/")[:3]))
            for each in requests
            if each["method"] != "GET"
        }


@pytest.fixture
def shop(harness: BillingHarness) -> OldShop:
    return OldShop(harness)


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


async def test_first_run(harness: BillingHarness, shop: OldShop) -> None:
    price = shop.price("Team")
    customer = shop.customer("acme")
    shop.subscribe(customer, price, metadata={"executions_used": "700"})
    told = run(harness)
    print(told.stdout, told.stderr)
    done = run(harness, "--apply")
    print(done.stdout, done.stderr)
    print(balances(harness), shop.writes())
    assert await harness.reconcile() == []
    assert 0

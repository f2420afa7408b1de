"""Spending limits and top-ups over real HTTP, and the answer to a service at the limit."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from billing_app.billing.offers.catalogue import publish_offer
from billing_app.db.enums import Scope
from billing_app.routes import CHECK_EXECUTIONS
from tests.factories import OPERATOR, api_key, organization
from tests.payments.billing_harness import BillingHarness
from tests.payments.processes import AppProcesses
from tests.payments.test_overage import SOFT
from tests.payments.test_overage_reports import begun


@pytest.fixture
async def site(harness: BillingHarness) -> AsyncIterator[AppProcesses]:
    await publish_offer(
        harness.services.database, OPERATOR, code="soft", terms=SOFT, now=harness.now
    )
    await begun(harness, "soft")
    harness.use_card("pm_card_visa")
    running = AppProcesses(harness)
    await asyncio.to_thread(running.start_api)
    yield running
    running.stop()


async def test_limits_and_top_ups_over_http(harness: BillingHarness, site: AppProcesses) -> None:
    who = f"account_id={harness.holder.account_id}"

    def ask(method: str, path: str, **body: Any) -> Any:
        return site.ask(method, f"/billing/{path}?{who}", **body)

    assert ask("GET", "overage-limit").json()["limit_minor"] is None
    assert ask("PUT", "overage-limit", limit_minor=100, currency="USD").status_code == 200
    assert ask("GET", "overage-limit").json()["limit_minor"] == 100
    for bad in ({"limit_minor": -1, "currency": "USD"}, {"limit_minor": 1, "currency": "usd"}):
        assert ask("PUT", "overage-limit", **bad).status_code == 422

    await harness.use(1_150)
    overage = ask("GET", "plans/current").json()["overage"]
    assert (overage["executions_used"], overage["executions_limit"]) == (150, 200)
    assert (overage["cost_minor"], overage["unit_price_minor"], overage["currency"]) == (
        100,
        50,
        "USD",
    )
    refused = site.ask(
        "POST", CHECK_EXECUTIONS, organization_id=harness.holder.organization_id, executions=51
    )
    assert refused.status_code == 402
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "budget_exceeded"

    order = {"offer": "pack", "threshold_executions": 100, "monthly_cap_minor": 5_000}
    assert ask("GET", "top-up").json() == {"top_up": None}
    assert ask("PUT", "top-up", **order).json()["offer"]["code"] == "pack"
    found = ask("GET", "top-up").json()["top_up"]
    assert (found["threshold_executions"], found["spent_minor"]) == (100, 0)
    assert ask("PUT", "top-up", **order | {"offer": "starter"}).status_code == 422
    assert ask("PUT", "top-up", **order | {"monthly_cap_minor": 1}).status_code == 422
    assert ask("DELETE", "top-up").status_code == 204
    assert ask("GET", "top-up").json() == {"top_up": None}

    other = organization(harness.url, 10)
    missing = site.ask("PUT", f"/billing/top-up?account_id={other.account_id}", **order)
    assert (missing.status_code, missing.json()["code"]) == (409, "payment_method_missing")
    site.key = api_key(harness.url, Scope.EXECUTIONS, Scope.PLANS_READ)
    assert ask("PUT", "overage-limit", limit_minor=1, currency="USD").status_code == 403
    assert ask("DELETE", "top-up").status_code == 403
    site.key = "bad"
    assert ask("GET", "top-up").status_code == 401

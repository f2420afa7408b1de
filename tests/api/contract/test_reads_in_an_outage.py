"""Reads while the database does not answer: 503 with a reason, never 500, never for ever."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest

from billing_app.api import app, callers, errors, request_limits, security_headers
from billing_app.api.polled_reads import PolledReads
from billing_app.billing.identity import api_keys
from billing_app.composition import Services
from billing_app.db import engine, read_pool
from billing_app.db.enums import Scope
from billing_app.routes import CURRENT_PLAN, USAGE_TOTALS
from tests.api.contract.test_polled_reads import PASSED_ON, passed_on, subscribe
from tests.factories import api_key, connect, organization

POLLED: Final = (CURRENT_PLAN, USAGE_TOTALS)
SUBSCRIPTION: Final = {
    "status": "active",
    "period_end": 1,
    "cancel_at_period_end": False,
    "past_due_since": None,
    "quantity": 1,
    "next_offer_version_id": False,
    "trial_refused_at": None,
    "cancel_at": None,
    "is_duplicate": False,
}


@pytest.fixture
async def key(
    services: Services, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Headers with a key that stays cached."""
    monkeypatch.setattr(api_keys, "CACHE_SECONDS", 600.0)
    monkeypatch.setattr(errors, "get_services", lambda: services)
    secret = api_key(database_url, Scope.PLANS_READ)
    await services.keys.authenticate(secret, datetime.now(UTC))
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("path", POLLED)
async def test_polled_read_that_is_not_answered_in_time_is_refused(
    services: Services,
    key: dict[str, str],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    """By whatever holds it up: here, somebody who locks the tables."""
    named = {"account_id": organization(database_url, 1).account_id}
    monkeypatch.setattr(read_pool, "DEADLINE_SECONDS", 0.3)
    transport = httpx.ASGITransport(PolledReads(passed_on, lambda: services))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://billing", headers=key
    ) as client:
        with connect(database_url) as connection, connection.transaction():
            connection.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
            answer = await client.get(path, params=named)
        assert (answer.status_code, answer.json()["code"]) == (503, "cannot_decide")
        assert "Retry-After" in answer.headers
        monkeypatch.undo()
        assert (await client.get(path, params=named)).status_code in (200, PASSED_ON)


@pytest.fixture
async def crowded(services: Services, key: dict[str, str]) -> AsyncIterator[None]:
    """Every session is taken, and nobody waits long for one."""
    assert key
    async with AsyncExitStack() as taken:
        for _ in range(2 * engine.POOL_SIZE):
            await taken.enter_async_context(services.database.reading())
        sessions: Any = services.database._bound_engine().sync_engine.pool
        sessions._timeout = 0.2
        yield


@pytest.mark.usefixtures("crowded")
async def test_polled_plan_whose_offer_cannot_be_read_is_passed_on(
    services: Services, key: dict[str, str], database_url: str
) -> None:
    holder = organization(database_url, 1)
    subscribe(database_url, holder, SUBSCRIPTION)
    transport = httpx.ASGITransport(PolledReads(passed_on, lambda: services))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://billing", headers=key
    ) as client:
        answer = await client.get(CURRENT_PLAN, params={"account_id": holder.account_id})
    assert answer.status_code == PASSED_ON


@pytest.mark.usefixtures("crowded")
async def test_read_without_a_free_session_is_refused(
    services: Services, key: dict[str, str], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (app, callers):
        monkeypatch.setattr(module, "get_services", lambda: services)
    for module in (request_limits, security_headers):
        monkeypatch.setattr(module, "load_settings", lambda: services.settings)
    named = {"account_id": organization(database_url, 1).account_id}
    transport = httpx.ASGITransport(app.create_app())
    async with httpx.AsyncClient(
        transport=transport, base_url="http://billing", headers=key
    ) as client:
        answer = await client.get("/billing/plans/history", params=named)
    assert (answer.status_code, answer.json()["code"]) == (503, "cannot_decide")

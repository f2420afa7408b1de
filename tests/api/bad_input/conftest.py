"""Every bad request gets a clear problem and leaves the database unchanged."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS
from tests.factories import Holder, counts, organization


@pytest.fixture(scope="module")
def holder(api_database_url: str) -> Holder:
    return organization(api_database_url, 100)


@pytest.fixture(scope="module")
def event_id(service: httpx.Client, holder: Holder) -> str:
    return _made(service, holder, "consume")["event_id"]


@pytest.fixture(scope="module")
def reservation_id(service: httpx.Client, holder: Holder) -> str:
    return _made(service, holder, "reserve")["reservation"]["id"]


def _made(service: httpx.Client, holder: Holder, mode: str) -> Any:
    body = {"organization_id": holder.organization_id, "mode": mode}
    answer = service.post(CHECK_EXECUTIONS, json=body, headers={"Idempotency-Key": mode})
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture(autouse=True)
def _nothing_changes(
    api_database_url: str, holder: Holder, event_id: str, reservation_id: str
) -> Iterator[None]:
    """Row counts of every table and all balances, before and after each test here."""
    del holder, event_id, reservation_id
    before = counts(api_database_url)
    yield
    after = counts(api_database_url)
    made_by_tests = {
        "api_keys",
        "organizations",
        "accounts",
        "plans",
        "users",
        "memberships",
        "search_words",
    }
    for name, count in before.items():
        assert after[name] == count or name in made_by_tests, name

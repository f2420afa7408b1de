"""Plans that a product adds: executions that it sold itself."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.db.enums import Scope
from tests.api.bad_input.refusals import refused
from tests.api.server import ApiServer
from tests.conftest import PUBLIC
from tests.factories import api_key, connect, organization

PLANS = "/billing/plans"
NEXT_YEAR = (datetime.now(UTC) + timedelta(days=365)).isoformat()


def grant(client: httpx.Client, organization_id: str, key: str = "", **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key or secrets.token_hex(8)}
    body = {"organization_id": organization_id, "executions": 100} | body
    return client.post(PLANS, json=body, headers=headers)


def current(client: httpx.Client, organization_id: str) -> Any:
    return client.get(f"{PLANS}/current", params={"organization_id": organization_id}).json()


@pytest.fixture
def own(api_database_url: str) -> str:
    return organization(api_database_url).organization_id


def test_added_plan_can_be_used(product: httpx.Client, own: str) -> None:
    response = grant(product, own, name="Credits", ends_at=NEXT_YEAR, reason="Order 7")
    assert response.status_code == 201, response.text
    plan = response.json()
    assert (plan["type"], plan["name"], plan["executions"]) == ("paid", "Credits", 100)
    assert (plan["priority"], plan["reason"]) == (100, "Order 7")
    account = current(product, own)
    assert (account["plan"]["id"], account["executions_remaining"]) == (plan["id"], 100)


def test_retry_gets_the_same_bytes(product: httpx.Client, own: str) -> None:
    first = grant(product, own, "order-7", starts_at=datetime.now(UTC).isoformat())
    again = grant(product, own, "order-7", **_body_of(first))
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    other = grant(product, own, "order-7", executions=7)
    refused(other, 422, "idempotency_key_reused")
    assert current(product, own)["executions_total"] == 100


def _body_of(response: httpx.Response) -> dict[str, Any]:
    return {"starts_at": response.json()["starts_at"]}


def test_retry_under_a_rotated_key_adds_nothing(
    server: ApiServer, product: httpx.Client, own: str, api_database_url: str
) -> None:
    first = grant(product, own, "order-7")
    secret = api_key(api_database_url, Scope.PLANS_WRITE)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as rotated:
        assert grant(rotated, own, "order-7").content == first.content


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=12))
def test_many_at_once_add_one_plan_for_each_key(
    product: httpx.Client, api_database_url: str, keys: list[str]
) -> None:
    own = organization(api_database_url).organization_id
    with ThreadPoolExecutor(len(keys)) as pool:
        answers = list(pool.map(lambda key: grant(product, own, key), keys))
    assert {each.status_code for each in answers} == {201}
    by_key = dict(zip(keys, answers, strict=True))
    for key, answer in zip(keys, answers, strict=True):
        assert answer.content == by_key[key].content
    assert current(product, own)["executions_total"] == 100 * len(set(keys))


def test_order_of_use(product: httpx.Client, own: str) -> None:
    lasting = grant(product, own).json()
    ending = grant(product, own, ends_at=NEXT_YEAR).json()
    first = grant(product, own, priority=1).json()
    account = current(product, own)
    queue = [account["plan"], *account["upcoming"]]
    assert [plan["id"] for plan in queue] == [first["id"], ending["id"], lasting["id"]]


def test_plan_that_starts_later_waits(product: httpx.Client, own: str) -> None:
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    plan = grant(product, own, starts_at=later, ends_at=NEXT_YEAR).json()
    account = current(product, own)
    assert account["plan"] is None
    assert [each["id"] for each in account["upcoming"]] == [plan["id"]]


def test_user_of_the_public_organization(product: httpx.Client) -> None:
    user_id = "person-" + secrets.token_hex(6)
    refused(grant(product, PUBLIC, user_id=user_id), 404, "user_not_found")
    product.put(f"/billing/users/{user_id}", json={})
    assert grant(product, PUBLIC, user_id=user_id).status_code == 201
    refused(grant(product, PUBLIC), 422, "invalid_input")


@pytest.mark.parametrize(
    "body",
    [
        {"executions": 0},
        {"executions": 10**12 + 1},
        {"executions": 1.5},
        {"name": " "},
        {"name": "\u200b"},
        {"priority": 0},
        {"priority": 1000},
        {"reason": " "},
        {"ends_at": "2020-01-01T00:00:00Z"},
        {"ends_at": "2030-01-01"},
        {"starts_at": "1980-01-01T00:00:00Z"},
        {"starts_at": NEXT_YEAR, "ends_at": NEXT_YEAR},
        {"execution": 1},
    ],
)
def test_bad_member(product: httpx.Client, own: str, body: dict[str, Any]) -> None:
    refused(grant(product, own, **body), 422, "invalid_input")
    refused(product.get(f"{PLANS}/current", params={"organization_id": own}), 404, "plan_not_found")


def test_key_is_required(product: httpx.Client, own: str) -> None:
    body = {"organization_id": own, "executions": 1}
    refused(product.post(PLANS, json=body), 422, "idempotency_key_required")
    for key in ("", "x" * 256, "a\tb"):
        response = product.post(PLANS, json=body, headers={"Idempotency-Key": key})
        assert response.status_code == 422, key


def test_scope_and_organization_of_the_key(
    server: ApiServer, service: httpx.Client, own: str, api_database_url: str
) -> None:
    refused(grant(service, own), 403, "scope_missing")
    other = organization(api_database_url).organization_id
    secret = api_key(api_database_url, Scope.PLANS_WRITE, organization_id=other)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as bound:
        refused(grant(bound, own), 403, "forbidden")
        assert grant(bound, other).status_code == 201


def test_audit_entry(product: httpx.Client, own: str, api_database_url: str) -> None:
    plan = grant(product, own, "k", reason="Order 7").json()
    grant(product, own, "k", reason="Order 7")
    with connect(api_database_url) as connection:
        rows = connection.execute(
            "SELECT role, action, subject, reason FROM audit_entries WHERE subject = %s",
            [plan["id"]],
        ).fetchall()
    assert rows == [("service", "add_plan", plan["id"], "Order 7")]

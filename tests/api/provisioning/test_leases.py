"""Leases over HTTP: opened, settled, renewed, closed; refused when misused."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from billing_app.billing.executions.verification import verify
from billing_app.db.engine import Database
from billing_app.db.enums import Scope, StaffRole
from tests.api.bad_input.refusals import refused
from tests.api.server import ApiServer
from tests.conftest import PUBLIC
from tests.factories import Holder, api_key, connect, organization, staff_key

LEASES = "/billing/leases"


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def open_lease(
    client: httpx.Client, organization_id: str, key: str = "", **body: Any
) -> httpx.Response:
    headers = {"Idempotency-Key": key or secrets.token_hex(8)}
    body = {"organization_id": organization_id, "executions": 50} | body
    return client.post(LEASES, json=body, headers=headers)


def settle(client: httpx.Client, lease: Any, executions: int = 0, **body: Any) -> httpx.Response:
    totals = [{"workflow": "triage", "day": today(), "executions": executions}]
    body = {"token": lease["token"], "totals": totals if executions else []} | body
    return client.post(f"{LEASES}/{lease['lease']['id']}/settle", json=body)


@pytest.fixture
def own(api_database_url: str) -> Holder:
    return organization(api_database_url, 100)


def test_a_lease_from_opening_to_closing(product: httpx.Client, own: Holder) -> None:
    opened = open_lease(product, own.organization_id, "lease-1", workflow="triage")
    assert opened.status_code == 201, opened.text
    lease = opened.json()
    assert lease["token"].startswith(lease["lease"]["id"] + ".50.")
    assert (lease["plan"]["type"], lease["executions_held"]) == ("paid", 50)
    again = open_lease(product, own.organization_id, "lease-1", workflow="triage")
    assert (again.content, again.headers["idempotency-replayed"]) == (opened.content, "true")
    renewed = settle(product, lease, 20, renew={"executions": 60}, sequence=1)
    assert renewed.status_code == 200, renewed.text
    answer = renewed.json()
    assert (answer["executions"], answer["executions_renewed"]) == (20, 30)
    assert answer["token"].startswith(lease["lease"]["id"] + ".80.")
    receipt = product.get(f"/billing/executions/{answer['events'][0]['event_id']}").json()
    assert (receipt["kind"], receipt["executions"], receipt["workflow"]) == ("commit", 20, "triage")
    (listed,) = product.get(LEASES, params={"organization_id": own.organization_id}).json()["items"]
    assert (listed["executions"], listed["executions_settled"]) == (80, 20)
    closed = settle(product, answer, 21, close=True, sequence=2).json()
    assert (closed["executions"], closed["executions_released"]) == (1, 59)
    assert (closed["lease"]["status"], closed["executions_held"]) == ("closed", 0)
    read = product.get(f"{LEASES}/{lease['lease']['id']}").json()
    assert (read["lease"]["status"], read["lines"][0]["executions"]) == ("closed", 21)
    assert product.get(LEASES, params={"organization_id": own.organization_id}).json() == {
        "items": [],
        "next_cursor": None,
    }


def test_a_renewed_lease_counts_more_than_it_holds_at_once(
    product: httpx.Client, api_database_url: str
) -> None:
    million, holder = 1_000_000, organization(api_database_url, 3_000_000)
    lease = open_lease(product, holder.organization_id, executions=million).json()
    answer = settle(product, lease, million, renew={"executions": million}, sequence=1).json()
    assert answer["executions_renewed"] == million
    answer = settle(product, lease, million + 500_000, close=True, sequence=2).json()
    assert (answer["executions"], answer["executions_released"]) == (500_000, 500_000)


def test_lists_page_by_cursor(product: httpx.Client, own: Holder) -> None:
    made = [open_lease(product, own.organization_id, executions=1).json() for _ in range(3)]
    found: list[str] = []
    cursor: str | None = None
    while cursor is not None or not found:
        query = {"organization_id": own.organization_id, "limit": "2"}
        page = product.get(LEASES, params=query | ({"cursor": cursor} if cursor else {})).json()
        found += [each["id"] for each in page["items"]]
        cursor = page["next_cursor"]
    assert found == [each["lease"]["id"] for each in made][::-1]


def test_what_is_refused(product: httpx.Client, own: Holder) -> None:
    name = own.organization_id
    body = {"organization_id": name, "executions": 5}
    refused(product.post(LEASES, json=body), 422, "idempotency_key_required")
    refused(open_lease(product, name, executions=101), 402, "insufficient_executions")
    refused(open_lease(product, name, executions=101, at_least=102), 422, "invalid_input")
    refused(open_lease(product, name, seconds=9), 422, "invalid_input")
    refused(open_lease(product, name, seconds=86_401), 422, "invalid_input")
    refused(open_lease(product, name, executions=0), 422, "invalid_input")
    refused(open_lease(product, "org_nobody"), 404, "organization_not_found")
    refused(open_lease(product, PUBLIC), 422, "invalid_input")
    lease = open_lease(product, name).json()
    for line in (
        {"day": today(), "executions": -1},
        {"day": today(), "executions": 0},
        {"day": "yesterday", "executions": 1},
        {"day": "2020-01-01", "executions": 1},
        {"day": today(), "executions": 1, "more": 1},
        {"day": today(), "executions": 1, "workflow": "a\nb"},
    ):
        refused(settle(product, lease, totals=[line]), 422, "invalid_input")
    both = settle(product, lease, renew={"executions": 5}, close=True)
    refused(both, 422, "invalid_input")
    exceeded = refused(settle(product, lease, 51), 409, "lease_exceeded")
    assert (exceeded["executions_reported"], exceeded["executions"]) == (51, 50)
    settle(product, lease, 50, close=True)
    refused(settle(product, lease, 51), 409, "lease_ended")
    refused(product.post(f"{LEASES}/lse_1/settle", json={"token": "x"}), 404, "lease_not_found")
    refused(product.get(f"{LEASES}/lse_1"), 404, "lease_not_found")


def test_a_lease_belongs_to_its_organization(
    server: ApiServer, product: httpx.Client, own: Holder, api_database_url: str
) -> None:
    lease, second = (open_lease(product, own.organization_id).json() for _ in range(2))
    other = organization(api_database_url, 5)
    foreign = api_key(api_database_url, organization_id=other.organization_id)
    unable = api_key(api_database_url, Scope.PLANS_READ)
    name = lease["lease"]["id"]
    with httpx.Client(base_url=server.url, timeout=20) as caller:
        caller.headers["Authorization"] = f"Bearer {foreign}"
        refused(open_lease(caller, own.organization_id), 403, "forbidden")
        refused(settle(caller, lease, 1), 404, "lease_not_found")
        refused(caller.get(f"{LEASES}/{name}"), 404, "lease_not_found")
        caller.headers["Authorization"] = f"Bearer {unable}"
        refused(open_lease(caller, own.organization_id), 403, "scope_missing")
        refused(settle(caller, lease, 1), 403, "scope_missing")
        refused(caller.get(f"{LEASES}/{name}"), 403, "scope_missing")
    refused(settle(product, lease, 1, token=second["token"]), 403, "lease_token_invalid")
    reservation = name.replace("lse_", "rsv_")
    released = product.post(f"/billing/reservations/{reservation}/release")
    refused(released, 404, "reservation_not_found")


def test_staff_see_what_could_not_be_counted(
    server: ApiServer, product: httpx.Client, own: Holder, api_database_url: str
) -> None:
    lease = open_lease(product, own.organization_id).json()
    refused(settle(product, lease, 57), 409, "lease_exceeded")
    headers = {"Authorization": f"Bearer {staff_key(api_database_url, StaffRole.SUPPORT)}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as staff:
        items = staff.get("/billing/admin/leases/unsettled").json()["items"]
    (found,) = [each for each in items if each["id"] == lease["lease"]["id"]]
    assert (found["executions_unsettled"], found["account_id"]) == (7, own.account_id)


def test_a_closed_account_honours_its_lease(product: httpx.Client) -> None:
    name = "customer-" + secrets.token_hex(6)
    product.put(f"/billing/organizations/{name}", json={"name": "Acme"})
    grant = {"organization_id": name, "executions": 100}
    product.post("/billing/plans", json=grant, headers={"Idempotency-Key": "credits"})
    lease = open_lease(product, name).json()
    assert product.post(f"/billing/organizations/{name}/close").status_code == 200
    refused(open_lease(product, name), 402, "insufficient_executions")
    answer = settle(product, lease, 30, renew={"executions": 50}).json()
    assert (answer["executions"], answer["executions_renewed"]) == (30, 0)
    closed = settle(product, lease, 40, close=True, sequence=1).json()
    assert (closed["executions"], closed["executions_released"]) == (10, 10)


async def test_two_servers_settle_one_lease(
    server: ApiServer, product: httpx.Client, own: Holder, api_database_url: str
) -> None:
    lease = open_lease(product, own.organization_id, executions=100).json()
    second = ApiServer(api_database_url)
    try:
        second.start()
        with httpx.Client(base_url=second.url, headers=product.headers, timeout=20) as other:
            reports = [(client, total) for total in range(1, 31) for client in (product, other)]
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda each: settle(each[0], lease, each[1]), reports))
    finally:
        second.stop()
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["executions"] for answer in answers) == 30
    with connect(api_database_url) as connection:
        query = "SELECT used, held FROM plans WHERE account_id = %s"
        assert connection.execute(query, [own.account_number]).fetchall() == [(30, 70)]
    database = Database(api_database_url)
    differences = await verify(database)
    await database.dispose()
    assert [each for each in differences if each.account_id == own.account_id] == []

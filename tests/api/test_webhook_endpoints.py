"""Webhook endpoints over HTTP: who manages which, and what they see of their deliveries."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from billing_app.billing.identity.key_format import new_secret
from billing_app.db.enums import Scope
from billing_app.routes import SESSION_COOKIE
from tests.api.server import ApiServer
from tests.factories import Holder, api_key, connect, member, organization, session_token

ENDPOINTS = "/billing/webhook-endpoints"
URL = "https://hooks.example.com/billing"

Client = Callable[..., httpx.Client]


@pytest.fixture
def client(server: ApiServer, api_database_url: str) -> Iterator[Client]:
    """A caller with a key of an organization or the platform, or a person by their cookie."""
    opened: list[httpx.Client] = []

    def open_client(
        *scopes: Scope, organization_id: str | None = None, person: str = ""
    ) -> httpx.Client:
        headers = {"Origin": "http://billing.test"}
        cookies = {}
        if person:
            cookies[SESSION_COOKIE] = session_token(api_database_url, person)
        else:
            key = api_key(
                api_database_url, *(scopes or (Scope.WEBHOOKS,)), organization_id=organization_id
            )
            headers["Authorization"] = f"Bearer {key}"
        made = httpx.Client(base_url=server.url, headers=headers, cookies=cookies, timeout=20)
        opened.append(made)
        return made

    yield open_client
    for each in opened:
        each.close()


@pytest.fixture
def holder(api_database_url: str) -> Holder:
    return organization(api_database_url, 10)


@pytest.fixture
def own(client: Client, holder: Holder) -> httpx.Client:
    return client(organization_id=holder.organization_id)


def add(client: httpx.Client, **more: Any) -> Any:
    response = client.post(ENDPOINTS, json={"url": URL, **more})
    assert response.status_code == 201, response.text
    return response.json()


def refused(response: httpx.Response, status: int, code: str) -> Any:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()


def deliver_nothing(url: str, endpoint_id: str, event_type: str, count: int) -> None:
    """Deliveries that a worker has made."""
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO webhook_deliveries (id, endpoint_id, message_id, type, body, status,"
            " attempts, round, attempts_before, is_queued, created_at)"
            " SELECT left('whd_' || md5(%(e)s || %(t)s || n), 30), %(e)s, 'msg_' || %(t)s || n,"
            " %(t)s, '{}', 'failed', 1, 0, 0, true, now() - n * interval '1 second'"
            " FROM generate_series(1, %(n)s) AS n",
            {"e": endpoint_id, "t": event_type, "n": count},
        )


def test_secret_is_shown_once_and_can_be_rotated(own: httpx.Client, holder: Holder) -> None:
    made = add(own, description="Ops", types=["plan.ended", "plan.started"])
    endpoint = made["endpoint"]
    assert made["secret"].startswith("whsec_")
    Webhook(made["secret"])
    assert endpoint["organization_id"] == holder.organization_id
    assert endpoint["types"] == ["plan.started", "plan.ended"]
    assert endpoint["status"] == "enabled"
    path = f"{ENDPOINTS}/{endpoint['id']}"
    for response in (own.get(path), own.get(ENDPOINTS)):
        assert "whsec_" not in response.text
    rotated = own.post(f"{path}/rotate-secret").json()
    assert rotated["secret"] not in ("", made["secret"])
    assert rotated["endpoint"]["previous_secret_until"] is not None


def test_endpoint_is_changed_paused_and_removed(own: httpx.Client) -> None:
    path = f"{ENDPOINTS}/{add(own, types=['plan.ended'])['endpoint']['id']}"
    changed = own.patch(path, json={"paused": True, "description": " New "}).json()
    assert (changed["status"], changed["description"]) == ("paused", "New")
    assert changed["types"] == ["plan.ended"]
    changed = own.patch(path, json={"types": None, "paused": False}).json()
    assert (changed["status"], changed["types"], changed["description"]) == ("enabled", None, "New")
    assert own.patch(path, json={}).json() == changed
    assert own.delete(path).status_code == 204
    refused(own.get(path), 404, "webhook_endpoint_not_found")
    refused(own.delete(path), 404, "webhook_endpoint_not_found")


def test_changes_are_in_the_audit_log(
    own: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    path = f"{ENDPOINTS}/{add(own)['endpoint']['id']}"
    own.patch(path, json={"paused": True})
    own.post(f"{path}/rotate-secret")
    own.delete(path)
    with connect(api_database_url) as connection:
        rows = connection.execute(
            "SELECT role, after->>'change' FROM audit_entries WHERE account_id = %s"
            " AND action = 'manage_webhooks' ORDER BY id",
            [holder.account_number],
        ).fetchall()
    changes = ["created", "changed", "secret rotated", "removed"]
    assert rows == [("service", change) for change in changes]


def test_keys_see_the_endpoints_of_their_organization(
    client: Client, own: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    endpoint_id = add(own)["endpoint"]["id"]
    path = f"{ENDPOINTS}/{endpoint_id}"
    platform = client()
    assert platform.get(path).status_code == 200
    listed = platform.get(ENDPOINTS, params={"organization_id": holder.organization_id})
    assert [each["id"] for each in listed.json()["items"]] == [endpoint_id]
    of_platform = add(platform)["endpoint"]
    assert of_platform["organization_id"] is None
    assert endpoint_id not in platform.get(ENDPOINTS).text

    stranger = client(organization_id=organization(api_database_url, 1).organization_id)
    for method, tail in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/rotate-secret"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
        ("GET", "/deliveries/whd_1"),
        ("POST", "/deliveries/whd_1/redeliver"),
    ):
        for endpoint in (endpoint_id, of_platform["id"]):
            answer = stranger.request(method, f"{ENDPOINTS}/{endpoint}{tail}")
            refused(answer, 404, "webhook_endpoint_not_found")
    answer = stranger.post(ENDPOINTS, json={"url": URL, "organization_id": holder.organization_id})
    refused(answer, 403, "forbidden")
    answer = stranger.get(ENDPOINTS, params={"organization_id": holder.organization_id})
    refused(answer, 403, "forbidden")
    refused(own.get(f"{ENDPOINTS}/{of_platform['id']}"), 404, "webhook_endpoint_not_found")
    answer = platform.post(ENDPOINTS, json={"url": URL, "organization_id": "nobody"})
    refused(answer, 404, "organization_not_found")


def test_scope_is_required(client: Client, own: httpx.Client) -> None:
    path = f"{ENDPOINTS}/{add(own)['endpoint']['id']}"
    other = client(Scope.ACCOUNTS, Scope.SUBSCRIPTIONS, Scope.PLANS_READ)
    for answer in (
        other.get(ENDPOINTS),
        other.post(ENDPOINTS, json={"url": URL}),
        other.get(path),
        other.get(f"{path}/deliveries"),
        other.get(f"{ENDPOINTS}/nothing"),
    ):
        assert refused(answer, 403, "scope_missing")["scope"] == "webhooks"


@pytest.mark.parametrize(
    ("role", "status"), [("owner", 201), ("billing_admin", 201), ("member", 403)]
)
def test_owners_and_billing_admins_manage_their_own(
    client: Client, holder: Holder, api_database_url: str, role: str, status: int
) -> None:
    someone = client(person=member(api_database_url, holder.organization_id, role))
    body = {"url": URL, "organization_id": holder.organization_id}
    assert someone.post(ENDPOINTS, json=body).status_code == status
    other = {"url": URL, "organization_id": organization(api_database_url, 1).organization_id}
    refused(someone.post(ENDPOINTS, json=other), 404, "organization_not_found")
    refused(someone.post(ENDPOINTS, json={"url": URL}), 403, "forbidden")
    refused(someone.get(ENDPOINTS), 403, "forbidden")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": ""},
        {"url": "http://example.com"},
        {"url": "https://127.0.0.1/"},
        {"url": "https://[::ffff:10.0.0.1]/"},
        {"url": "https://user@example.com/"},
        {"url": 5},
        {"url": None},
        {"url": "https://example.com/" + "a" * 2_000},
        {"url": URL, "types": ["plan.eaten"]},
        {"url": URL, "types": ["webhook.test"]},
        {"url": URL, "types": "plan.ended"},
        {"url": URL, "description": "x" * 256},
        {"url": URL, "description": "a\nb"},
        {"url": URL, "description": f"old: {new_secret()}"},
        {"url": URL, "more": 1},
    ],
)
def test_bad_bodies_are_refused(own: httpx.Client, body: Any) -> None:
    refused(own.post(ENDPOINTS, json=body), 422, "invalid_input")


def test_there_are_at_most_twenty(own: httpx.Client) -> None:
    for _ in range(20):
        add(own)
    refused(own.post(ENDPOINTS, json={"url": URL}), 409, "too_many_webhook_endpoints")


def test_test_button_and_redelivery_are_in_the_log(own: httpx.Client) -> None:
    path = f"{ENDPOINTS}/{add(own)['endpoint']['id']}"
    sent = own.post(f"{path}/test")
    assert sent.status_code == 202
    delivery = sent.json()
    assert (delivery["type"], delivery["status"], delivery["attempts"]) == (
        "webhook.test",
        "pending",
        0,
    )
    detail = own.get(f"{path}/deliveries/{delivery['id']}").json()
    assert detail["delivery"] == delivery
    assert '"type":"webhook.test"' in detail["body"]
    assert detail["attempts"] == []
    again = own.post(f"{path}/deliveries/{delivery['id']}/redeliver")
    assert again.status_code == 202
    assert again.json()["message_id"] == delivery["message_id"]
    other = f"{ENDPOINTS}/{add(own)['endpoint']['id']}"
    for answer in (
        own.get(f"{other}/deliveries/{delivery['id']}"),
        own.post(f"{other}/deliveries/{delivery['id']}/redeliver"),
        own.get(f"{path}/deliveries/nothing"),
    ):
        refused(answer, 404, "webhook_delivery_not_found")


def test_log_is_filtered_and_paged(own: httpx.Client, api_database_url: str) -> None:
    endpoint_id = add(own)["endpoint"]["id"]
    path = f"{ENDPOINTS}/{endpoint_id}/deliveries"
    deliver_nothing(api_database_url, endpoint_id, "plan.ended", 3)
    deliver_nothing(api_database_url, endpoint_id, "invoice.paid", 2)
    own.post(f"{ENDPOINTS}/{endpoint_id}/test")
    seen: list[Any] = []
    cursor = None
    while True:
        page = own.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len({each["id"] for each in seen}) == 6
    times = [each["created_at"] for each in seen]
    assert times == sorted(times, reverse=True)
    assert len(own.get(path, params={"type": "plan.ended"}).json()["items"]) == 3
    assert len(own.get(path, params={"status": "failed"}).json()["items"]) == 5
    both = own.get(path, params={"status": "pending", "type": "plan.ended"}).json()
    assert both == {"items": [], "next_cursor": None}
    refused(own.get(path, params={"status": "lost"}), 422, "invalid_input")
    refused(own.get(path, params={"type": "plan.eaten"}), 422, "invalid_input")
    refused(own.get(path, params={"cursor": "x"}), 422, "invalid_input")

"""View as customer by cookie: all reads of the account, no writes."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from billing_app.billing.identity.sessions import hash_token
from billing_app.routes import SESSION_COOKIE
from tests.api.server import ApiServer
from tests.factories import Holder, connect, counts, organization, person, session_token, trial

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/billing/subscriptions", {"organization_id": "{organization}", "offer": "x"}),
    ("PUT", "/billing/subscriptions/sub_1", {"offer": "x", "when": "now"}),
    ("POST", "/billing/subscriptions/sub_1/preview", {"offer": "x"}),
    ("DELETE", "/billing/subscriptions/sub_1", {}),
    ("POST", "/billing/subscriptions/sub_1/resume", {}),
    ("POST", "/billing/portal-sessions", {"organization_id": "{organization}", "return_url": "/"}),
]


@pytest.fixture
def viewed(api_database_url: str) -> Holder:
    return organization(api_database_url, 10)


@pytest.fixture
def viewer(server: ApiServer, api_database_url: str, viewed: Holder) -> httpx.Client:
    """The browser of a staff member who views the account."""
    user_id = person(api_database_url).user_id
    trial(api_database_url, user_id, 10)
    token = session_token(api_database_url, user_id)
    token_hash = hash_token(token)
    with connect(api_database_url) as connection:
        connection.execute(
            "INSERT INTO staff_members (user_id, role, added_at)"
            " SELECT user_id, 'support', now() FROM sessions WHERE token_hash = %s",
            [token_hash],
        )
        connection.execute(
            "WITH entry AS (INSERT INTO audit_entries (at, actor_id, actor_name, role, action,"
            " account_id, subject, reason, before, after)"
            " VALUES (now(), 'x', 'x', 'support', 'view_as_customer', %s, '', 'x', '{}', '{}')"
            " RETURNING id, account_id)"
            " INSERT INTO staff_views (token_hash, account_id, entry_id, until)"
            " SELECT %s, account_id, id, now() + interval '30 minutes' FROM entry",
            [viewed.account_number, token_hash],
        )
    return httpx.Client(
        base_url=server.url,
        headers={"Origin": server.url},
        cookies={SESSION_COOKIE: token},
        timeout=20,
    )


def test_viewer_reads_what_the_customer_reads(viewer: httpx.Client, viewed: Holder) -> None:
    current = viewer.get("/billing/plans/current")
    assert current.status_code == 200, current.text
    assert current.json()["account_id"] == viewed.account_id
    assert current.json()["executions_remaining"] == 10


def test_viewer_cannot_find_other_accounts(
    viewer: httpx.Client, api_database_url: str, viewed: Holder
) -> None:
    other = organization(api_database_url, 10)
    for query in ({"organization_id": other.organization_id}, {"account_id": other.account_id}):
        assert viewer.get("/billing/plans/current", params=query).status_code == 404


def test_viewer_cannot_write(viewer: httpx.Client, api_database_url: str, viewed: Holder) -> None:
    before = counts(api_database_url)
    for method, path, body in WRITES:
        told = {
            name: value.format(organization=viewed.organization_id) for name, value in body.items()
        }
        answer = viewer.request(method, path, json=told)
        assert (answer.status_code, answer.json()["code"]) == (403, "read_only"), path
    assert counts(api_database_url) == before


def test_expired_view_returns_to_own_account(
    viewer: httpx.Client, api_database_url: str, viewed: Holder
) -> None:
    with connect(api_database_url) as connection:
        connection.execute(
            "UPDATE staff_views SET until = %s WHERE account_id = %s",
            [datetime.now(UTC), viewed.account_number],
        )
    assert viewer.get("/billing/plans/current").json()["account_id"] != viewed.account_id

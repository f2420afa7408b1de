"""Callers without a key, with an expired or revoked one, or with the wrong one."""

import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from billing_app.billing.identity.api_keys import hash_key
from billing_app.db.enums import Scope
from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import KEYED, READS, refused
from tests.conftest import PUBLIC
from tests.factories import Holder, api_key, connect, organization

REVOKED_KEY_SECONDS = 5.0


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic dTpw", "Bearer \xe9", "bil_x"]
)
def test_missing_or_unknown_identity(
    anyone: httpx.Client, holder: Holder, authorization: str
) -> None:
    headers = {b"Authorization": authorization.encode("latin-1")} if authorization else {}
    body = {"organization_id": holder.organization_id}
    asked = [anyone.post(CHECK_EXECUTIONS, json=body, headers=headers)]
    asked += [anyone.get(path, params=body, headers=headers) for path in READS]
    for response in asked:
        refused(response, 401, "not_authenticated")
        assert response.headers["www-authenticate"] == "Bearer"


def test_two_identities(
    anyone: httpx.Client, holder: Holder, platform_key: str, api_database_url: str
) -> None:
    other = api_key(api_database_url, organization_id=holder.organization_id)
    headers = [("Authorization", f"Bearer {secret}") for secret in (platform_key, other)]
    body = {"organization_id": holder.organization_id}
    asked = [anyone.post(CHECK_EXECUTIONS, json=body, headers=headers)]
    asked += [anyone.get(path, params=body, headers=headers) for path in READS]
    for response in asked:
        assert "only once" in refused(response, 401, "not_authenticated")["detail"]


def test_expired_key(anyone: httpx.Client, holder: Holder, api_database_url: str) -> None:
    expired = datetime.now(UTC) - timedelta(seconds=1)
    headers = {"Authorization": f"Bearer {api_key(api_database_url, expires_at=expired)}"}
    body = {"organization_id": holder.organization_id}
    response = anyone.post(CHECK_EXECUTIONS, json=body, headers=headers)
    refused(response, 401, "not_authenticated")


def test_revoked_and_expired_keys_stop_within_5_seconds(
    anyone: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    revoked, expiring = api_key(api_database_url), api_key(api_database_url, expires_at=soon)
    body = {"organization_id": holder.organization_id}

    def status(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        hot = anyone.post(CHECK_EXECUTIONS, json=body, headers=headers)
        cold = anyone.get("/billing/plans/current", params=body, headers=headers)
        assert hot.status_code in (cold.status_code, 200)
        return hot.status_code

    assert status(revoked) == 200
    status(expiring)
    with connect(api_database_url) as connection:
        connection.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE key_hash = %s", [hash_key(revoked)]
        )
    deadline = time.monotonic() + REVOKED_KEY_SECONDS + 1
    stopped: set[str] = set()
    while stopped != {revoked, expiring}:
        assert time.monotonic() < deadline
        stopped = {secret for secret in (revoked, expiring) if status(secret) == 401}
        time.sleep(0.2)


def test_key_without_scope(
    anyone: httpx.Client, holder: Holder, api_database_url: str, event_id: str
) -> None:
    body = {"organization_id": holder.organization_id}
    writer = {"Authorization": f"Bearer {api_key(api_database_url, Scope.PLANS_READ)}", **KEYED}
    for path, content in (
        (CHECK_EXECUTIONS, body),
        (CHECK_EXECUTIONS_BATCH, {"items": [body]}),
        (f"/billing/executions/{event_id}/refund", {"reason": "r"}),
    ):
        problem = refused(anyone.post(path, json=content, headers=writer), 403, "scope_missing")
        assert problem["scope"] == "executions"
    reader = {"Authorization": f"Bearer {api_key(api_database_url, Scope.SUBSCRIPTIONS)}"}
    for path in (*READS, f"/billing/executions/{event_id}"):
        refused(anyone.get(path, params=body, headers=reader), 403, "scope_missing")


def test_key_of_another_organization(
    anyone: httpx.Client,
    holder: Holder,
    api_database_url: str,
    event_id: str,
    reservation_id: str,
) -> None:
    other = organization(api_database_url, 5)
    own = {"organization_id": other.organization_id}
    secret = api_key(api_database_url, *Scope, organization_id=other.organization_id)
    headers = {"Authorization": f"Bearer {secret}", **KEYED}
    assert anyone.post(CHECK_EXECUTIONS, json=own, headers=headers).status_code == 200
    foreign = (holder.organization_id, "nowhere", PUBLIC)
    for organization_id in foreign:
        for mode in ("check", "consume", "reserve"):
            body = {"organization_id": organization_id, "user_id": "u", "mode": mode}
            refused(anyone.post(CHECK_EXECUTIONS, json=body, headers=headers), 403, "forbidden")
        items = {"items": [{"organization_id": organization_id, "user_id": "u"}, own]}
        batch = anyone.post(CHECK_EXECUTIONS_BATCH, json=items, headers=headers)
        assert [result["status"] for result in batch.json()["results"]] == [403, 200]
        for path in READS:
            params = {"organization_id": organization_id, "user_id": "u"}
            refused(anyone.get(path, params=params, headers=headers), 403, "forbidden")
    for path in READS:
        params = {"account_id": holder.account_id}
        refused(anyone.get(path, params=params, headers=headers), 404, "account_not_found")
    held = f"/billing/reservations/{reservation_id}"
    for action in ("commit", "release"):
        response = anyone.post(f"{held}/{action}", headers=headers)
        refused(response, 404, "reservation_not_found")
    used = f"/billing/executions/{event_id}"
    refund = anyone.post(f"{used}/refund", json={"reason": "mine"}, headers=headers)
    refused(refund, 404, "execution_not_found")
    refused(anyone.get(used, headers=headers), 404, "execution_not_found")

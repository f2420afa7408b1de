"""Unknown or foreign organizations, users, reservations and events."""

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS
from tests.api.bad_input.refusals import KEYED, READS, refused
from tests.conftest import PUBLIC
from tests.factories import Holder, counts, member, organization


@pytest.mark.parametrize("mode", ["check", "consume", "reserve"])
def test_unknown_organization(service: httpx.Client, mode: str) -> None:
    body = {"organization_id": "nowhere", "mode": mode}
    response = service.post(CHECK_EXECUTIONS, json=body, headers=KEYED)
    refused(response, 404, "organization_not_found")


def test_unknown_organization_or_user_on_a_read(service: httpx.Client) -> None:
    for path in READS:
        response = service.get(path, params={"organization_id": "nowhere"})
        refused(response, 404, "organization_not_found")
        who = {"organization_id": PUBLIC, "user_id": "nobody-yet"}
        refused(service.get(path, params=who), 404, "user_not_found")
        without = service.get(path, params={"organization_id": PUBLIC})
        assert refused(without, 422, "invalid_input")["field"] == "user_id"
        refused(service.get(path), 422, "invalid_input")
        for account_id in ("acc_", "acc_zz", "acc_" + "f" * 16, "acc_" + "0" * 16, "pln_1", "x\ty"):
            response = service.get(path, params={"account_id": account_id})
            assert response.status_code in (404, 422), response.text
            refused(response, response.status_code, response.json()["code"])


def test_public_organization_requires_a_user(service: httpx.Client) -> None:
    body = {"organization_id": PUBLIC, "mode": "consume"}
    response = service.post(CHECK_EXECUTIONS, json=body, headers=KEYED)
    assert refused(response, 422, "invalid_input")["field"] == "user_id"


def test_user_of_another_organization(
    service: httpx.Client, holder: Holder, api_database_url: str
) -> None:
    other = organization(api_database_url, 5)
    stranger = member(api_database_url, other.organization_id)
    before = counts(api_database_url)
    for organization_id in (holder.organization_id, PUBLIC):
        for mode in ("check", "consume", "reserve"):
            body = {"organization_id": organization_id, "user_id": stranger, "mode": mode}
            response = service.post(CHECK_EXECUTIONS, json=body, headers=KEYED)
            refused(response, 404, "user_not_found")
    assert counts(api_database_url) == before


@pytest.mark.parametrize(
    "name", ["x", "rsv_", "rsv_1", "rsv_" + "0" * 17, "rsv_" + "f" * 32, "evt_" + "0" * 17, "%00"]
)
def test_unknown_reservation(service: httpx.Client, name: str) -> None:
    for action in ("commit", "release"):
        response = service.post(f"/billing/reservations/{name}/{action}")
        refused(response, 404, "reservation_not_found")


@pytest.mark.parametrize(
    "name", ["x", "evt_", "evt_1", "evt_" + "0" * 17, "evt_" + "f" * 32, "rsv_" + "0" * 17, "%00"]
)
def test_unknown_event(service: httpx.Client, name: str) -> None:
    refused(service.get(f"/billing/executions/{name}"), 404, "execution_not_found")
    refund = service.post(f"/billing/executions/{name}/refund", json={"reason": "why"})
    refused(refund, 404, "execution_not_found")

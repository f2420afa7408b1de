"""Missing and invalid idempotency keys."""

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import refused
from tests.factories import Holder


@pytest.mark.parametrize("mode", ["consume", "reserve"])
def test_missing_key(service: httpx.Client, holder: Holder, mode: str) -> None:
    body = {"organization_id": holder.organization_id, "mode": mode}
    refused(service.post(CHECK_EXECUTIONS, json=body), 422, "idempotency_key_required")


BAD_KEYS = [b"k" * 256, b"\xff", "é".encode("latin-1")]
KEYED_MODES = ["consume", "reserve"]


@pytest.mark.parametrize(
    ("key", "mode"),
    [
        *((b"", mode) for mode in KEYED_MODES),
        *((key, mode) for key in BAD_KEYS for mode in ["check", *KEYED_MODES]),
    ],
)
def test_invalid_key(service: httpx.Client, holder: Holder, key: bytes, mode: str) -> None:
    headers = {b"Idempotency-Key": key}
    body = {"organization_id": holder.organization_id, "mode": mode}
    response = service.post(CHECK_EXECUTIONS, json=body, headers=headers)
    assert refused(response, 422, "invalid_input")["field"] == "idempotency_key"


def test_empty_key_is_ignored_by_check(service: httpx.Client, holder: Holder) -> None:
    body = {"organization_id": holder.organization_id, "mode": "check"}
    response = service.post(CHECK_EXECUTIONS, json=body, headers={"Idempotency-Key": ""})
    assert response.status_code == 200, response.text


def test_empty_key_of_a_refund_is_refused(service: httpx.Client, event_id: str) -> None:
    path = f"/billing/executions/{event_id}/refund"
    response = service.post(path, json={"reason": "r"}, headers={"Idempotency-Key": ""})
    assert refused(response, 422, "invalid_input")["field"] == "idempotency_key"


@pytest.mark.parametrize("second", ["other", "k"])
def test_two_keys(service: httpx.Client, holder: Holder, event_id: str, second: str) -> None:
    body = {"organization_id": holder.organization_id, "mode": "consume"}
    headers = [("Idempotency-Key", "k"), ("Idempotency-Key", second)]
    for path, content in (
        (CHECK_EXECUTIONS, body),
        (f"/billing/executions/{event_id}/refund", {"reason": "r"}),
        ("/billing/admin/accounts/x/grants", {"executions": 1, "reason": "r"}),
    ):
        problem = refused(service.post(path, json=content, headers=headers), 422, "invalid_input")
        assert problem["field"] == "idempotency_key"
        assert "only once" in problem["detail"]


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0b", "a\n", "\x7f"])
def test_invalid_key_of_an_item(service: httpx.Client, holder: Holder, key: str) -> None:
    item = {
        "organization_id": holder.organization_id,
        "mode": "consume",
        "idempotency_key": key,
    }
    response = service.post(CHECK_EXECUTIONS_BATCH, json={"items": [item]})
    (result,) = response.json()["results"]
    assert (result["status"], result["code"]) == (422, "invalid_input")

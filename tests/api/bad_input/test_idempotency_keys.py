"""Idempotency keys that are missing or cannot be one."""

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import refused
from tests.factories import Holder


@pytest.mark.parametrize("mode", ["consume", "reserve"])
def test_a_missing_key(service: httpx.Client, holder: Holder, mode: str) -> None:
    body = {"organization_id": holder.organization_id, "mode": mode}
    refused(service.post(CHECK_EXECUTIONS, json=body), 422, "idempotency_key_required")


@pytest.mark.parametrize("key", [b"", b"k" * 256, b"\xff", "é".encode("latin-1")])
@pytest.mark.parametrize("mode", ["check", "consume", "reserve"])
def test_a_bad_key(service: httpx.Client, holder: Holder, key: bytes, mode: str) -> None:
    headers = {b"Idempotency-Key": key}
    body = {"organization_id": holder.organization_id, "mode": mode}
    response = service.post(CHECK_EXECUTIONS, json=body, headers=headers)
    assert refused(response, 422, "invalid_input")["field"] == "idempotency_key"


@pytest.mark.parametrize("key", ["", "k" * 256, "a\0b", "a\n", "\x7f"])
def test_a_bad_key_of_an_item(service: httpx.Client, holder: Holder, key: str) -> None:
    item = {
        "organization_id": holder.organization_id,
        "mode": "consume",
        "idempotency_key": key,
    }
    response = service.post(CHECK_EXECUTIONS_BATCH, json={"items": [item]})
    (result,) = response.json()["results"]
    assert (result["status"], result["code"]) == (422, "invalid_input")

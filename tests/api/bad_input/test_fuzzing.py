"""Random JSON and random bytes are refused without a server error."""

import json
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import KEYED, raw, refused
from tests.billing.profiles import examples

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = (
    "organization_id",
    "user_id",
    "executions",
    "mode",
    "workflow",
    "hold_seconds",
    "idempotency_key",
    "items",
    "reason",
)
bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), values, max_size=6) | values


@settings(max_examples=examples(1))
@given(body=bodies, kind=st.integers(0, 3))
def test_no_json_causes_a_server_error(
    service: httpx.Client, event_id: str, reservation_id: str, body: Any, kind: int
) -> None:
    """Nothing is counted: random organizations do not exist and amounts do not fit."""
    path = (
        CHECK_EXECUTIONS,
        CHECK_EXECUTIONS_BATCH,
        f"/billing/executions/{_unknown(event_id)}/refund",
        f"/billing/reservations/{_unknown(reservation_id)}/commit",
    )[kind]
    response = service.post(path, content=json.dumps(body).encode(), headers={
        "Content-Type": "application/json", **KEYED,
    })  # fmt: skip
    if response.status_code == 200:
        for result in response.json()["results"]:
            assert 400 <= result["status"] < 500
    else:
        assert 400 <= response.status_code < 500, response.text
        refused(response, response.status_code, response.json()["code"])


def _unknown(identifier: str) -> str:
    return identifier[:-1] + ("1" if identifier.endswith("0") else "0")


@settings(max_examples=examples(1))
@given(content=st.binary(max_size=200))
def test_no_bytes_cause_a_server_error(service: httpx.Client, content: bytes) -> None:
    response = raw(service, content)
    assert response.status_code == 422
    refused(response, 422, response.json()["code"])

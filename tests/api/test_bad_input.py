"""What callers get wrong: a clear problem with the right status, and nothing changed."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_app.billing import ids
from billing_app.billing.api_keys import hash_key
from billing_app.db.words import Scope
from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.billing.profiles import examples
from tests.conftest import PUBLIC
from tests.factories import Holder, api_key, connect, counts, member, organization

REVOKED_KEY_SECONDS = 5.0
PROBLEM_FIELDS = ("type", "title", "status", "detail", "code")
KEYED = {"Idempotency-Key": "k"}
READS = (
    "/billing/plans/current",
    "/billing/plans/history",
    "/billing/usage",
    "/billing/usage/events",
    "/billing/usage/export.csv",
)


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


def refused(response: httpx.Response, status: int, code: str) -> Any:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert list(problem)[:5] == list(PROBLEM_FIELDS)
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"/billing/problems/{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem.get("allowed") is not True
    return problem


def raw(
    client: httpx.Client, content: bytes, content_type: str = "application/json", **more: str
) -> httpx.Response:
    headers = {"Content-Type": content_type, **KEYED, **more}
    return client.post(CHECK_EXECUTIONS, content=content, headers=headers)


BAD_FIELDS = [
    ("executions", "0"),
    ("executions", "-1"),
    ("executions", "1000001"),
    ("executions", "9223372036854775808"),
    ("executions", "1" + "0" * 400),
    ("executions", "1.5"),
    ("executions", '"1"'),
    ("executions", "true"),
    ("executions", "null"),
    ("executions", "[1]"),
    ("executions", "{}"),
    ("mode", '"use"'),
    ("mode", "null"),
    ("mode", "1"),
    ("organization_id", '""'),
    ("organization_id", "null"),
    ("organization_id", "7"),
    ("organization_id", r'"a\u0000b"'),
    ("organization_id", r'"line\n"'),
    ("organization_id", '"' + "o" * 256 + '"'),
    ("user_id", '""'),
    ("user_id", r'"\u0000"'),
    ("user_id", r'"u\n"'),
    ("user_id", '"' + "u" * 256 + '"'),
    ("workflow", r'"\u0000"'),
    ("workflow", r'"\u007f"'),
    ("workflow", '"' + "w" * 256 + '"'),
    ("workflow", "3"),
    ("hold_seconds", "0"),
    ("hold_seconds", "-5"),
    ("hold_seconds", "604801"),
    ("hold_seconds", "1.5"),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
@pytest.mark.parametrize("mode", ["check", "consume", "reserve"])
def test_bad_fields(
    service: httpx.Client, holder: Holder, field: str, value: str, mode: str
) -> None:
    body = {"organization_id": f'"{holder.organization_id}"', "mode": f'"{mode}"', field: value}
    content = "{" + ",".join(f'"{name}": {text}' for name, text in body.items()) + "}"
    problem = refused(raw(service, content.encode()), 422, "invalid_input")
    assert problem["field"] == field


@pytest.mark.parametrize(("field", "value"), [bad for bad in BAD_FIELDS if len(bad[1]) < 300])
def test_bad_fields_in_a_batch_harm_their_item_only(
    service: httpx.Client, holder: Holder, field: str, value: str
) -> None:
    organization_id = f'"{holder.organization_id}"'
    body = {"organization_id": organization_id, "mode": '"check"', field: value}
    bad = "{" + ",".join(f'"{name}": {text}' for name, text in body.items()) + "}"
    good = '{"organization_id": ' + organization_id + "}"
    content = '{"items": [' + f"{good}, {bad}, {good}" + "]}"
    response = service.post(
        CHECK_EXECUTIONS_BATCH, content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [result["status"] for result in results] == [200, 422, 200]
    assert results[1]["code"] == "invalid_input"
    assert results[1]["field"] == field


def test_a_missing_organization(service: httpx.Client) -> None:
    problem = refused(raw(service, b"{}"), 422, "invalid_input")
    assert problem["field"] == "organization_id"
    assert problem["detail"] == "organization_id is required."


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


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nonsense", b'{"a": }', b"\xff\xfe", b'{"organization_id": "\xff"}'],
)
def test_broken_json(service: httpx.Client, content: bytes) -> None:
    refused(raw(service, content), 422, "malformed_json")


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"text"', b"true"])
def test_json_that_is_no_object(service: httpx.Client, content: bytes) -> None:
    refused(raw(service, content), 422, "invalid_input")


@pytest.mark.parametrize("depth", [1_000, 200_000])
@pytest.mark.parametrize("path", [CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH])
def test_deep_nesting(service: httpx.Client, path: str, depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    for content in (
        b'{"items": [{"a": ' + nested + b"}]}",
        b'{"organization_id": ' + nested + b"}",
    ):
        response = service.post(path, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in (200, 422), response.text
        if response.status_code == 200:
            assert response.json()["results"][0]["status"] == 422


@pytest.mark.parametrize(
    "body", [{}, {"items": []}, {"items": {}}, {"items": [1]}, {"items": [{}] * 1001}]
)
def test_a_batch_that_is_none(service: httpx.Client, body: Any) -> None:
    refused(service.post(CHECK_EXECUTIONS_BATCH, json=body), 422, "invalid_input")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json"],
)
def test_a_wrong_content_type(service: httpx.Client, holder: Holder, content_type: str) -> None:
    content = json.dumps({"organization_id": holder.organization_id}).encode()
    refused(raw(service, content, content_type), 415, "unsupported_media_type")


def test_a_content_type_with_a_charset_is_right(service: httpx.Client, holder: Holder) -> None:
    content = json.dumps({"organization_id": holder.organization_id}).encode()
    assert raw(service, content, "Application/JSON; charset=utf-8").status_code == 200


SUBSCRIPTIONS = "/billing/subscriptions"


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 422, "malformed_json"),
        (b"[]", "application/json", 422, "invalid_input"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"offer=a", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_bodies_of_other_routes_are_refused_alike(
    service: httpx.Client, content: bytes, content_type: str, status: int, code: str
) -> None:
    headers = {"Content-Type": content_type}
    refused(service.post(SUBSCRIPTIONS, content=content, headers=headers), status, code)


@pytest.mark.parametrize("size", [1_000_001, 3_000_000])
@pytest.mark.parametrize("path", [CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH, SUBSCRIPTIONS])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_body_over_1_mb(service: httpx.Client, path: str, size: int, *, is_chunked: bool) -> None:
    body = b'{"a": "' + b"x" * (size - 9) + b'"}'
    content: Any = (body[at : at + 65_536] for at in range(0, size, 65_536))
    headers = {"Content-Type": "application/json", **KEYED}
    response = service.post(path, content=content if is_chunked else body, headers=headers)
    refused(response, 413, "body_too_large")


def test_a_body_of_just_1_mb_is_read(service: httpx.Client, holder: Holder) -> None:
    start = json.dumps({"organization_id": holder.organization_id, "mode": "check"})[:-1]
    content = f'{start}, "note": "'.encode()
    content += b"x" * (1_000_000 - len(content) - 2) + b'"}'
    assert len(content) == 1_000_000
    assert raw(service, content).status_code == 200


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic dTpw", "Bearer \xe9", "bil_x"]
)
def test_no_identity(anyone: httpx.Client, holder: Holder, authorization: str) -> None:
    headers = {b"Authorization": authorization.encode("latin-1")} if authorization else {}
    body = {"organization_id": holder.organization_id}
    asked = [anyone.post(CHECK_EXECUTIONS, json=body, headers=headers)]
    asked += [anyone.get(path, params=body, headers=headers) for path in READS]
    for response in asked:
        refused(response, 401, "not_authenticated")
        assert response.headers["www-authenticate"] == "Bearer"


def test_an_expired_key(anyone: httpx.Client, holder: Holder, api_database_url: str) -> None:
    expired = datetime.now(UTC) - timedelta(seconds=1)
    headers = {"Authorization": f"Bearer {api_key(api_database_url, expires_at=expired)}"}
    body = {"organization_id": holder.organization_id}
    response = anyone.post(CHECK_EXECUTIONS, json=body, headers=headers)
    refused(response, 401, "not_authenticated")


def test_a_revoked_key_and_one_that_expires_stop_within_5_seconds(
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


def test_a_key_without_the_scope(
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


def test_a_key_of_another_organization(
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


@pytest.mark.parametrize("mode", ["check", "consume", "reserve"])
def test_an_unknown_organization(service: httpx.Client, mode: str) -> None:
    body = {"organization_id": "nowhere", "mode": mode}
    response = service.post(CHECK_EXECUTIONS, json=body, headers=KEYED)
    refused(response, 404, "organization_not_found")


def test_an_unknown_organization_or_user_on_a_read(service: httpx.Client) -> None:
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


def test_the_public_organization_needs_a_user(service: httpx.Client) -> None:
    body = {"organization_id": PUBLIC, "mode": "consume"}
    response = service.post(CHECK_EXECUTIONS, json=body, headers=KEYED)
    assert refused(response, 422, "invalid_input")["field"] == "user_id"


def test_a_user_of_another_organization(
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
def test_a_reservation_that_is_none(service: httpx.Client, name: str) -> None:
    for action in ("commit", "release"):
        response = service.post(f"/billing/reservations/{name}/{action}")
        refused(response, 404, "reservation_not_found")


@pytest.mark.parametrize(
    "name", ["x", "evt_", "evt_1", "evt_" + "0" * 17, "evt_" + "f" * 32, "rsv_" + "0" * 17, "%00"]
)
def test_an_event_that_is_none(service: httpx.Client, name: str) -> None:
    refused(service.get(f"/billing/executions/{name}"), 404, "execution_not_found")
    refund = service.post(f"/billing/executions/{name}/refund", json={"reason": "why"})
    refused(refund, 404, "execution_not_found")


@pytest.mark.parametrize("executions", [0, -1, 1_000_001, 1.5, "1", True, 2])
def test_a_bad_commit(service: httpx.Client, reservation_id: str, executions: Any) -> None:
    path = f"/billing/reservations/{reservation_id}/commit"
    response = service.post(path, json={"executions": executions})
    assert refused(response, 422, "invalid_input")["field"] == "executions"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "r" * 501}, "reason"),
        ({"reason": "a\0b"}, "reason"),
        ({"reason": "r", "executions": 0}, "executions"),
        ({"reason": "r", "executions": -1}, "executions"),
        ({"reason": "r", "executions": 2}, "executions"),
        ({"reason": "r", "executions": "1"}, "executions"),
    ],
)
def test_a_bad_refund(service: httpx.Client, event_id: str, body: Any, field: str | None) -> None:
    response = service.post(f"/billing/executions/{event_id}/refund", json=body)
    assert refused(response, 422, "invalid_input").get("field") == field


@pytest.mark.parametrize("name", ["from", "to"])
@pytest.mark.parametrize(
    "day", ["x", "", "2026-13-01", "2026-02-30", "0000-01-01", "9999-12-31", "20260101",
            "2026-W01-1", "2026-1-1", "1970-01-01", "2026-01-01T00:00:00Z", "\0"]
)  # fmt: skip
def test_a_bad_day(service: httpx.Client, holder: Holder, name: str, day: str) -> None:
    for path in READS[2:]:
        params = {"organization_id": holder.organization_id, name: day}
        response = service.get(path, params=params)
        if day:
            assert refused(response, 422, "invalid_input")["field"] == name
        else:
            assert response.status_code in (200, 422)


@pytest.mark.parametrize(
    ("first", "last"), [("2026-01-02", "2026-01-01"), ("1990-01-01", "2026-01-01")]
)
def test_a_bad_range(service: httpx.Client, holder: Holder, first: str, last: str) -> None:
    for path in READS[2:]:
        params = {"organization_id": holder.organization_id, "from": first, "to": last}
        assert refused(service.get(path, params=params), 422, "invalid_input")["field"] == "from"


@pytest.mark.parametrize("limit", ["0", "-1", "201", "1.5", "x", "1" + "0" * 30, "1" * 5000])
def test_a_bad_limit(service: httpx.Client, holder: Holder, limit: str) -> None:
    for path in ("/billing/plans/history", "/billing/usage/events"):
        params = {"organization_id": holder.organization_id, "limit": limit}
        assert refused(service.get(path, params=params), 422, "invalid_input")["field"] == "limit"


def test_a_bad_cursor(service: httpx.Client, holder: Holder, api_database_url: str) -> None:
    other = organization(api_database_url)
    foreign = [ids.encode(prefix, other.account_number, 1) for prefix in (ids.PLAN, ids.EVENT)]
    for path in ("/billing/plans/history", "/billing/usage/events"):
        for cursor in ("x", "evt_", "pln_x", "1", "\0", "c" * 65, *foreign):
            params = {"organization_id": holder.organization_id, "cursor": cursor}
            problem = refused(service.get(path, params=params), 422, "invalid_input")
            assert problem["field"] == "cursor"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("group_by", "week"),
        ("kind", "x"),
        ("workflow", "w" * 256),
        ("workflow", "\0"),
        ("user_id", "\0"),
        ("organization_id", "\0"),
        ("organization_id", "o" * 256),
        ("account_id", ""),
    ],
)
def test_a_bad_filter(service: httpx.Client, holder: Holder, name: str, value: str) -> None:
    takes = {
        "group_by": READS[2:3],
        "kind": READS[3:],
        "workflow": READS[3:],
    }
    for path in takes.get(name, READS):
        params = {"organization_id": holder.organization_id, name: value}
        assert refused(service.get(path, params=params), 422, "invalid_input")["field"] == name


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/billing"),
        ("GET", "/billing/"),
        ("GET", "/billing/nothing"),
        ("GET", "/billing/usage/"),
        ("POST", "/billing/plans"),
        ("POST", "/billing/plans/check-executions/"),
        ("POST", "/billing/plans/check-executions/batch/more"),
        ("GET", "/billing/%00"),
        ("GET", "/billing/%ff"),
        ("POST", "/billing/reservations/a/b/commit"),
    ],
)
def test_unknown_routes(service: httpx.Client, method: str, path: str) -> None:
    refused(service.request(method, path), 404, "route_not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CHECK_EXECUTIONS),
        ("PUT", CHECK_EXECUTIONS),
        ("GET", CHECK_EXECUTIONS_BATCH),
        ("DELETE", "/billing/plans/current"),
        ("POST", "/billing/usage"),
        ("POST", "/healthz"),
        ("GET", "/billing/reservations/rsv_1/commit"),
        ("GET", "/billing/executions/evt_1/refund"),
    ],
)
def test_methods_that_are_not_for_an_address(
    service: httpx.Client, anyone: httpx.Client, method: str, path: str
) -> None:
    for client in (service, anyone):
        response = client.request(method, path)
        refused(response, 405, "method_not_allowed")
        assert response.headers["allow"]


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
def test_whatever_json_comes_it_is_never_our_fault(
    service: httpx.Client, event_id: str, reservation_id: str, body: Any, kind: int
) -> None:
    """Random organizations do not exist and amounts do not fit, so that nothing is counted."""
    path = (
        CHECK_EXECUTIONS,
        CHECK_EXECUTIONS_BATCH,
        f"/billing/executions/{event_id[:-1]}0/refund",
        f"/billing/reservations/{reservation_id[:-1]}0/commit",
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


@settings(max_examples=examples(1))
@given(content=st.binary(max_size=200))
def test_whatever_bytes_come_it_is_never_our_fault(service: httpx.Client, content: bytes) -> None:
    response = raw(service, content)
    assert response.status_code == 422
    refused(response, 422, response.json()["code"])

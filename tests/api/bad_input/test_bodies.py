"""Bodies that are not JSON, have another type or shape, or are too large."""

import json
from typing import Any

import httpx
import pytest

from billing_app.routes import CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH
from tests.api.bad_input.refusals import KEYED, raw, refused
from tests.factories import Holder


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a": }',
        b"\xff\xfe",
        b'{"organization_id": "\xff"}',
        b'{"organization_id": "x", "unknown": "\xff"}',
        b'{"organization_id": "x", "\xff": 1}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_malformed_json(service: httpx.Client, content: bytes) -> None:
    refused(raw(service, content), 422, "malformed_json")


@pytest.mark.parametrize("name", ["workflow", "unknown"])
@pytest.mark.parametrize("half", [rb"\ud83d", rb"\udc00 x", rb"\ud83dabc", rb"\ud83d\u0041"])
def test_unpaired_surrogate_is_named(service: httpx.Client, name: str, half: bytes) -> None:
    content = b'{"organization_id": "x", "%b": "%b"}' % (name.encode(), half)
    assert "half of a character" in refused(raw(service, content), 422, "invalid_input")["detail"]


@pytest.mark.parametrize("content", [b"[]", b"1", b"null", b'"text"', b"true"])
def test_json_that_is_not_an_object(service: httpx.Client, content: bytes) -> None:
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


@pytest.mark.parametrize("body", [{}, {"items": []}, {"items": {}}, {"items": [{}] * 1001}])
def test_invalid_batch(service: httpx.Client, body: Any) -> None:
    refused(service.post(CHECK_EXECUTIONS_BATCH, json=body), 422, "invalid_input")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json"],
)
def test_wrong_content_type(service: httpx.Client, holder: Holder, content_type: str) -> None:
    content = json.dumps({"organization_id": holder.organization_id}).encode()
    refused(raw(service, content, content_type), 415, "unsupported_media_type")


def test_content_type_with_charset_is_accepted(service: httpx.Client, holder: Holder) -> None:
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
def test_other_routes_refuse_the_same_bodies(
    service: httpx.Client, content: bytes, content_type: str, status: int, code: str
) -> None:
    headers = {"Content-Type": content_type}
    refused(service.post(SUBSCRIPTIONS, content=content, headers=headers), status, code)


JSON = '{"offer": "starter"}'


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (JSON.encode("utf-16"), "application/json; charset=utf-8"),
        (JSON.encode("utf-32"), "application/json"),
        (JSON.encode("utf-8-sig"), "application/json"),
        (b'{"offer": NaN}', "application/json"),
        (b'{"offer": "a", "unknown": -Infinity}', "application/json"),
    ],
)
def test_json_in_other_encodings_is_refused(
    service: httpx.Client, content: bytes, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    for path in (SUBSCRIPTIONS, CHECK_EXECUTIONS):
        refused(service.post(path, content=content, headers=headers), 422, "malformed_json")


@pytest.mark.parametrize(
    "content_type", ["application/vnd.acme+json; charset=latin1", "application/problem+json"]
)
def test_other_json_media_types_are_refused(service: httpx.Client, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    for path in (SUBSCRIPTIONS, CHECK_EXECUTIONS):
        response = service.post(path, content=JSON.encode(), headers=headers)
        refused(response, 415, "unsupported_media_type")


BROKEN = [
    b"{",
    b'{"offer": "\xff"}',
    b"\xff\xfe\xff",
    b'{"offer": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"offer": ' + b"1" * 5_000 + b"}",
]


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("path", [SUBSCRIPTIONS, "/billing/portal-sessions"])
def test_malformed_json_on_other_routes(service: httpx.Client, path: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused(service.post(path, content=content, headers=headers), 422, "malformed_json")


@pytest.mark.parametrize(
    "header",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "br, identity"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": 'application/json;Charset="ISO-8859-1"'},
    ],
)
@pytest.mark.parametrize("path", [CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH, SUBSCRIPTIONS])
def test_compressed_body_is_refused(
    service: httpx.Client, holder: Holder, path: str, header: dict[str, str]
) -> None:
    content = json.dumps({"organization_id": holder.organization_id}).encode()
    headers = {"Content-Type": "application/json", **KEYED, **header}
    refused(service.post(path, content=content, headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "header",
    [
        {"Content-Encoding": "identity"},
        {"Content-Encoding": ""},
        {"Content-Type": 'application/json; charset="UTF-8"'},
        {"Content-Type": "application/json; version=1"},
    ],
)
def test_identity_encoding_is_accepted(
    service: httpx.Client, holder: Holder, header: dict[str, str]
) -> None:
    content = json.dumps({"organization_id": holder.organization_id}).encode()
    headers = {"Content-Type": "application/json", **header}
    assert service.post(CHECK_EXECUTIONS, content=content, headers=headers).status_code == 200
    response = service.post(SUBSCRIPTIONS, content=content, headers=headers)
    assert response.status_code == 422, response.text


@pytest.mark.parametrize("size", [1_000_001, 3_000_000])
@pytest.mark.parametrize("path", [CHECK_EXECUTIONS, CHECK_EXECUTIONS_BATCH, SUBSCRIPTIONS])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_body_over_1_mb(service: httpx.Client, path: str, size: int, *, is_chunked: bool) -> None:
    body = b'{"a": "' + b"x" * (size - 9) + b'"}'
    content: Any = (body[at : at + 65_536] for at in range(0, size, 65_536))
    headers = {"Content-Type": "application/json", **KEYED}
    response = service.post(path, content=content if is_chunked else body, headers=headers)
    refused(response, 413, "body_too_large")


def test_body_of_exactly_1_mb_is_read(service: httpx.Client, holder: Holder) -> None:
    body = json.dumps({"organization_id": holder.organization_id, "mode": "check"})
    content = body.encode().ljust(1_000_000)
    assert raw(service, content).status_code == 200

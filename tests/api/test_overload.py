"""Idle connections, slow bodies and too many requests at a time stop nobody else."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from billing_app.api.request_limits import RequestLimits
from billing_app.routes import CHECK_EXECUTIONS, HEALTH
from tests.api.bad_input.refusals import refused
from tests.conftest import server_environment
from tests.factories import Holder, api_key, organization
from tests.processes import api_process

IDLE = 1_500
MOST_REQUESTS = 20
BODY_SECONDS = 2
HEADER_SECONDS = 2


@pytest.fixture(scope="module")
def base_url(api_database_url: str) -> Iterator[str]:
    environment = server_environment(api_database_url, BODY_SECONDS=str(BODY_SECONDS))
    with api_process(environment) as url:
        yield url


@pytest.fixture(scope="module")
def impatient_url(api_database_url: str) -> Iterator[str]:
    environment = server_environment(api_database_url, HEADER_SECONDS=str(HEADER_SECONDS))
    with api_process(environment) as url:
        yield url


@pytest.fixture(scope="module")
def key(api_database_url: str) -> str:
    return api_key(api_database_url)


@pytest.fixture(scope="module")
def someone(api_database_url: str) -> Holder:
    return organization(api_database_url, 1_000)


def consume(base_url: str, key: str, someone: Holder, request_key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": request_key}
    body = {"organization_id": someone.organization_id, "mode": "consume"}
    return httpx.post(base_url + CHECK_EXECUTIONS, headers=headers, json=body, timeout=30)


def connect(base_url: str, sent: bytes = b"") -> socket.socket:
    address = urlsplit(base_url)
    opened = socket.create_connection((address.hostname, address.port), timeout=30)
    opened.sendall(sent)
    return opened


def unfinished(path: str, key: str, sent: bytes = b"") -> bytes:
    """A request whose body never comes to its end."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: billing\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    )
    return head.encode() + sent


def test_idle_connections_stop_nobody(base_url: str, key: str, someone: Holder) -> None:
    """More than the 1,024 that the server takes by default."""
    with ExitStack() as idle:
        for _ in range(IDLE):
            idle.enter_context(connect(base_url))
        answer = consume(base_url, key, someone, "beside-idle")
        assert (answer.status_code, answer.json()["executions_used"]) == (200, 1)


@pytest.mark.parametrize("path", [CHECK_EXECUTIONS, "/billing/subscriptions"])
@pytest.mark.parametrize("sent", [b"", b'{"organization_id": '])
def test_slow_body_is_refused(base_url: str, key: str, path: str, sent: bytes) -> None:
    with connect(base_url, unfinished(path, key, sent)) as slow:
        answer = b""
        while b"}" not in answer:
            part = slow.recv(65_536)
            assert part, answer
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["code"] == "body_timeout"


@pytest.mark.parametrize("sent", [b"", b"POST /billing/subscr", b"GET /healthz HTTP/1.1\r\nX: "])
def test_connection_without_whole_headers_is_closed(impatient_url: str, sent: bytes) -> None:
    with connect(impatient_url, sent) as slow:
        assert slow.recv(65_536) == b""


def test_idle_connection_is_closed(impatient_url: str) -> None:
    with connect(impatient_url, b"GET /healthz HTTP/1.1\r\nHost: billing\r\n\r\n") as idle:
        assert idle.recv(65_536).startswith(b"HTTP/1.1 200")
        assert idle.recv(65_536) == b""


async def test_requests_beyond_the_limit_are_refused_at_once() -> None:
    going_on = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await going_on.wait()
        await Response("done")(scope, receive, send)

    transport = httpx.ASGITransport(RequestLimits(slow, MOST_REQUESTS))
    async with httpx.AsyncClient(transport=transport, base_url="http://billing") as client:
        answers = [asyncio.create_task(client.get("/billing/usage")) for _ in range(MOST_REQUESTS)]
        health = asyncio.create_task(client.get(HEALTH))
        await asyncio.sleep(0.1)
        answer = await client.get("/billing/usage")
        refused(answer, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        going_on.set()
        assert {(await each).status_code for each in (*answers, health)} == {200}
        assert (await client.get("/billing/usage")).status_code == 200

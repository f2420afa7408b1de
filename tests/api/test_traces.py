"""Traces reach a collector, as parts of the caller's, and tell no secrets."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from billing_app import routes
from billing_app.db.enums import Scope
from tests.api.collector import Collector, Span, running_collector
from tests.api.server import ApiServer
from tests.conftest import server_environment
from tests.factories import Holder, api_key, organization
from tests.processes import start_command

SERVER, CLIENT = 2, 3
AT_ONCE = 40
CALL_STRIPE = """
import asyncio
from billing_app import tracing
from billing_app.payments.gateway import StripeGateway

async def main() -> None:
    tracing.start()
    gateway = StripeGateway("sk_test_secret", "{url}")
    headers = [(b"traceparent", b"{parent}")]
    with tracing.server_span("PUT", headers, {{}}):
        try:
            await gateway.account()
        finally:
            await gateway.close()

try:
    asyncio.run(main())
finally:
    tracing.flush()
"""
OFF = """
import asyncio, sys
from billing_app.api.app import create_app
from billing_app.composition import get_services
from billing_app import tracing
create_app()
get_services()
print(tracing.is_on(), sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
"""


def new_trace() -> tuple[str, str, str]:
    """Trace id, span id, and the header `traceparent` of a caller who samples."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return trace_id, span_id, f"00-{trace_id}-{span_id}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


@pytest.fixture
def server(collector: Collector, own_database_url: str) -> Iterator[ApiServer]:
    server = ApiServer(own_database_url)
    server.environment |= collector.environment()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def holder(own_database_url: str) -> Holder:
    return organization(own_database_url, 1_000)


@pytest.fixture
def key(own_database_url: str) -> str:
    return api_key(own_database_url, Scope.EXECUTIONS, Scope.PLANS_READ)


def consume(holder: Holder, key: str, traceparent: str, name: str) -> dict[str, Any]:
    return {
        "json": {"organization_id": holder.organization_id, "mode": "consume"},
        "headers": {
            "Authorization": f"Bearer {key}",
            "Idempotency-Key": name,
            "X-Request-Id": f"request-{name}",
            "traceparent": traceparent,
        },
    }


def test_check_is_a_part_of_its_callers_trace(
    server: ApiServer, collector: Collector, holder: Holder, key: str
) -> None:
    trace_id, span_id, traceparent = new_trace()
    url = server.url + routes.CHECK_EXECUTIONS
    assert httpx.post(url, **consume(holder, key, traceparent, "secret-key")).status_code == 200
    served = collector.wait_for(lambda span: (span.trace_id, span.kind) == (trace_id, SERVER))
    assert (served.parent_id, served.service) == (span_id, "billing")
    assert served.name == f"POST {routes.CHECK_EXECUTIONS}"
    assert served.attributes["http.route"] == routes.CHECK_EXECUTIONS
    assert served.attributes["http.response.status_code"] == 200
    assert served.attributes["billing.account_id"] == holder.account_id
    assert served.attributes["billing.request_id"] == "request-secret-key"
    decided = collector.wait_for(lambda span: (span.trace_id, span.kind) == (trace_id, CLIENT))
    assert decided.parent_id == served.span_id
    assert decided.name == "decide write"
    assert decided.attributes["db.system.name"] == "postgresql"
    assert decided.attributes["db.operation.batch.size"] == 1
    assert not decided.is_error
    for secret in (key.encode(), b'"secret-key"', holder.organization_id.encode()):
        assert secret not in collector.received


async def test_batch_links_to_its_requests(
    server: ApiServer, collector: Collector, holder: Holder, key: str
) -> None:
    traces = [new_trace() for _ in range(AT_ONCE)]
    async with httpx.AsyncClient() as client:
        posts = [
            client.post(
                server.url + routes.CHECK_EXECUTIONS,
                **consume(holder, key, parent, trace_id),
            )
            for trace_id, _, parent in traces
        ]
        answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {200}
    ids = {trace_id for trace_id, _, _ in traces}

    def decided() -> list[Span]:
        return [span for span in collector.spans if span.name == "decide write"]

    def are_all_told(_: Span) -> bool:
        return sum(len(span.links) + 1 for span in decided()) == AT_ONCE

    await asyncio.to_thread(collector.wait_for, are_all_told)
    told = [span.trace_id for span in decided()]
    told += [link[0] for span in decided() for link in span.links]
    assert sorted(told) == sorted(ids)
    for span in decided():
        assert span.attributes["db.operation.batch.size"] == len(span.links) + 1


def test_paths_and_queries_are_not_told(
    server: ApiServer, collector: Collector, holder: Holder, key: str
) -> None:
    trace_id, _, traceparent = new_trace()
    headers = {"Authorization": f"Bearer {key}", "traceparent": traceparent}
    event = (
        server.url + "/billing/executions/evt_0123456789abcdef0123456789abcdef?email=ada%40x.org"
    )
    assert httpx.get(event, headers=headers).status_code == 404
    served = collector.wait_for(lambda span: span.trace_id == trace_id)
    assert served.name == "GET /billing/executions/{event_id}"
    assert b"evt_0123" not in collector.received
    assert b"ada" not in collector.received
    assert served.attributes["billing.request_id"]
    assert not served.is_error


def test_caller_who_does_not_sample_is_not_traced(
    server: ApiServer, collector: Collector, holder: Holder, key: str
) -> None:
    _, _, sampled = new_trace()
    _, _, unsampled = new_trace()
    url = server.url + routes.CHECK_EXECUTIONS
    for name, parent in (("no", unsampled[:-2] + "00"), ("yes", sampled)):
        assert httpx.post(url, **consume(holder, key, parent, name)).status_code == 200
    collector.wait_for(lambda span: span.trace_id == sampled.split("-")[1])
    assert {span.trace_id for span in collector.spans} == {sampled.split("-")[1]}


def test_collector_that_is_away_stops_nothing(
    own_database_url: str, holder: Holder, key: str
) -> None:
    server = ApiServer(own_database_url)
    server.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    server.start()
    try:
        _, _, traceparent = new_trace()
        url = server.url + routes.CHECK_EXECUTIONS
        answer = httpx.post(url, **consume(holder, key, traceparent, "k"))
        assert answer.status_code == 200
    finally:
        server.stop()


def test_requests_to_stripe_carry_the_trace(collector: Collector, own_database_url: str) -> None:
    trace_id, _, traceparent = new_trace()
    script = CALL_STRIPE.format(url=collector.url, parent=traceparent)
    environment = server_environment(own_database_url) | collector.environment()
    subprocess.run([sys.executable, "-c", script], env=environment, timeout=120, check=False)
    called = collector.wait_for(lambda span: (span.trace_id, span.kind) == (trace_id, CLIENT))
    assert called.name == "GET /v1/account"
    assert called.attributes["http.response.status_code"] == 200
    assert collector.asked[0]["traceparent"] == f"00-{trace_id}-{called.span_id}-01"
    assert b"sk_test" not in collector.received


def test_jobs_have_spans(collector: Collector, own_database_url: str) -> None:
    worker = start_command(server_environment(own_database_url) | collector.environment(), "worker")
    try:
        job = collector.wait_for(lambda span: span.name == "sweep_webhooks")
        assert job.attributes["dbos.operation.type"] == "workflow"
    finally:
        worker.terminate()
        worker.communicate(timeout=30)


@pytest.mark.parametrize(
    "more", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}]
)
def test_nothing_is_imported_when_traces_are_not_wanted(
    own_database_url: str, more: dict[str, str]
) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"} if more else {}
    done = subprocess.run(
        [sys.executable, "-c", OFF],
        env=server_environment(own_database_url) | endpoint | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "False []"

"""What `/metrics` shows: decisions, requests to Stripe, lags; with and without a database."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from billing_app.api import metrics
from billing_app.billing.executions.decision_metrics import BatchHistogram
from billing_app.db.enums import Scope
from billing_app.jobs import operating_figures
from billing_app.payments import call_metrics
from tests.api.server import ApiServer
from tests.conftest import server_environment
from tests.factories import api_key, connect, organization
from tests.processes import api_process, free_port, start_command

CHECK = "/billing/plans/check-executions"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(url: str) -> Samples:
    return samples(httpx.get(f"{url}/metrics", timeout=20).raise_for_status().text)


@pytest.fixture
def own_server(own_database_url: str) -> Iterator[ApiServer]:
    server = ApiServer(own_database_url)
    server.start()
    yield server
    server.stop()


def test_decisions_are_counted_by_operation_and_outcome(
    own_server: ApiServer, own_database_url: str
) -> None:
    _spend(own_server.url, own_database_url)
    found = scrape(own_server.url)
    _assert_spent(found)
    assert found["billing_execution_waiting_requests", (("lane", "write"),)] == 0
    assert found["billing_database_connections_max", (("pool", "reads"),)] == 4


def test_workers_of_one_server_share_their_figures(own_database_url: str) -> None:
    with api_process(server_environment(own_database_url), workers=2) as url:
        _spend(url, own_database_url)
        deadline = time.monotonic() + 20
        while ("billing_active_requests", ()) not in scrape(url) and time.monotonic() < deadline:
            time.sleep(0.2)
        _assert_spent(scrape(url))


def _spend(url: str, database_url: str) -> None:
    """Three consumes are allowed, one replayed, two denied; five are a batch of their own."""
    holder = organization(database_url, 8)
    headers = {"Authorization": f"Bearer {api_key(database_url, Scope.EXECUTIONS)}"}
    body = {"organization_id": holder.organization_id, "mode": "consume"}
    with httpx.Client(base_url=url, headers=headers, timeout=20) as client:
        for key in ("a", "b", "c", "c"):
            client.post(CHECK, json=body, headers={"Idempotency-Key": key}).raise_for_status()
        for key in ("d", "e"):
            too_many = {**body, "executions": 50}
            answer = client.post(CHECK, json=too_many, headers={"Idempotency-Key": key})
            assert answer.status_code == 402
        items = [{**body, "idempotency_key": f"batch-{number}"} for number in range(5)]
        client.post(f"{CHECK}/batch", json={"items": items}).raise_for_status()


def _assert_spent(found: Samples) -> None:
    made = {
        labels[1][1]: value
        for (name, labels), value in found.items()
        if name == "billing_execution_decisions_total" and labels[0] == ("operation", "consume")
    }
    assert made == {"allowed": 8, "replayed": 1, "insufficient_executions": 2}
    lane = (("lane", "write"),)
    assert found["billing_execution_decision_seconds_count", lane] == 11
    assert found["billing_execution_decision_seconds_sum", lane] > 0
    assert found["billing_execution_batch_requests_sum", lane] == 11


def test_lags_and_dead_letters_are_those_of_the_database(
    own_server: ApiServer, own_database_url: str
) -> None:
    with connect(own_database_url) as connection:
        for event_id, state, minutes in (
            ("evt_1", "received", 10),
            ("evt_2", "failed", 3),
            ("evt_3", "dead", 90),
            ("evt_4", "processed", 99),
        ):
            connection.execute(
                "INSERT INTO webhook_events (id, type, object_id, customer_id, payload, state,"
                " attempts, occurred_at, received_at) VALUES (%s, 't', '', '', '{}', %s, 1,"
                " now(), now() - make_interval(mins => %s))",
                (event_id, state, minutes),
            )
        connection.execute(
            "INSERT INTO reconciliations (began_at, finished_at, differences, healed)"
            " VALUES (now() - interval '2 hours', now() - interval '1 hour', 7, 4)"
        )
    time.sleep(operating_figures.KEEP_SECONDS)
    found = {name: value for (name, _), value in scrape(own_server.url).items()}
    assert found["billing_database_up"] == 1
    assert found["billing_webhook_dead_letters"] == 1
    assert found["billing_webhooks_waiting"] == 2
    assert 600 <= found["billing_webhook_oldest_seconds"] < 700
    assert found["billing_reconciliation_open_differences"] == 3
    assert 3600 <= found["billing_reconciliation_age_seconds"] < 3700
    assert found["billing_event_partitions_ahead_seconds"] > 14 * 86_400
    assert "billing_jobs_waiting" not in found  # no worker has ever run


def test_metrics_answer_while_the_database_does_not(
    own_server: ApiServer, own_database_url: str
) -> None:
    with psycopg.connect(own_database_url) as blocking:
        blocking.execute("LOCK TABLE webhook_events IN ACCESS EXCLUSIVE MODE")
        time.sleep(operating_figures.KEEP_SECONDS)
        found = {name for name, _ in scrape(own_server.url)}
    assert "billing_webhooks_waiting" not in found
    assert {"billing_database_up", "billing_waiting_reads"} <= found


def test_worker_shows_jobs_and_its_own_metrics(own_database_url: str) -> None:
    port = free_port()
    environment = server_environment(own_database_url, METRICS_PORT=str(port))
    worker = start_command(environment, "worker")
    try:
        deadline = time.monotonic() + 60
        while not _shows_python(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert _shows_python(port)
        with api_process(server_environment(own_database_url)) as url:
            found = {name for name, _ in scrape(url)}
        assert {"billing_jobs_waiting", "billing_job_oldest_seconds"} <= found
    finally:
        worker.terminate()
        worker.communicate(timeout=30)


def _shows_python(port: int) -> bool:
    try:
        return "python_info" in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except httpx.TransportError:
        return False


def test_batch_of_observations_equals_single_ones() -> None:
    buckets = (0.001, 0.01, 0.1)
    amounts = [(0.0005, 2), (0.001, 1), (0.05, 3), (0.1, 1), (7.0, 2), (0.002, 1)]
    singly = Histogram("seconds", "", ["lane"], buckets=buckets, registry=CollectorRegistry())
    at_once = BatchHistogram("seconds", "", ["lane"], buckets=buckets, registry=CollectorRegistry())
    at_once.labels("write").observe_all(amounts)
    for amount, times in amounts:
        for _ in range(times):
            singly.labels("write").observe(amount)
    ours, theirs = (next(iter(each.collect())).samples for each in (at_once, singly))
    assert [(each.name, each.labels) for each in ours] == [
        (each.name, each.labels) for each in theirs
    ]
    assert [each.value for each in ours[:-2]] == pytest.approx([each.value for each in theirs[:-2]])


def test_operations_of_stripe_have_no_ids() -> None:
    base = "https://api.stripe.com/v1"
    assert {
        call_metrics.operation("post", f"{base}/{path}")
        for path in (
            "invoices/create_preview",
            "subscriptions/sub_1PabC?expand[]=items",
            "subscriptions/sub_9ZyxW",
            "billing/meters/mtr_12/event_summaries",
            "products/Starter-2",
        )
    } == {
        "POST /v1/invoices/create_preview",
        "POST /v1/subscriptions/{id}",
        "POST /v1/billing/meters/{id}/event_summaries",
        "POST /v1/products/{id}",
    }


async def test_requests_to_stripe_are_timed_by_result() -> None:
    def count(result: str) -> float:
        labels = {"operation": "GET /v1/tests", "result": result}
        registry = call_metrics.request_seconds
        values = {
            sample.labels["result"]: sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if sample.name.endswith("_count") and sample.labels["operation"] == "GET /v1/tests"
        }
        return values.get(labels["result"], 0)

    for status, result in ((200, "ok"), (402, "refused"), (429, "rate_limited"), (500, "failed")):
        async with call_metrics.timed("get", "https://api.stripe.com/v1/tests") as attempt:
            attempt.status = status
        assert count(result) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), call_metrics.timed("get", "https://x.test/v1/tests"):
            await asyncio.sleep(5)
    assert count("unreachable") == 1


def test_gauges_of_a_worker_that_ended_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"gauge_livesum_{ended.pid}.db", f"gauge_livesum_{os.getpid()}.db", "counter_1.db"]
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setenv(metrics.SHARED, str(tmp_path))
    metrics.own_registry()
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])

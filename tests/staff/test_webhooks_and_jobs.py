"""Dead letters, comparisons and jobs over HTTP, with a worker that runs them."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from billing_app.billing.actors import StaffActor, UserActor
from billing_app.billing.errors import ForbiddenError, InvalidInputError
from billing_app.billing.staff.access.permissions import StaffRoleMissingError
from billing_app.billing.staff.operations import jobs, provider_events, reconciliations
from billing_app.billing.staff.operations.jobs import JobsUnavailableError
from billing_app.billing.staff.operations.provider_events import (
    EventQuery,
    ReceivedEventNotFoundError,
)
from billing_app.billing.subscriptions.dead_letters import EventNotDeadError, set_aside
from billing_app.db.enums import StaffRole, WebhookState
from billing_app.jobs.pace import LIVELY_SECONDS
from billing_app.jobs.staff import DbosJobs
from billing_app.jobs.webhooks import client
from billing_app.payments import replay_protection, webhooks
from tests.factories import staff_key
from tests.payments.billing_harness import BillingHarness, type_card
from tests.payments.processes import AppProcesses
from tests.payments.test_outages import TRIES

BILLING = StaffActor("usr_b", "Bo", StaffRole.BILLING)
WHY = {"reason": "Stripe was down"}
WAIT_SECONDS = 60.0


class Console:
    """Staff with a role, over HTTP."""

    def __init__(self, site: AppProcesses, role: StaffRole) -> None:
        self.headers = {"Authorization": f"Bearer {staff_key(site.harness.url, role)}"}
        self.base_url = f"{site.api.url}/billing/admin"

    def get(self, path: str, **query: Any) -> Any:
        answer = self.send("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.send("POST", path, json=WHY | body)

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:
        url = self.base_url + path
        return httpx.request(method, url, headers=self.headers, timeout=30, **more)

    def finished(self, job_id: str) -> dict[str, Any]:
        """The job once it is over."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            job = self.get(f"/jobs/{job_id}")
            if job["state"] in ("finished", "failed"):
                return job
            time.sleep(0.2)
        raise AssertionError(f"{job_id} goes on and on")


@pytest.fixture
def site(harness: BillingHarness) -> Iterator[AppProcesses]:
    made = AppProcesses(harness)
    made.start_api()
    yield made
    made.stop()


async def dead_events(harness: BillingHarness) -> list[str]:
    """A subscription whose events were set aside, none of them applied."""
    begun = await harness.begin("starter")
    assert begun.checkout_url is not None
    assert type_card(begun.checkout_url).status_code in (200, 303)
    found = [event for event in harness.missed() if event.type in webhooks.REFETCH]
    for event in found:
        await replay_protection.store_event(harness.services.database, event, harness.now)
        await set_aside(harness.services.database, event.id, harness.now, problem="TimeoutError")
    return [event.id for event in found]


async def test_dead_letter_is_replayed_by_staff(
    harness: BillingHarness, site: AppProcesses
) -> None:
    dead = await dead_events(harness)
    site.start_worker()
    console, support = Console(site, StaffRole.BILLING), Console(site, StaffRole.SUPPORT)
    listed = support.get("/webhooks", state="dead")["items"]
    assert sorted(event["id"] for event in listed) == sorted(dead)
    assert {event["problem"] for event in listed} == {"TimeoutError"}
    paid = next(event for event in listed if event["type"] == "invoice.paid")
    assert support.get(f"/webhooks/{paid['id']}")["payload"]["type"] == "invoice.paid"
    assert support.post(f"/webhooks/{paid['id']}/replay").status_code == 403
    assert harness.plans() == []
    answer = console.post(f"/webhooks/{paid['id']}/replay")
    assert answer.status_code == 202
    job = console.finished(answer.json()["job_id"])
    assert (job["state"], job["name"]) == ("finished", "process_webhook")
    assert [plan["executions"] for plan in harness.plans()] == [5_000]
    now = support.get(f"/webhooks/{paid['id']}")["event"]
    assert (now["state"], now["replays"]) == ("processed", 1)
    again = console.post(f"/webhooks/{paid['id']}/replay")
    assert (again.status_code, again.json()["code"]) == (409, "event_not_dead")
    (entry,) = harness.rows("SELECT action, subject, account_id, reason FROM audit_entries")
    assert entry == ("replay_event", paid["id"], harness.holder.account_number, WHY["reason"])
    of_account = support.get(f"/customers/{harness.holder.account_id}/webhooks")["items"]
    assert {event["account_id"] for event in of_account} == {harness.holder.account_id}


async def test_replay_wakes_a_worker_that_rests(
    harness: BillingHarness, site: AppProcesses
) -> None:
    """It would look by itself in ten minutes, and the sweep finds no event that is queued."""
    dead = await dead_events(harness)
    site.api.environment |= {"WORKER_POLL_SECONDS": "600"}
    site.start_worker()
    await asyncio.sleep(LIVELY_SECONDS + 2)
    console = Console(site, StaffRole.BILLING)
    for event_id in dead[:2]:
        answer = console.post(f"/webhooks/{event_id}/replay")
        assert answer.status_code == 202
        assert console.finished(answer.json()["job_id"])["state"] == "finished"
        await asyncio.sleep(LIVELY_SECONDS + 2)


async def test_reconciling_and_retrying(harness: BillingHarness, site: AppProcesses) -> None:
    """A dry run tells, a run that Stripe fails is retried, and heals."""
    await dead_events(harness)
    site.start_worker()
    console = Console(site, StaffRole.BILLING)
    dry = console.post("/reconciliations", dry_run=True)
    assert console.finished(dry.json()["job_id"])["state"] == "finished"
    (told,) = console.get("/reconciliations")["items"]
    assert told["dry_run"]
    assert told["differences"] == len(told["found"]) > 0
    assert told["healed"] == 0
    assert {found["account_id"] for found in told["found"]} <= {harness.holder.account_id, ""}
    assert harness.plans() == []
    harness.sandbox.fault(
        kind="status", when="before", method="GET", path="/v1/events", times=TRIES, status=503
    )
    failed = console.post("/reconciliations").json()["job_id"]
    job = console.finished(failed)
    assert job["state"] == "failed"
    assert "is not responding" in job["problem"]
    url = harness.services.database.url
    counted = await DbosJobs(client(url), harness.services.database).count_failed(
        harness.now - timedelta(days=1)
    )
    assert counted == {"reconcile_now": 1}
    assert failed in [row["id"] for row in console.get("/jobs", state="failed")["items"]]
    assert harness.plans() == []
    harness.sandbox.http.delete("/_sandbox/faults")
    retried = console.post(f"/jobs/{failed}/retry")
    assert retried.status_code == 202
    job = console.finished(retried.json()["job_id"])
    assert (job["state"], job["retry_of"]) == ("finished", failed)
    assert [plan["executions"] for plan in harness.plans()] == [5_000]
    healing = console.get("/reconciliations")["items"][0]
    assert not healing["dry_run"]
    assert healing["healed"] > 0
    again = console.post(f"/jobs/{failed}/retry")
    assert (again.status_code, again.json()["code"]) == (409, "job_retried")
    fine = console.post(f"/jobs/{retried.json()['job_id']}/retry")
    assert (fine.status_code, fine.json()["code"]) == (409, "job_not_failed")
    actions = harness.rows("SELECT action FROM audit_entries ORDER BY id")
    assert [row[0] for row in actions] == ["reconcile", "reconcile", "retry_job"]
    pages = console.get("/jobs", limit=2)
    more = console.get("/jobs", limit=2, cursor=pages["next_cursor"])["items"]
    ids = [row["id"] for row in pages["items"] + more]
    assert len(set(ids)) == len(ids) > 2


async def test_without_a_worker_nothing_changes(harness: BillingHarness) -> None:
    dead = await dead_events(harness)
    database = harness.services.database
    desk = DbosJobs(client(harness.url), database)
    rest: dict[str, Any] = {"reason": "Because", "now": harness.now}
    for attempt in (
        provider_events.replay_event(database, desk, BILLING, dead[0], **rest),
        reconciliations.run_reconciliation(database, desk, BILLING, dry_run=True, **rest),
        jobs.retry_job(database, desk, BILLING, "x", **rest),
        jobs.list_jobs(desk, BILLING),
    ):
        with pytest.raises(JobsUnavailableError):
            await attempt
    assert harness.rows("SELECT count(*) FROM audit_entries") == [(0,)]
    assert {row[0] for row in harness.rows("SELECT state FROM webhook_events")} == {"dead"}


async def test_events_page_by_page(harness: BillingHarness) -> None:
    await dead_events(harness)
    await harness.deliver()
    database, links = harness.services.database, harness.services.links
    seen: list[str] = []
    cursor = None
    while True:
        page = await provider_events.list_received(database, links, BILLING, limit=3, cursor=cursor)
        seen += [event.id for event in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    wanted = harness.rows("SELECT id FROM webhook_events ORDER BY received_at DESC, id DESC")
    assert seen == [row[0] for row in wanted]
    for where in (EventQuery(type="invoice.paid"), EventQuery(state=WebhookState.FAILED)):
        page = await provider_events.list_received(database, links, BILLING, where)
        assert all(event.type == where.type for event in page.items)
    other = await provider_events.list_received(
        database, links, BILLING, EventQuery(account_id=harness.holder.account_id), limit=200
    )
    assert len(other.items) > 0


async def test_refusals(harness: BillingHarness) -> None:
    dead = await dead_events(harness)
    database, links = harness.services.database, harness.services.links
    desk = DbosJobs(client(harness.url), database)
    rest: dict[str, Any] = {"reason": "Because", "now": harness.now}
    support = StaffActor("usr_s", "Su", StaffRole.SUPPORT)
    person = UserActor("usr_p", "Pa", "pa@example.com")
    for actor, error in ((support, StaffRoleMissingError), (person, ForbiddenError)):
        for attempt in (
            provider_events.replay_event(database, desk, actor, dead[0], **rest),
            reconciliations.run_reconciliation(database, desk, actor, dry_run=False, **rest),
            jobs.retry_job(database, desk, actor, "x", **rest),
        ):
            with pytest.raises(error):
                await attempt
    for attempt in (
        provider_events.list_received(database, links, person),
        provider_events.read_received(database, links, person, dead[0]),
        reconciliations.list_reconciliations(database, person),
        jobs.list_jobs(desk, person),
        jobs.read_job(desk, person, "x"),
    ):
        with pytest.raises(ForbiddenError):
            await attempt
    for event_id in ("evt_nothing", "\0", ""):
        with pytest.raises(ReceivedEventNotFoundError):
            await provider_events.replay_event(database, desk, BILLING, event_id, **rest)
    with pytest.raises(InvalidInputError):
        await provider_events.replay_event(
            database, desk, BILLING, dead[0], reason=" ", now=datetime.now(UTC)
        )
    await webhooks.set_state(database, dead[0], WebhookState.PROCESSED, harness.now)
    with pytest.raises(EventNotDeadError):
        await provider_events.replay_event(database, desk, BILLING, dead[0], **rest)

"""What staff should look at is counted, worded and led to; dead letters say why they died."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dbos import error as dbos_errors

from billing_app import routes
from billing_app.billing.actors import UserActor
from billing_app.billing.errors import ForbiddenError
from billing_app.billing.staff.operations.jobs import JobsUnavailableError
from billing_app.billing.staff.operations.provider_events import count_dead, events_ahead
from billing_app.billing.staff.operations.trouble import Trouble, read_trouble
from billing_app.billing.subscriptions.provider_errors import PaymentProviderUnavailableError
from billing_app.composition import build_services
from billing_app.db.enums import StaffRole
from billing_app.jobs.webhooks import cause_of
from billing_app.settings import Settings
from billing_app.states.staff.account_alerts import stuck_text
from billing_app.states.staff.operations import replayed
from billing_app.states.staff.page import SharedTrouble, trouble_lines
from tests.factories import connect, organization, staff_member

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@dataclass
class FailedJobs:
    """As the runner reports them."""

    failed: dict[str, int] = field(default_factory=dict[str, int])
    are_known: bool = True

    async def count_failed(self, since: datetime) -> dict[str, int]:
        if not self.are_known:
            raise JobsUnavailableError
        assert since == NOW - timedelta(days=1)
        return self.failed


def add_event(url: str, event_id: str, state: str, customer: str = "", **dispute: Any) -> None:
    kind = "charge.dispute.created" if dispute else "invoice.paid"
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO webhook_events (id, type, object_id, customer_id, payload, state,"
            " attempts, occurred_at, received_at) VALUES (%s, %s, '', %s, %s, %s, 1, %s, %s)",
            [event_id, kind, customer, json.dumps({"data": {"object": dispute}}), state, NOW, NOW],
        )


async def test_trouble_is_counted(settings: Settings, own_database_url: str) -> None:
    url = own_database_url
    services = build_services(settings, url)
    support, jobs = staff_member(url, StaffRole.SUPPORT), FailedJobs()

    async def found() -> Trouble:
        return await read_trouble(services.database, jobs, services.disputes, support, NOW)  # pyright: ignore[reportArgumentType]

    assert await found() == Trouble()
    add_event(url, "evt_1", "dead")
    add_event(url, "evt_2", "processed")
    due = int((NOW + timedelta(days=3)).timestamp())
    about = {"id": "dp_1", "charge": "ch_1", "amount": 100, "currency": "usd", "created": due}
    details = {"due_by": due, "has_evidence": False, "past_due": False, "submission_count": 0}
    add_event(url, "evt_3", "processed", **about, status="needs_response", evidence_details=details)
    jobs.failed = {"top_up": 2, "reconcile_hourly": 1}
    with connect(url) as connection:
        for ago, differences, healed in ((2, 9, 0), (1, 3, 1)):
            connection.execute(
                "INSERT INTO reconciliations (began_at, finished_at, differences, healed)"
                " VALUES (%s, %s, %s, %s)",
                [NOW - timedelta(hours=ago), NOW, differences, healed],
            )
    counted = await found()
    assert counted == Trouble(1, 2, 1, 1, NOW + timedelta(days=3), 2)
    assert counted.total == 7
    jobs.are_known = False
    assert (await found()).failed_jobs == 0
    with pytest.raises(ForbiddenError):
        await read_trouble(
            services.database,
            jobs,  # pyright: ignore[reportArgumentType]
            services.disputes,
            UserActor("usr_p", "Pa", "pa@example.com"),
            NOW,
        )
    await services.close()


def test_trouble_leads_to_its_list() -> None:
    lines = trouble_lines(Trouble(1, 2, 1, 1, datetime(2026, 12, 3, tzinfo=UTC), 2, 1, "acc_1"))
    assert [line.text for line in lines] == [
        "1 dead letter",
        "2 failed jobs",
        "1 failed reconciliation",
        "2 open differences with Stripe",
        "1 lease with reports that could not be counted",
        "1 dispute without evidence, due by 3 December 2026",
    ]
    account = [line for line in lines if line.href == routes.staff_customer("acc_1")]
    assert [line.text.partition(" with ")[0] for line in account] == ["1 lease"]
    others = [line for line in lines if line not in account]
    assert all(line.href.startswith(f"{routes.STAFF_OPERATIONS}?part=") for line in others)
    assert trouble_lines(Trouble()) == []
    (two,) = trouble_lines(Trouble(disputes=2, evidence_due_at=datetime(2026, 12, 3, tzinfo=UTC)))
    assert two.text == "2 disputes without evidence, the first due by 3 December 2026"


async def test_pages_share_a_count() -> None:
    asked: list[datetime] = []

    async def read(now: datetime) -> Trouble:
        asked.append(now)
        return Trouble(dead_letters=1)

    shared = SharedTrouble()
    assert [(await shared.of(read)).total for _ in range(3)] == [1, 1, 1]
    assert len(asked) == 1


async def test_account_says_that_its_events_are_stuck(
    settings: Settings, own_database_url: str
) -> None:
    url, services = own_database_url, build_services(settings, own_database_url)
    holder, support = organization(url, 5), staff_member(url, StaffRole.SUPPORT)
    assert await count_dead(services.database, support, holder.account_id) == 0
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO provider_customers (account_id, customer_id, created_at)"
            " VALUES (%s, 'cus_1', now())",
            [holder.account_number],
        )
    for number, state in enumerate(("dead", "received", "failed", "processed")):
        add_event(url, f"evt_{number}", state, "cus_1")
    add_event(url, "evt_other", "received", "cus_2")
    assert await count_dead(services.database, support, holder.account_id) == 1
    assert await events_ahead(services.database, support, "evt_0") == 2
    assert await events_ahead(services.database, support, "evt_other") == 0
    await services.close()


def test_words_of_stuck_events() -> None:
    assert stuck_text(0) == ""
    assert stuck_text(1).startswith("1 event from Stripe is stuck")
    assert replayed(0) == "The event is being processed again."
    assert replayed(1) == "The event is processed again after 1 other event of the same customer."


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (lambda: KeyError("plan"), "KeyError: 'plan'"),
        (TimeoutError, "TimeoutError"),
        (PaymentProviderUnavailableError, "The payment provider is not responding"),
        (lambda: ValueError("x" * 999), "ValueError: " + "x" * 488),
    ],
)
def test_dead_letter_keeps_the_last_cause_in_words(
    error: Callable[[], Exception], told: str
) -> None:
    assert cause_of(error()) == told
    retried = dbos_errors.DBOSMaxStepRetriesExceeded("apply_event", 8, [OSError("first"), error()])
    assert cause_of(retried) == told

"""What the console says of figures, days and plans."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from billing_app.billing.actors import StaffActor
from billing_app.billing.plans.service import PlanState, PlanView
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.audit.audit_reading import view_of
from billing_app.billing.staff.audit.audit_writing import BY_CUSTOMER, CustomerAction
from billing_app.billing.staff.operations.jobs import JobState, JobView
from billing_app.billing.staff.operations.metrics import Money
from billing_app.billing.staff.operations.provider_events import ReceivedEvent
from billing_app.db.enums import AuditRole, PlanSource, PlanType, StaffRole, WebhookState
from billing_app.db.tables import AuditEntry
from billing_app.states import formatting
from billing_app.states.staff.audit_entries import entry_line
from billing_app.states.staff.customer_views import plan_line
from billing_app.states.staff.operations import job_line, webhook_line
from billing_app.states.staff.overview import near_note, owed_note

BEGAN, ENDS = datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 12, 17, 9, tzinfo=UTC)
AT = datetime(2026, 11, 26, 11, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("accounts", "owed", "said"),
    [
        (0, [], "no payments overdue"),
        (1, [Money("USD", 7_900, 1)], "account owes $79.00"),
        (2, [Money("USD", 7_900, 1), Money("EUR", 500, 1)], "accounts owe $79.00, €5.00"),
    ],
)
def test_owed_note(accounts: int, owed: list[Money], said: str) -> None:
    assert owed_note(accounts, owed) == said


def test_debts_of_ended_subscriptions_are_in_the_note() -> None:
    ended = [Money("USD", 500, 2)]
    assert owed_note(0, [], ended) == "no payments overdue, ended subscriptions $5.00"
    assert owed_note(1, ended, ended) == "account owes $5.00, ended subscriptions $5.00"


def test_near_limit_note() -> None:
    assert near_note(0, None) == "not calculated yet"
    assert near_note(1, AT) == "account has used 80% or more, as of 11:12 UTC"
    assert near_note(0, AT) == "accounts have used 80% or more, as of 11:12 UTC"


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (date(2026, 11, 23), date(2026, 12, 23), "23 Nov \N{EN DASH} 23 Dec 2026"),
        (date(2026, 12, 23), date(2027, 1, 23), "23 Dec 2026 \N{EN DASH} 23 Jan 2027"),
        (AT, AT.replace(hour=23), "26 Nov 2026"),
    ],
)
def test_days_between(first: date, last: date, said: str) -> None:
    assert formatting.days_between(first, last) == said


@pytest.mark.parametrize(
    ("plan", "dates"),
    [
        ({}, "Not started, ends 17 Dec 2026"),
        ({"ends_at": None}, "Not started, no end date"),
        ({"ended_at": BEGAN}, "Not started, ended 23 Nov 2026"),
        ({"began_at": BEGAN}, "23 Nov \N{EN DASH} 17 Dec 2026"),
        ({"began_at": BEGAN, "ends_at": None}, "Since 23 Nov 2026, no end date"),
        ({"began_at": BEGAN, "ended_at": BEGAN}, "23 Nov 2026"),
    ],
)
def test_plan_dates(plan: dict[str, Any], dates: str) -> None:
    assert plan_line(plan_view(**plan)).dates == dates


@pytest.mark.parametrize(
    ("held", "told"),
    [(0, "26,161 of 60,000 used"), (12, "26,161 of 60,000 used, 12 reserved")],
)
def test_plan_usage(held: int, told: str) -> None:
    assert plan_line(plan_view(held=held)).usage == told


def plan_view(**more: Any) -> PlanView:
    plan = {
        "id": "plan_1",
        "sequence": 1,
        "type": PlanType.PAID,
        "name": "Growth",
        "source": PlanSource.SUBSCRIPTION,
        "state": PlanState.CURRENT,
        "executions": 60_000,
        "used": 26_161,
        "held": 0,
        "remaining": 33_839,
        "starts_at": BEGAN,
        "ends_at": ENDS,
        "began_at": None,
        "began_because": None,
        "ended_at": None,
        "ended_because": None,
        "paused_at": None,
    }
    return PlanView(**(plan | more))


@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("2026-11-26 11:16:30+00:00", "26 Nov, 11:16:30"),
        ("2026-11-26 11:16:30+00:00, False", "26 Nov, 11:16:30, False"),
        ("evt_c5f35b1f4ae6f34b3d", "evt_c5f35b1f4ae6f34b3d"),
        ("", ""),
    ],
)
def test_job_subject(subject: str, told: str) -> None:
    job = JobView(
        id="job",
        name="top_up",
        state=JobState.FINISHED,
        queue="",
        subject=subject,
        problem="",
        attempts=1,
        retry_of=None,
        created_at=AT,
        updated_at=AT,
        finished_at=AT,
    )
    line = job_line(job)
    assert (line.name, line.subject) == ("Top up", told)


@pytest.mark.parametrize(
    ("state", "finished_at", "told"),
    [
        (WebhookState.PROCESSED, AT, "Processed"),
        (WebhookState.PROCESSED, None, "Ignored"),
        (WebhookState.RECEIVED, None, "Waiting"),
    ],
)
def test_webhook_state(state: WebhookState, finished_at: datetime | None, told: str) -> None:
    event = ReceivedEvent(
        id="evt_1",
        type="test_helpers.test_clock.ready",
        object_id="",
        customer_id="",
        account_id=None,
        state=state,
        attempts=0,
        replays=0,
        problem="",
        occurred_at=AT,
        received_at=AT,
        finished_at=finished_at,
        provider_url="",
    )
    assert webhook_line(event, {}).state == told


def test_entry_of_a_customer() -> None:
    entry = AuditEntry(
        id=1,
        at=AT,
        actor_id="usr_ada",
        actor_name="Ada",
        role=AuditRole.CUSTOMER,
        action=CustomerAction.CHANGE_BILLING_EMAIL,
        account_id=7,
        own_account=True,
        reason=BY_CUSTOMER,
        before={"billing_email": ""},
        after={"billing_email": "new@example.com"},
    )
    line = entry_line(view_of(entry), StaffActor("usr_1", "Robin", StaffRole.ADMIN), {}, {})
    assert (line.who, line.role, line.what) == ("Ada", "Customer", "Changed the billing email")
    assert line.figures == "Billing email: none \N{RIGHTWARDS ARROW} new@example.com"
    assert (line.is_own_account, line.can_undo) == (False, False)


@pytest.mark.parametrize(
    ("action", "subject", "before", "after", "told"),
    [
        (
            Action.EDIT_OFFER,
            "growth",
            {"currency": "USD", "price_minor": 7_900, "interval": "month"},
            {"currency": "USD", "price_minor": 9_900, "interval": "year"},
            ("Offer growth", "Price: $79.00 → $99.00 · Interval: monthly → yearly"),
        ),
        (Action.REMOVE_STAFF, "ada@example.com", {}, {}, ("ada@example.com", "")),
        (
            Action.END_PORTAL_SESSIONS,
            "ada-7",
            {"sessions": 1},
            {"sessions": 0},
            ("Person ada-7", "Sessions: 1 → 0"),
        ),
        (Action.SIGN_OUT, "usr_1", {"sessions": 2}, {"sessions": 0}, ("Ada", "Sessions: 2 → 0")),
        (
            Action.REPLAY_EVENT,
            "evt_1",
            {"state": "dead"},
            {"state": "received"},
            ("Event evt_1", "State: dead letter → waiting"),
        ),
        (
            Action.RECONCILE,
            "",
            {},
            {"job_id": "reconcile_1", "dry_run": True},
            ("Run reconcile_1", "Report only: yes"),
        ),
        (
            Action.RETRY_JOB,
            "j1",
            {"state": "failed"},
            {"name": "top_up", "job_id": "j2"},
            ("Job top up j1", "State: failed"),
        ),
        (
            Action.ADJUST,
            "pln_1",
            {},
            {"executions": 5, "event": 1},
            ("Plan Starter", "Executions: 5"),
        ),
    ],
)
def test_entry_names_its_subject_and_words_its_figures(
    action: Action, subject: str, before: Any, after: Any, told: tuple[str, str]
) -> None:
    entry = AuditEntry(
        id=1,
        at=AT,
        actor_id="usr_s",
        actor_name="Sam",
        role=AuditRole.ADMIN,
        action=action,
        subject=subject,
        reason="Because",
        before=before,
        after=after,
    )
    names = {"usr_1": "Ada", "pln_1": "Starter"}
    line = entry_line(view_of(entry), StaffActor("usr_1", "Robin", StaffRole.ADMIN), {}, names)
    assert (line.subject, line.figures) == told

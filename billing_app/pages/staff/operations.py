"""Operations: webhooks with dead letters, reconciliation with Stripe, background jobs."""

from collections.abc import Mapping
from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.operations.jobs import JobSort
from billing_app.billing.staff.operations.provider_events import EventSort
from billing_app.components.cards import live_indicator, page_head
from billing_app.components.controls import Handler, native_link
from billing_app.components.dialogs import (
    choice_field,
)
from billing_app.components.feedback import empty, notice
from billing_app.components.listing import (
    Column,
    Paging,
    filter_days,
    filter_select,
    lead_cell,
    listing,
    search_box,
)
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell
from billing_app.db.enums import WebhookState
from billing_app.pages.staff.account_link import account_link
from billing_app.pages.staff.action_dialog import action_dialog
from billing_app.pages.staff.comparisons import comparing
from billing_app.pages.staff.frame import console
from billing_app.states.staff import operations as names
from billing_app.states.staff.audit_entries import JOB_STATES, WEBHOOK_STATES
from billing_app.states.staff.listing import ALL, FIRST_DAY, LAST_DAY
from billing_app.states.staff.operations import StaffOperationsState as State
from billing_app.states.staff.views import JobLine, WebhookLine

WEBHOOKS = Paging(State, names.WEBHOOKS)
JOBS = Paging(State, names.JOBS)


def staff_operations() -> rx.Component:
    """Three tabs; each refreshes by itself."""
    tabs = (
        (names.WEBHOOKS, "Webhooks", _webhooks),
        (names.COMPARING, "Reconciliation", comparing),
        (names.JOBS, "Jobs", _jobs),
    )
    return console(
        rx.fragment(
            page_head(
                "Operations",
                "Webhooks, reconciliation and background jobs",
                live_indicator(is_broken=State.is_broken),
            ),
            rx.cond(
                State.adoption_advice != "",
                notice(
                    tone="warning",
                    title="Nothing is written to Stripe",
                    text=State.adoption_advice,
                ),
            ),
            rx.tabs.root(
                rx.tabs.list(
                    *[rx.tabs.trigger(text, value=name) for name, text, _ in tabs],
                    class_name="tabs",
                ),
                *[
                    rx.tabs.content(rx.el.div(draw(), class_name="tab"), value=name)
                    for name, _, draw in tabs
                ],
                value=State.part,
                on_change=State.choose_part,
            ),
            _dialogs(),
        ),
        path=routes.STAFF_OPERATIONS,
        state=State,
    )


def _webhooks() -> rx.Component:
    return listing(
        "Webhooks",
        (
            Column("Received (UTC)", EventSort.RECEIVED, is_wide_only=True),
            Column("Type", EventSort.TYPE, is_lead=True),
            Column("Event", is_wide_only=True),
            Column("Status"),
            Column("Attempts", is_right=True, is_wide_only=True),
            Column("Error", is_wide_only=True),
            Column(ACTIONS, is_right=True),
        ),
        rows=State.webhooks,
        row=_webhook,
        paging=WEBHOOKS,
        tools=(
            _states(WEBHOOKS, WEBHOOK_STATES | {names.IGNORED: names.IGNORED_LABEL}),
            search_box(WEBHOOKS, names.TYPE, "Type", "Type: invoice.", is_small=True),
            filter_days(WEBHOOKS, FIRST_DAY, LAST_DAY),
        ),
        when_empty=empty(
            icon="webhook",
            title="No events",
            text="Events from Stripe appear here as they arrive.",
        ),
    )


def _webhook(row: ObjectVar[WebhookLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.received, "soft wide-only"),
        lead_cell(
            rx.el.span(
                rx.el.span(row.type, class_name="row-text"),
                account_link(row.account_id, row.account),
                class_name="row-title",
            ),
            row.received,
            "strong clip-wide",
        ),
        cell(_event_id(row), "soft wide-only"),
        cell(badge(row.state, row.tone)),
        cell(row.attempts, "right soft wide-only"),
        cell(row.error, "soft clip wide-only"),
        cell(
            rx.cond(
                row.state == WEBHOOK_STATES[WebhookState.DEAD][0],
                _row_button(
                    "Replay",
                    row.event_id,
                    State.ask(names.REPLAY, row.event_id),
                    Action.REPLAY_EVENT,
                ),
            ),
            "right",
        ),
        key=row.event_id,
    )


def _event_id(row: ObjectVar[WebhookLine]) -> rx.Component:
    return rx.cond(
        row.provider_url != "",
        native_link(
            row.event_id,
            href=row.provider_url,
            class_name="text-link",
            custom_attrs={"target": "_blank", "rel": "noreferrer"},
        ),
        rx.el.code(row.event_id, class_name="code"),
    )


def _jobs() -> rx.Component:
    return rx.fragment(
        rx.cond(
            State.has_no_worker,
            notice(
                tone="warning",
                title="No worker has run on this database yet",
                text="Start one: python -m billing_app worker",
            ),
        ),
        listing(
            "Jobs",
            (
                Column("Created (UTC)", JobSort.CREATED, is_wide_only=True),
                Column("Job", is_lead=True),
                Column("Subject", is_wide_only=True),
                Column("Status"),
                Column("Error", is_wide_only=True),
                Column(ACTIONS, is_right=True),
            ),
            rows=State.jobs,
            row=_job,
            paging=JOBS,
            tools=(
                _states(JOBS, JOB_STATES),
                search_box(JOBS, names.NAME, "Job", "Job: top up", is_small=True),
                filter_days(JOBS, FIRST_DAY, LAST_DAY),
            ),
            when_empty=empty(
                icon="cog", title="No jobs", text="Background jobs appear here as they run."
            ),
        ),
    )


def _job(row: ObjectVar[JobLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.created, "soft wide-only"),
        lead_cell(row.name, row.created, "strong clip-wide"),
        cell(row.subject, "soft clip wide-only"),
        cell(badge(row.state, row.tone)),
        cell(row.problem, "soft clip-wide wide-only"),
        cell(
            rx.cond(
                row.can_retry,
                _row_button(
                    "Retry", row.name, State.ask(names.RETRY, row.job_id), Action.RETRY_JOB
                ),
            ),
            "right",
        ),
        key=row.job_id,
    )


def _states(paging: Paging, states: Mapping[Any, tuple[str, str]]) -> rx.Component:
    choices = [(str(state), text) for state, (text, _) in states.items()]
    return filter_select(paging, names.STATE, "Status", ((ALL, "Any status"), *choices))


def _row_button(text: str, what: rx.Var[str], on_click: Handler, action: Action) -> rx.Component:
    return rx.cond(
        State.allowed.contains(action.value),
        rx.el.button(
            text,
            type="button",
            class_name="button small",
            on_click=on_click,
            custom_attrs={"aria-label": f"{text}: {what}"},
        ),
    )


def _dialogs() -> rx.Component:
    modes = [
        rx.el.option("Repair differences", value="heal"),
        rx.el.option("Report differences only", value="tell"),
    ]
    return rx.fragment(
        action_dialog(
            State,
            names.REPLAY,
            title="Replay the event",
            text="Fetches the object from Stripe again and applies it. Safe to repeat.",
            on_submit=State.replay,
        ),
        action_dialog(
            State,
            names.RECONCILE,
            choice_field("Mode", "mode", [*modes]),
            title="Reconcile with Stripe",
            text="Compares every subscription, invoice and customer in the background.",
            on_submit=State.reconcile,
        ),
        action_dialog(
            State,
            names.RETRY,
            title="Retry the job",
            text="Runs it again as a new job, from the step that failed.",
            on_submit=State.retry,
        ),
    )

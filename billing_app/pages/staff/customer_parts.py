"""The parts of an account's page, one a tab."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.billing.staff.permissions import Action
from billing_app.components.cards import card
from billing_app.components.charts.chart import chart, legend
from billing_app.components.controls import Handler, native_link
from billing_app.components.feedback import empty
from billing_app.components.listing import Column, listing, paging_of
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell, table
from billing_app.pages.staff.entries import ENTRY_COLUMNS, entry_row, no_entries
from billing_app.states.staff.customer import StaffCustomerState as State
from billing_app.states.staff.repairs import SIGN_OUT
from billing_app.states.staff.views import (
    HoldLine,
    InvoiceLine,
    KeyLine,
    PlanLine,
    SessionLine,
    SubscriptionLine,
    WebhookLine,
)
from billing_app.states.views import EventRow

CHART_HEIGHT_PX = 220


def summary() -> rx.Component:
    """The plans, and the last thirty days."""
    return rx.fragment(
        card(
            table(
                "Plans",
                ("Plan", "State", "Used", "On hold", "Executions", "Dates", ACTIONS),
                rows=State.plans,
                row=_plan,
                right=("Used", "On hold", "Executions", ACTIONS),
                wide_only=("Used", "On hold", "Dates"),
                when_empty=empty(
                    icon="layers", title="No plans", words="Grant executions to give them one."
                ),
                dense=True,
            ),
            title="Plans",
            note="Newest first; they are used from the oldest on",
            flush=True,
        ),
        card(
            rx.cond(
                State.keys.length() > 0,
                rx.fragment(
                    chart(
                        State.figure,
                        label="Executions per day by workflow over 30 days",
                        height_px=CHART_HEIGHT_PX,
                    ),
                    legend(State.keys),
                ),
                empty(
                    icon="chart-column",
                    title="No executions in the last 30 days",
                    words="The first one appears here a few seconds after it happens.",
                ),
            ),
            title="Executions per day",
            note="Last 30 days by workflow",
        ),
    )


def _plan(plan: ObjectVar[PlanLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.fragment(
                rx.el.span(plan.name, class_name="row-link"),
                " ",
                rx.el.span(plan.source, class_name="row-note wide-only"),
            ),
            "clip-wide",
        ),
        cell(badge(plan.state, plan.tone)),
        cell(plan.used, "right wide-only"),
        cell(plan.held, "right soft wide-only"),
        cell(plan.executions, "right strong"),
        cell(plan.dates, "soft wide-only"),
        cell(
            rx.cond(
                plan.is_open,
                rx.cond(
                    plan.is_paused,
                    _row_button(
                        "Resume",
                        plan.name,
                        State.ask("resume", plan.plan_id, plan.name),
                        Action.RESUME,
                    ),
                    _row_button(
                        "Pause",
                        plan.name,
                        State.ask("pause", plan.plan_id, plan.name),
                        Action.PAUSE,
                    ),
                ),
            ),
            "right",
        ),
        key=plan.plan_id,
    )


def ledger() -> rx.Component:
    """Every event, newest first."""
    return listing(
        "Ledger",
        (
            Column("Time (UTC)"),
            Column("Event", is_wide_only=True),
            Column("Workflow"),
            Column("User", is_wide_only=True),
            Column("Kind", is_wide_only=True),
            Column("Executions", is_right=True),
            Column("Left after", is_right=True, is_wide_only=True),
            Column(ACTIONS, is_right=True),
        ),
        rows=State.events,
        row=_event,
        paging=paging_of(State),
        when_empty=empty(
            icon="activity", title="Nothing has run yet", words="Events come here as they happen."
        ),
    )


def _event(row: ObjectVar[EventRow]) -> rx.Component:
    return rx.el.tr(
        cell(row.at, "soft"),
        cell(rx.el.code(row.event_id, class_name="code"), "soft wide-only"),
        cell(row.workflow, "strong clip"),
        cell(row.user, "soft clip wide-only"),
        cell(rx.cond(row.tone != "", badge(row.kind, row.tone), row.kind), "soft wide-only"),
        cell(row.executions, "right strong"),
        cell(row.remaining, "right soft wide-only"),
        cell(
            rx.cond(
                (row.kind == "Used") | (row.kind == "Used after hold"),
                _row_button(
                    "Refund", row.event_id, State.ask("refund", row.event_id, ""), Action.REFUND
                ),
            ),
            "right",
        ),
        key=row.event_id,
        class_name=rx.cond(row.is_new, "arrived", ""),
    )


def holds() -> rx.Component:
    """What is held for runs that have begun, and what became of it."""
    return listing(
        "Reservations",
        (
            Column("Begun (UTC)"),
            Column("Reservation", is_wide_only=True),
            Column("Workflow"),
            Column("User", is_wide_only=True),
            Column("State"),
            Column("Executions", is_right=True),
            Column("Ended or ends (UTC)", is_right=True, is_wide_only=True),
        ),
        rows=State.holds,
        row=_hold,
        paging=paging_of(State),
        when_empty=empty(
            icon="hourglass",
            title="No reservations",
            words="A service that reserves executions before a run makes one.",
        ),
    )


def _hold(row: ObjectVar[HoldLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.created, "soft"),
        cell(rx.el.code(row.reservation_id, class_name="code"), "soft wide-only"),
        cell(row.workflow, "strong clip"),
        cell(row.user, "soft clip wide-only"),
        cell(badge(row.status, row.tone)),
        cell(row.executions, "right strong"),
        cell(row.ends, "right soft wide-only"),
        key=row.reservation_id,
    )


def money() -> rx.Component:
    """Subscriptions and invoices, with the provider's own pages."""
    return rx.fragment(
        card(
            table(
                "Subscriptions",
                ("Offer", "Price", "State", "Period", "Next", "Stripe"),
                rows=State.subscriptions,
                row=_subscription,
                wide_only=("Price", "Period"),
                when_empty=empty(
                    icon="repeat", title="No subscription", words="They have never had one."
                ),
                dense=True,
            ),
            title="Subscriptions",
            flush=True,
        ),
        listing(
            "Invoices",
            (
                Column("Number"),
                Column("State"),
                Column("Amount", is_right=True),
                Column("Issued", is_right=True, is_wide_only=True),
                Column("Stripe", is_right=True),
            ),
            rows=State.invoices,
            row=_invoice,
            paging=paging_of(State),
            when_empty=empty(
                icon="receipt-text",
                title="No invoices",
                words="The first one comes with a payment.",
            ),
        ),
    )


def _subscription(row: ObjectVar[SubscriptionLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.offer, "strong"),
        cell(row.price, "soft wide-only"),
        cell(badge(row.status, row.tone)),
        cell(row.period, "soft wide-only"),
        cell(row.note, "soft"),
        cell(_outside(row.provider_url, row.provider_id)),
        key=row.provider_id,
    )


def _invoice(row: ObjectVar[InvoiceLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.cond(
                row.page_url != "",
                native_link(
                    row.number,
                    href=row.page_url,
                    class_name="text-link",
                    custom_attrs={"target": "_blank", "rel": "noreferrer"},
                ),
                row.number,
            )
        ),
        cell(badge(row.status, row.tone)),
        cell(row.amount, "right strong"),
        cell(row.issued, "right soft wide-only"),
        cell(_outside(row.provider_url, row.invoice_id), "right"),
        key=row.invoice_id,
    )


def _outside(url: rx.Var[str], words: rx.Var[str]) -> rx.Component:
    """A link to the provider's page, or the bare id where there is none."""
    return rx.cond(
        url != "",
        native_link(
            words,
            rx.icon("external-link", aria_hidden="true"),
            href=url,
            class_name="text-link outside",
            custom_attrs={"target": "_blank", "rel": "noreferrer"},
        ),
        rx.el.code(words, class_name="code"),
    )


def webhooks() -> rx.Component:
    """What Stripe sent about this account."""
    return listing(
        "Webhooks",
        (
            Column("Received (UTC)"),
            Column("Type"),
            Column("Event", is_wide_only=True),
            Column("State"),
            Column("Tries", is_right=True, is_wide_only=True),
            Column("Problem", is_wide_only=True),
        ),
        rows=State.webhooks,
        row=_webhook,
        paging=paging_of(State),
        when_empty=empty(
            icon="webhook", title="Nothing came", words="Stripe has sent nothing about them."
        ),
    )


def _webhook(row: ObjectVar[WebhookLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.received, "soft"),
        cell(row.type, "strong clip-wide"),
        cell(_outside(row.provider_url, row.event_id), "soft wide-only"),
        cell(badge(row.state, row.tone)),
        cell(row.attempts, "right soft wide-only"),
        cell(row.error, "soft clip wide-only"),
        key=row.event_id,
    )


def access() -> rx.Component:
    """Service keys, and browsers that are signed in."""
    return rx.fragment(
        card(
            table(
                "Keys",
                ("Name", "Begins with", "Scopes", "State", "Made"),
                rows=State.service_keys,
                row=_key,
                right=("Made",),
                wide_only=("Scopes", "Made"),
                when_empty=empty(
                    icon="key-round",
                    title="No keys of their own",
                    words="Services with keys of the platform may still count for them.",
                ),
                dense=True,
            ),
            title="Keys",
            flush=True,
        ),
        listing(
            "Sessions",
            (
                Column("Person"),
                Column("Browser", is_wide_only=True),
                Column("Since (UTC)"),
                Column("Ends (UTC)", is_wide_only=True),
                Column(ACTIONS, is_right=True),
            ),
            rows=State.browsers,
            row=_browser,
            paging=paging_of(State),
            when_empty=empty(
                icon="monitor", title="Nobody is signed in", words="Browsers that sign in are here."
            ),
        ),
    )


def _key(row: ObjectVar[KeyLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.name, "strong clip"),
        cell(rx.el.code(row.hint, class_name="code")),
        cell(row.scopes, "soft wide-only"),
        cell(badge(row.state, row.tone)),
        cell(row.created, "right soft wide-only"),
        key=row.key_id,
    )


def _browser(row: ObjectVar[SessionLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.person, "strong clip"),
        cell(row.browser, "soft clip-wide wide-only"),
        cell(row.since, "soft"),
        cell(row.ends, "soft wide-only"),
        cell(
            rx.cond(
                row.is_live,
                _row_button(
                    "Sign out",
                    row.person,
                    State.ask(SIGN_OUT, row.user_id, row.person),
                    Action.SIGN_OUT,
                ),
                badge("Has run out"),
            ),
            "right",
        ),
        key=row.row,
    )


def audit() -> rx.Component:
    """What the staff did to this account, with the ways to take it back."""
    return listing(
        "Audit",
        ENTRY_COLUMNS,
        rows=State.entries,
        row=lambda row: entry_row(row, State.undo, with_account=False),
        paging=paging_of(State),
        when_empty=no_entries(),
    )


def _row_button(words: str, whom: rx.Var[Any], on_click: Handler, action: Action) -> rx.Component:
    return rx.cond(
        State.allowed.contains(action.value),
        rx.el.button(
            words,
            type="button",
            class_name="button small",
            on_click=on_click,
            custom_attrs={"aria-label": f"{words}: {whom}"},
        ),
    )

"""BillingDashboard: what is left, the pace, and recent executions."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.cards import bare_card, card, columns, live_indicator, page_head
from billing_app.components.charts.chart import chart, legend
from billing_app.components.controls import native_link
from billing_app.components.feedback import empty, notice
from billing_app.components.numbers import badge, meter, stat, stats
from billing_app.components.tables import table
from billing_app.pages.events import (
    EVENT_HEADS,
    EVENT_HEADS_RIGHT,
    EVENT_HEADS_WIDE_ONLY,
    event_row,
)
from billing_app.pages.first_steps import first_steps, next_steps
from billing_app.pages.frame import frame
from billing_app.pages.notices import debit_notices, nothing_follows, result_of, warning_actions
from billing_app.states.billing_dashboard import BillingDashboardState as State
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.views import HoldingView

CHART_HEIGHT_PX = 260


def billing_dashboard() -> rx.Component:
    """Composes the page."""
    return frame(
        rx.fragment(
            page_head("Dashboard", State.account.name, live_indicator(is_broken=State.is_broken)),
            result_of(OfferDialogState),
            debit_notices(State.debits),
            next_steps(),
            _warning(),
            rx.cond(
                State.is_new,
                rx.fragment(first_steps(), _balance()),
                rx.fragment(columns(_balance(), _stats()), _chart(), _events()),
            ),
        ),
        path=routes.DASHBOARD,
        state=State,
    )


def _warning() -> rx.Component:
    balance = State.balance
    return rx.cond(
        balance.warning_title != "",
        notice(
            tone=balance.warning_tone,
            title=balance.warning_title,
            text=balance.warning_text,
            actions=warning_actions(
                balance.warning_action,
                balance.warning_label,
                raise_limit=rx.link(
                    "Raise the limit",
                    href=f"{routes.OVERVIEW}#spending",
                    class_name="button strong",
                ),
                see_plans=rx.link(
                    "See plans", href=f"{routes.OVERVIEW}#plans", class_name="button"
                ),
            ),
        ),
    )


def _balance() -> rx.Component:
    balance, has_holdings = State.balance, State.holdings.length() > 0
    return bare_card(
        rx.cond(
            balance.has_plan,
            rx.el.div(
                rx.cond(State.terms.name != "", _subscription(), _plan_in_use()),
                rx.el.div(
                    rx.el.span(balance.remaining, class_name="balance-number", id="remaining"),
                    rx.el.span(balance.of_total, class_name="balance-of"),
                    class_name="balance-figure",
                ),
                _pace(),
                rx.el.div(
                    meter(
                        percent=balance.left_percent,
                        held_percent=balance.held_percent,
                        tone=balance.tone,
                        label="Executions left",
                        value=f"{balance.remaining} {balance.of_total}",
                        segments=rx.foreach(State.holdings, _segment),
                    ),
                    class_name="balance-bar",
                ),
                rx.el.div(
                    rx.el.span(balance.used, class_name="number"),
                    rx.cond(balance.held != "", rx.el.span(balance.held, class_name="number")),
                    rx.cond(~has_holdings, rx.el.span(balance.period)),
                    class_name="balance-foot",
                ),
                rx.cond(has_holdings, _holdings()),
                rx.cond(balance.follows != "", rx.el.p(balance.follows, class_name="balance-next")),
                rx.cond(balance.nothing_follows, nothing_follows()),
                class_name="balance",
            ),
            empty(
                icon="package-open",
                title=State.no_plan.title,
                text=State.no_plan.text,
            ),
        )
    )


def _subscription() -> rx.Component:
    """What is subscribed to, whatever is used next."""
    terms = State.terms
    return rx.el.div(
        rx.el.div(
            rx.el.h2(terms.name, class_name="card-title"),
            rx.el.span(terms.price, class_name="number"),
            class_name="balance-plan",
        ),
        rx.el.p(terms.text, class_name="balance-terms"),
    )


def _plan_in_use() -> rx.Component:
    balance = State.balance
    return rx.el.div(
        rx.el.h2(balance.plan_name, class_name="card-title"),
        rx.cond(balance.plan_name != balance.plan_type, badge(balance.plan_type, "accent")),
        class_name="balance-plan",
    )


def _segment(held: ObjectVar[HoldingView]) -> rx.Component:
    """Of the bar, as wide as what is left; none for what is beyond the plans, or all reserved."""
    return rx.cond(
        held.weight.to(int) > 0,
        rx.el.div(
            class_name=f"meter-segment {held.shade}", style={"flex-grow": held.weight.to(str)}
        ),
    )


def _holdings() -> rx.Component:
    return rx.el.ol(
        rx.foreach(State.holdings, _holding),
        class_name=f"holdings {State.balance.tone}",
        custom_attrs={"aria-label": "In the order of use"},
    )


def _holding(held: ObjectVar[HoldingView]) -> rx.Component:
    raise_limit = rx.link(
        "Raise the limit", href=f"{routes.OVERVIEW}#spending", class_name="text-link"
    )
    return rx.el.li(
        rx.el.span(class_name=f"holding-mark {held.shade}", custom_attrs={"aria-hidden": "true"}),
        rx.el.span(held.name, class_name="holding-name"),
        rx.el.span(held.left, class_name="holding-left number"),
        rx.el.span(
            held.ends,
            rx.cond(held.may_raise & State.account.may_manage, raise_limit),
            class_name="holding-ends",
        ),
        class_name="holding",
    )


def _pace() -> rx.Component:
    return rx.el.p(
        rx.el.strong(State.balance.pace),
        rx.cond(State.balance.runs_out != "", f", {State.balance.runs_out}", ""),
        class_name="balance-text",
    )


def _stats() -> rx.Component:
    return bare_card(
        stats(
            stat("Today", State.today.value, State.today.hint, href=routes.USAGE),
            stat("Pace", State.pace.value, State.pace.hint, href=routes.USAGE),
            stat("Last 30 days", State.month.value, State.month.hint, href=routes.USAGE),
            stat(
                "Refused",
                State.denied.value,
                State.denied.hint,
                href=routes.USAGE,
                tone=State.denied.tone,
            ),
        )
    )


def _chart() -> rx.Component:
    return card(
        rx.cond(
            State.keys.length() > 0,
            rx.fragment(
                chart(State.figure, label=State.chart_label, height_px=CHART_HEIGHT_PX),
                legend(State.keys),
            ),
            empty(
                icon="chart-column",
                title="No executions in the last 30 days",
                text="The first one will appear here within seconds.",
            ),
        ),
        title="Executions per day",
        note="Last 30 days, by workflow",
        actions=[rx.link("All usage", href=routes.USAGE, class_name="text-link")],
    )


def _events() -> rx.Component:
    return card(
        table(
            "Recent executions",
            EVENT_HEADS,
            rows=State.events,
            row=event_row,
            right=EVENT_HEADS_RIGHT,
            wide_only=EVENT_HEADS_WIDE_ONLY,
            when_empty=empty(
                icon="activity",
                title="No executions yet",
                text="Your first execution will appear here within seconds.",
                action=native_link(
                    "Open the API reference", href=routes.API_DOCS, class_name="button"
                ),
            ),
        ),
        title="Recent executions",
        actions=[rx.link("All events", href=f"{routes.USAGE}#events", class_name="text-link")],
        flush=True,
    )

"""BillingOverview: the plan in force, what comes next, what there was."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.cards import card, columns, live_mark, page_head
from billing_app.components.controls import pager
from billing_app.components.feedback import empty
from billing_app.components.numbers import badge, facts, meter
from billing_app.components.tables import cell, table
from billing_app.pages.frame import frame
from billing_app.states.billing_overview import BillingOverviewState as State
from billing_app.states.views import PlanRow


def billing_overview() -> rx.Component:
    """Details of the plan, its period, the queue and the history."""
    return frame(
        rx.fragment(
            page_head("Plans", State.account.name, live_mark(is_broken=State.is_broken)),
            columns(_plan(), _queue()),
            _history(),
        ),
        path=routes.OVERVIEW,
        is_ready=State.is_ready,
        is_broken=State.is_broken,
        has_account=State.has_account,
        on_account=State.load,
    )


def _plan() -> rx.Component:
    plan = State.facts
    return card(
        rx.cond(
            State.has_plan,
            rx.fragment(
                rx.el.div(_executions(), _period(), class_name="measures"),
                facts(
                    ("Type", plan.type),
                    ("Comes from", plan.source),
                    ("In use since", plan.began),
                    ("Ends", plan.ends),
                ),
            ),
            empty(
                icon="package-open",
                title="No plan yet",
                words="When this account gets a plan, its details stand here.",
            ),
        ),
        title=rx.cond(State.has_plan, plan.name, "Current plan"),
        note="Current plan",
    )


def _executions() -> rx.Component:
    plan = State.facts
    return _measure(
        "Executions",
        plan.left,
        meter(
            used_percent=plan.used_percent,
            held_percent=plan.held_percent,
            tone=plan.tone,
            label="Executions of this plan that are used",
        ),
    )


def _period() -> rx.Component:
    plan = State.facts
    return _measure(
        "Billing period",
        plan.period_words,
        rx.cond(
            plan.has_end,
            meter(
                used_percent=plan.period_percent,
                held_percent=0,
                tone="quiet",
                label="Part of the billing period that has passed",
            ),
        ),
    )


def _measure(name: str, words: rx.Var[str], bar: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.div(rx.el.span(name), rx.el.strong(words), class_name="measure-words"), bar
    )


def _queue() -> rx.Component:
    return card(
        rx.cond(
            State.queue.length() > 0,
            rx.el.ol(rx.foreach(State.queue, _queued), class_name="queue"),
            empty(
                icon="layers",
                title="Nothing is queued",
                words="Plans wait here and take over by themselves, one after another.",
            ),
        ),
        title="What comes next",
        note="When a plan is used up or ends, the next one takes over, even within one request",
    )


def _queued(plan: ObjectVar[PlanRow]) -> rx.Component:
    return rx.el.li(
        rx.el.span(class_name="queue-dot", aria_hidden="true"),
        rx.el.div(
            rx.el.div(
                rx.el.span(plan.name, class_name="queue-name"),
                badge(plan.state, plan.tone),
                class_name="balance-plan",
            ),
            rx.el.p(plan.note, class_name="queue-note"),
        ),
        rx.el.span(plan.executions, class_name="queue-number"),
        class_name=rx.cond(plan.tone == "accent", "queue-item current", "queue-item"),
    )


def _history() -> rx.Component:
    return card(
        table(
            "Plan history",
            ("Plan", "Type", "State", "Used", "Executions", "Began (UTC)", "Ended (UTC)"),
            rows=State.history,
            row=_past,
            right=("Used", "Executions"),
            wide_only=("Type",),
            when_empty=empty(
                icon="history", title="No plans so far", words="Every plan stays listed here."
            ),
        ),
        rx.cond(
            State.has_older | (State.page_number > 1),
            pager(
                f"Page {State.page_number}",
                has_newer=State.page_number > 1,
                has_older=State.has_older,
                on_newer=State.show_newer,
                on_older=State.show_older,
            ),
        ),
        title="History",
        note="Every plan, newest first",
        flush=True,
    )


def _past(plan: ObjectVar[PlanRow]) -> rx.Component:
    return rx.el.tr(
        cell(plan.name, "strong"),
        cell(plan.type, "soft wide-only"),
        cell(badge(plan.state, plan.tone)),
        cell(plan.used, "right"),
        cell(plan.executions, "right strong"),
        cell(plan.began, "soft wrap"),
        cell(rx.cond(plan.ended != "", plan.ended, "—"), "soft wrap"),
        key=plan.plan_id,
    )

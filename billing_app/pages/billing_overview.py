"""BillingOverview: the current plan, what comes next, offers, payment and history."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.cards import card, columns, live_indicator, page_head
from billing_app.components.controls import native_link, pager, press_button
from billing_app.components.feedback import dismiss_button, empty
from billing_app.components.numbers import badge, detail_list, meter
from billing_app.components.tables import cell, table
from billing_app.pages.frame import frame
from billing_app.pages.invoices import payment
from billing_app.pages.notices import (
    OUT,
    debit_notices,
    message,
    nothing_follows,
    result_of,
    warning_actions,
)
from billing_app.pages.offers import offers
from billing_app.pages.spending_limits import spending_limits
from billing_app.pages.support import support
from billing_app.states.balance import NEXT_PERIOD
from billing_app.states.billing_overview import BillingOverviewState as State
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.spending_limits import LIMIT, TOP_UP_IS_ON, SpendingLimitState
from billing_app.states.views import PlanRow

# Reloading the page later must not show the result of this checkout again.
FORGET_CHECKOUT = "history.replaceState(history.state, '', location.pathname)"


def billing_overview() -> rx.Component:
    """Composes the page."""
    return frame(
        rx.fragment(
            page_head("Plans", State.account.name, live_indicator(is_broken=State.is_broken)),
            _results(),
            debit_notices(State.debits),
            _warning(),
            columns(_plan(), _queue()),
            offers(),
            spending_limits(),
            payment(),
            _history(),
            support(),
        ),
        path=routes.OVERVIEW,
        state=State,
    )


def _results() -> rx.Component:
    """The result of a checkout, or of a confirmed dialog."""
    checkout = State.checkout_message
    resume = native_link(
        checkout.url_label, href=checkout.url, class_name="button", custom_attrs=OUT
    )
    is_off_again = (State.top_up.stopped != "") & (SpendingLimitState.done.title == TOP_UP_IS_ON)
    return rx.fragment(
        result_of(OfferDialogState),
        result_of(SpendingLimitState, is_valid=~is_off_again),
        message(checkout, rx.cond(checkout.url != "", resume), dismiss_button(State.dismiss)),
        rx.cond(
            State.forgets_checkout,
            rx.el.span(hidden=True, on_mount=rx.call_script(FORGET_CHECKOUT)),
        ),
    )


def _warning() -> rx.Component:
    raise_limit = rx.el.button(
        "Raise the limit",
        type="button",
        class_name="button strong",
        on_click=SpendingLimitState.ask(LIMIT, State.limit.value, State.limit.currency),
    )
    see_plans = native_link("See plans", href="#plans", class_name="button")
    actions = warning_actions(
        State.warning.action,
        State.warning.url_label,
        raise_limit=raise_limit,
        see_plans=see_plans,
    )
    return message(State.warning, *actions)


def _plan() -> rx.Component:
    plan = State.plan_details
    return card(
        rx.cond(
            State.has_plan,
            rx.fragment(
                rx.el.div(_executions(), _period(), class_name="measures"),
                detail_list(
                    ("Type", plan.type),
                    ("Source", plan.source),
                    (plan.started_label, plan.started),
                    (plan.ends_label, plan.ends),
                ),
                _terms(),
            ),
            empty(
                icon="package-open",
                title=State.no_plan.title,
                text=State.no_plan.text,
            ),
        ),
        title=rx.cond(State.has_plan, plan.name, "Current plan"),
        note=rx.cond(State.has_plan, plan.note, "Current plan"),
    )


def _terms() -> rx.Component:
    """The subscription's price and end, with the buttons to change them."""
    terms = State.terms
    return rx.cond(
        terms.name != "",
        rx.el.div(
            rx.el.div(
                rx.el.p(rx.el.strong(terms.name), f", {terms.price}"),
                rx.el.p(terms.text, class_name="soft"),
            ),
            rx.cond(
                State.account.may_manage,
                rx.el.div(
                    rx.cond(terms.start_label != "", _start()),
                    rx.cond(terms.undo_label != "", _undo()),
                    rx.cond(terms.may_cancel, _cancel()),
                    class_name="controls",
                ),
            ),
            class_name="terms",
        ),
        rx.cond(~State.plan_details.has_ended, _no_renewal()),
    )


def _no_renewal() -> rx.Component:
    see_plans = native_link("See plans", href="#plans", class_name="text-link")
    return rx.el.div(
        rx.el.p("This plan does not renew.", class_name="soft"),
        rx.cond(State.warning.title == "", see_plans),
        class_name="terms",
    )


def _undo() -> rx.Component:
    return press_button(
        State.terms.undo_label,
        name="take_back",
        pending=OfferDialogState.pending,
        on_press=OfferDialogState.take_back,
        look="strong",
    )


def _start() -> rx.Component:
    return press_button(
        State.terms.start_label,
        name=NEXT_PERIOD,
        pending=OfferDialogState.pending,
        on_press=OfferDialogState.ask_next_period,
        look="small",
    )


def _cancel() -> rx.Component:
    return press_button(
        f"Cancel {State.terms.name}",
        name="cancel",
        pending=OfferDialogState.pending,
        on_press=OfferDialogState.ask_cancel,
        look="small",
    )


def _executions() -> rx.Component:
    plan = State.plan_details
    return _measure(
        "Executions",
        plan.left,
        meter(
            percent=plan.left_percent,
            held_percent=plan.held_percent,
            tone=plan.tone,
            label="Executions left in this plan",
            value=plan.left,
        ),
    )


def _period() -> rx.Component:
    plan = State.plan_details
    return _measure(
        plan.period_label,
        plan.period_text,
        rx.cond(
            plan.has_bar,
            meter(
                percent=plan.period_left_percent,
                tone="quiet",
                label="Billing period left",
                value=plan.period_text,
            ),
        ),
    )


def _measure(name: rx.Var[str] | str, text: rx.Var[str], bar: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.div(rx.el.span(name), rx.el.strong(text), class_name="measure-text"), bar
    )


def _queue() -> rx.Component:
    return card(
        rx.cond(
            (State.queue.length() > 0) | (State.renewal_note != ""),
            rx.el.ol(
                rx.foreach(State.queue, _queued),
                rx.cond(State.renewal_note != "", _renewal_note()),
                class_name="queue",
            ),
            empty(
                icon="layers",
                title="No plans queued",
                text="Queued plans appear here, in the order they take over.",
            ),
        ),
        rx.cond(State.nothing_follows & (State.renewal_note == ""), nothing_follows()),
        title="What comes next",
        note="Used in this order. When a plan is used up or ends, the next one takes over",
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


def _renewal_note() -> rx.Component:
    return rx.el.li(
        rx.el.span(class_name="queue-dot", aria_hidden="true"),
        rx.el.div(
            rx.el.p(State.renewal_note, class_name="queue-note"),
            rx.cond(State.nothing_follows, nothing_follows()),
        ),
        class_name="queue-item follows",
    )


def _history() -> rx.Component:
    return card(
        table(
            "Plan history",
            ("Plan", "Type", "Status", "Used", "Executions", "Started (UTC)", "Ended (UTC)"),
            rows=State.history,
            row=_history_row,
            right=("Used", "Executions"),
            wide_only=("Type", "Status", "Used", "Started (UTC)", "Ended (UTC)"),
            when_empty=empty(
                icon="history", title="No plans yet", text="Current and past plans appear here."
            ),
        ),
        pager(
            State.page_number,
            has_older=State.has_older,
            on_newer=State.show_newer,
            on_older=State.show_older,
        ),
        title="Plan history",
        note="All plans, newest first",
        flush=True,
    )


def _history_row(plan: ObjectVar[PlanRow]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.fragment(
                plan.name,
                rx.el.span(badge(plan.state, plan.tone), class_name="narrow-only"),
                _on_phone("Started", plan.started, plan.start_reason),
                _on_phone("Ended", plan.ended, plan.end_reason),
            ),
            "strong multiline",
        ),
        cell(plan.type, "soft wide-only"),
        cell(badge(plan.state, plan.tone), "wide-only"),
        cell(plan.used, "right wide-only"),
        cell(
            rx.fragment(rx.el.span(plan.used, " of", class_name="narrow-only"), plan.executions),
            "right strong",
        ),
        cell(_when(plan.started, plan.start_reason), "soft wide-only"),
        cell(rx.cond(plan.ended != "", _when(plan.ended, plan.end_reason), "—"), "soft wide-only"),
        key=plan.plan_id,
    )


def _when(at: rx.Var[str], reason: rx.Var[str]) -> rx.Component:
    return rx.fragment(at, rx.el.p(reason, class_name="row-note"))


def _on_phone(label: str, at: rx.Var[str], reason: rx.Var[str]) -> rx.Component:
    return rx.cond(
        at != "", rx.el.span(f"{label}: {at} · {reason}", class_name="row-note narrow-only")
    )

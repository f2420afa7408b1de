"""BillingOverview: the plan in force, what comes next, what there was."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.cards import card, columns, live_mark, page_head
from billing_app.components.controls import native_link, pager, press_button
from billing_app.components.feedback import dismiss_button, empty, notice
from billing_app.components.numbers import badge, detail_list, meter
from billing_app.components.tables import cell, table
from billing_app.pages.frame import frame
from billing_app.pages.invoices import payment
from billing_app.pages.limits import limits
from billing_app.pages.offers import offers
from billing_app.pages.support import support
from billing_app.states.billing_overview import BillingOverviewState as State
from billing_app.states.limit import LimitState
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.views import PlanRow

# Whoever comes back here later must not be told of this checkout as of another one.
FORGET_ANSWER = "history.replaceState(history.state, '', location.pathname)"


def billing_overview() -> rx.Component:
    """Details of the plan, its period, the queue and the history."""
    return frame(
        rx.fragment(
            page_head("Plans", State.account.name, live_mark(is_broken=State.is_broken)),
            _news(),
            _warning(),
            columns(_plan(), _queue()),
            offers(),
            limits(),
            payment(),
            _history(),
            support(),
        ),
        path=routes.OVERVIEW,
        is_ready=State.is_ready,
        is_broken=State.is_broken,
        has_account=State.has_account,
        read_at=State.read_at,
        on_account=State.load,
    )


def _news() -> rx.Component:
    """What came of a checkout, or of what was agreed to."""
    news = State.news
    go_on = rx.cond(news.url != "", native_link(news.url_words, href=news.url, class_name="button"))
    return rx.fragment(
        *[
            rx.cond(
                each.of_account == State.account.account_id,
                _told(each.done, dismiss_button(each.dismiss_done)),
            )
            for each in (OfferDialogState, LimitState)
        ],
        _told(news, go_on, dismiss_button(State.dismiss)),
        rx.cond(
            news.tone == "good", rx.el.span(hidden=True, on_mount=rx.call_script(FORGET_ANSWER))
        ),
    )


def _warning() -> rx.Component:
    return _told(State.warning, native_link("See plans", href="#plans", class_name="button"))


def _told(message: Any, *actions: rx.Component) -> rx.Component:
    return rx.cond(
        message.title != "",
        notice(tone=message.tone, title=message.title, words=message.words, actions=list(actions)),
    )


def _plan() -> rx.Component:
    plan = State.plan_details
    return card(
        rx.cond(
            State.has_plan,
            rx.fragment(
                rx.el.div(_executions(), _period(), class_name="measures"),
                detail_list(
                    ("Type", plan.type),
                    ("Comes from", plan.source),
                    (plan.began_label, plan.began),
                    (plan.ends_label, plan.ends),
                ),
                _terms(),
            ),
            empty(
                icon="package-open",
                title="No plan yet",
                words="When this account gets a plan, its details stand here.",
            ),
        ),
        title=rx.cond(State.has_plan, plan.name, "Current plan"),
        note=rx.cond(State.has_plan, plan.note, "Current plan"),
    )


def _terms() -> rx.Component:
    """The subscription's price and end, and what can be done about them."""
    terms = State.terms
    return rx.cond(
        terms.name != "",
        rx.el.div(
            rx.el.div(
                rx.el.p(rx.el.strong(terms.name), f", {terms.price}"),
                rx.el.p(terms.words, class_name="soft"),
            ),
            rx.cond(
                State.account.may_manage,
                rx.el.div(
                    rx.cond(terms.take_back != "", _take_back()),
                    rx.cond(terms.may_cancel, _cancel()),
                    class_name="controls",
                ),
            ),
            class_name="terms",
        ),
        rx.cond(~State.plan_details.is_over, _no_renewal()),
    )


def _no_renewal() -> rx.Component:
    see_plans = native_link("See plans", href="#plans", class_name="text-link")
    return rx.el.div(
        rx.el.p("This plan does not renew.", class_name="soft"),
        rx.cond(State.warning.title == "", see_plans),
        class_name="terms",
    )


def _take_back() -> rx.Component:
    return press_button(
        State.terms.take_back,
        name="take_back",
        pending=OfferDialogState.pending,
        on_press=OfferDialogState.take_back,
        look="strong",
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
            label="Executions of this plan that are left",
            value=plan.left,
        ),
    )


def _period() -> rx.Component:
    plan = State.plan_details
    return _measure(
        plan.period_label,
        plan.period_words,
        rx.cond(
            plan.has_bar,
            meter(
                percent=plan.period_left_percent,
                tone="quiet",
                label="Part of the billing period that is left",
                value=plan.period_words,
            ),
        ),
    )


def _measure(name: rx.Var[str] | str, words: rx.Var[str], bar: rx.Component) -> rx.Component:
    return rx.el.div(
        rx.el.div(rx.el.span(name), rx.el.strong(words), class_name="measure-words"), bar
    )


def _queue() -> rx.Component:
    return card(
        rx.cond(
            (State.queue.length() > 0) | (State.follows != ""),
            rx.el.ol(
                rx.foreach(State.queue, _queued),
                rx.cond(State.follows != "", _follows()),
                class_name="queue",
            ),
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


def _follows() -> rx.Component:
    return rx.el.li(
        rx.el.span(class_name="queue-dot", aria_hidden="true"),
        rx.el.p(State.follows, class_name="queue-note"),
        class_name="queue-item follows",
    )


def _history() -> rx.Component:
    return card(
        table(
            "Plan history",
            ("Plan", "Type", "State", "Used", "Executions", "Began (UTC)", "Ended (UTC)"),
            rows=State.history,
            row=_past,
            right=("Used", "Executions"),
            wide_only=("Type", "State", "Used", "Began (UTC)", "Ended (UTC)"),
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
        cell(
            rx.fragment(
                plan.name,
                rx.el.span(badge(plan.state, plan.tone), class_name="narrow-only"),
                rx.el.span("Began: ", plan.began, class_name="row-note narrow-only"),
                rx.cond(
                    plan.ended != "",
                    rx.el.span("Ended: ", plan.ended, class_name="row-note narrow-only"),
                ),
            ),
            "strong story",
        ),
        cell(plan.type, "soft wide-only"),
        cell(badge(plan.state, plan.tone), "wide-only"),
        cell(plan.used, "right wide-only"),
        cell(
            rx.fragment(rx.el.span(plan.used, " of", class_name="narrow-only"), plan.executions),
            "right strong",
        ),
        cell(plan.began, "soft wrap wide-only"),
        cell(rx.cond(plan.ended != "", plan.ended, "—"), "soft wrap wide-only"),
        key=plan.plan_id,
    )

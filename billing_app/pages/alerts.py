"""Alerts: what was raised, what to alert about, and the viewer's own mail."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.cards import card, columns, live_indicator, page_head
from billing_app.components.controls import pager
from billing_app.components.feedback import empty
from billing_app.components.numbers import badge
from billing_app.pages.alert_rules import rules_card, rules_result
from billing_app.pages.bell import mark_all_button
from billing_app.pages.frame import frame
from billing_app.states.alert_rules import DEFAULTS
from billing_app.states.alert_views import AlertItem, MailChoice
from billing_app.states.alerts import ALL_MAIL
from billing_app.states.alerts import AlertsState as State


def alerts() -> rx.Component:
    """Composes the page."""
    may_manage = State.account.may_manage
    return frame(
        rx.fragment(
            page_head(
                "Alerts",
                State.account.name,
                live_indicator(is_broken=State.is_broken),
                mark_all_button("button"),
            ),
            rules_result(State),
            _raised(),
            columns(
                rules_card(
                    State,
                    may_change=may_manage,
                    note=rx.cond(
                        State.is_own,
                        "Chosen for this account",
                        "The defaults; change one to choose your own",
                    ),
                    actions=[rx.cond(may_manage & State.is_own, _defaults_button())],
                ),
                rx.cond(State.has_mail, _mail(), rx.fragment()),
            ),
        ),
        path=routes.ALERTS_PAGE,
        state=State,
    )


def _defaults_button() -> rx.Component:
    return rx.el.button(
        "Use the defaults",
        type="button",
        class_name="button quiet",
        on_click=State.ask_rule(DEFAULTS, ""),
    )


def _raised() -> rx.Component:
    return card(
        rx.cond(
            State.raised.length() > 0,
            rx.el.ul(rx.foreach(State.raised, _alert), class_name="spending"),
            empty(
                icon="bell",
                title="No alerts",
                text="When one of the conditions below begins to hold, it appears here.",
            ),
        ),
        pager(
            State.page_number,
            has_older=State.has_older,
            on_newer=State.show_newer,
            on_older=State.show_older,
        ),
        title="Raised",
        note="Kept for 90 days",
        flush=True,
    )


def _alert(item: ObjectVar[AlertItem]) -> rx.Component:
    return rx.el.li(
        rx.el.div(
            rx.el.h3(
                item.title,
                rx.cond(item.is_unread, badge("New", "accent")),
                class_name="offer-name spending-head",
            ),
            rx.el.p(item.text, class_name="spending-text"),
        ),
        rx.el.div(
            rx.el.span(f"{item.at} UTC", class_name="soft number"),
            rx.link(item.link, href=item.page, class_name="text-link"),
            class_name="alert-side",
        ),
        key=item.id,
        class_name="spending-item alert",
    )


def _mail() -> rx.Component:
    return card(
        _switch("Alerts and account emails", ALL_MAIL, State.wants_mail),
        rx.el.fieldset(
            rx.el.legend("Which ones", class_name="field-label"),
            rx.el.div(rx.foreach(State.mail_choices, _choice), class_name="mail-choices"),
            class_name="check-group mail-kinds",
            disabled=~State.wants_mail,
        ),
        title="Your email",
        note="For you alone, in all accounts that you manage",
    )


def _choice(choice: ObjectVar[MailChoice]) -> rx.Component:
    return _switch(choice.name, choice.kind, choice.is_on)


def _switch(name: rx.Var[str] | str, kind: rx.Var[str] | str, is_on: rx.Var[bool]) -> rx.Component:
    return rx.el.label(
        rx.el.input(
            type="checkbox",
            checked=is_on,
            on_change=lambda _: State.choose_mail(kind, ~is_on),
        ),
        rx.el.span(name),
        class_name="check",
    )

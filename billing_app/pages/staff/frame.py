"""The frame of every console page: the customers' frame, with staff's own pages."""

from typing import Any, Final

import reflex as rx

from billing_app import routes
from billing_app.components.controls import native_link
from billing_app.components.feedback import empty, out_of_date, page_skeleton
from billing_app.components.numbers import badge
from billing_app.pages.frame import (
    brand,
    colour_mode_button,
    known,
    navigation,
    page_name,
    unreadable,
    viewing_banner,
)
from billing_app.pages.menus import person_menu, sign_out_forms

PAGES: Final = (
    (routes.STAFF, "Overview", "gauge"),
    (routes.STAFF_CUSTOMERS, "Customers", "users"),
    (routes.STAFF_OFFERS, "Offers", "tags"),
    (routes.STAFF_OPERATIONS, "Operations", "activity"),
    (routes.STAFF_AUDIT, "Audit", "scroll-text"),
    (routes.STAFF_TEAM, "Team", "shield-check"),
)
# A phone has them in the menu of the person.
SETTINGS: Final = (
    (routes.STAFF_WEBHOOKS, "Webhooks", "webhook"),
    (routes.STAFF_ALERT_RULES, "Alert rules", "bell"),
)


def console(content: rx.Component, *, path: str, state: Any) -> rx.Component:
    """The page of `path`; hidden from everyone but staff."""
    return rx.fragment(
        native_link("Skip to content", href="#content", class_name="skip-link"),
        viewing_banner(),
        rx.cond(state.is_hidden, _not_found(), _page(content, path, state)),
        sign_out_forms(),
    )


def unknown(what: str, way: str, path: str) -> rx.Component:
    """What staff see for something that does not exist, with a link to the list at `path`."""
    return rx.el.div(
        empty(
            icon="compass",
            title=what,
            text="The address may be mistyped.",
            action=rx.link(way, href=path, class_name="button"),
        ),
        rx.el.h1(what, class_name="visually-hidden"),
        class_name="standalone",
    )


def _not_found() -> rx.Component:
    """What everyone but staff sees."""
    return rx.el.main(
        empty(
            icon="compass",
            title="Page not found",
            text="The address may be outdated or mistyped.",
            action=rx.link("Go to the dashboard", href=routes.DASHBOARD, class_name="button"),
        ),
        rx.el.h1("Not found", class_name="visually-hidden"),
        id="content",
        class_name="standalone",
        tab_index=-1,
    )


def _page(content: rx.Component, path: str, state: Any) -> rx.Component:
    is_unknown = state.is_broken & (state.viewer.email == "")
    stale = out_of_date(is_broken=state.is_broken, read_at=state.read_at)
    return rx.el.div(
        _side(path, state, is_unknown),
        rx.el.header(
            brand(),
            badge("Staff", "accent"),
            rx.el.div(class_name="spacer"),
            colour_mode_button(),
            known(is_unknown, person_menu(with_name=False, is_in_console=True)),
            class_name="top-bar",
        ),
        rx.el.main(
            rx.cond(
                state.is_ready,
                rx.el.div(stale, _shown(state), content, class_name="main-inner"),
                rx.cond(
                    state.is_broken,
                    unreadable(page_name((*PAGES, *SETTINGS), path)),
                    page_skeleton(),
                ),
            ),
            id="content",
            class_name="main",
            tab_index=-1,
        ),
        rx.el.div(_navigation(path, state, "Console, at the bottom", in_bar=True)),
        class_name="frame console",
    )


def _side(path: str, state: Any, is_unknown: rx.Var[bool]) -> rx.Component:
    return rx.el.aside(
        rx.el.div(brand(), badge("Staff", "accent"), class_name="side-brand"),
        _navigation(path, state, "Console"),
        rx.el.div(
            rx.link(
                rx.icon("arrow-left", aria_hidden="true"),
                "Customer pages",
                href=routes.DASHBOARD,
                class_name="navigation-link",
                underline="none",
            ),
            rx.el.div(
                colour_mode_button(),
                known(is_unknown, badge(state.role)),
                class_name="side-row",
            ),
            known(is_unknown, person_menu(with_name=True, is_in_console=True)),
            class_name="side-foot",
        ),
        class_name="side",
        custom_attrs={"aria-label": "Staff console"},
    )


def _navigation(path: str, state: Any, label: str, *, in_bar: bool = False) -> rx.Component:
    counts = {routes.STAFF_OPERATIONS: _trouble(state)}
    pages = PAGES if in_bar else (*PAGES, *SETTINGS)
    return navigation(pages, path, label, in_bar=in_bar, counts=counts)


def _trouble(state: Any) -> rx.Component:
    """How much needs attention."""
    return rx.cond(
        state.trouble_count != "",
        rx.el.span(
            badge(state.trouble_count, "bad"),
            class_name="navigation-count",
            title="Needs attention",
            custom_attrs={"role": "img", "aria-label": f"{state.trouble_count} to resolve"},
        ),
    )


def _shown(state: Any) -> rx.Component:
    """The result of the last action, with the way to undo it. While a dialog is open, the dialog
    shows it."""
    result = state.notice
    is_shown = result.text != ""
    if hasattr(state, "dialog"):
        is_shown &= ~result.is_bad | (state.dialog == "")
    if hasattr(state, "undoing"):
        is_shown &= ~result.is_bad | (state.undoing == "")
    return rx.cond(
        is_shown,
        rx.el.div(
            rx.cond(
                result.is_bad,
                rx.icon("triangle-alert", aria_hidden="true"),
                rx.icon("circle-check", aria_hidden="true"),
            ),
            rx.el.p(result.text, class_name="notice-title grow"),
            rx.cond(
                result.undo != "",
                rx.el.button(
                    rx.icon("undo-2", aria_hidden="true"),
                    "Undo",
                    type="button",
                    class_name="button small",
                    on_click=state.ask_undo(result.undo),
                )
                if hasattr(state, "undo")
                else rx.fragment(),
            ),
            rx.el.button(
                rx.icon("x", aria_hidden="true"),
                type="button",
                class_name="icon-button",
                on_click=state.dismiss,
                custom_attrs={"aria-label": "Dismiss"},
            ),
            class_name=rx.cond(result.is_bad, "notice result bad", "notice result good"),
            role="status",
        ),
    )

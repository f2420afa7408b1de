"""The frame of every signed-in page: navigation, account, person, theme."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import reflex as rx

from billing_app import routes
from billing_app.components.cards import live_indicator, page_head
from billing_app.components.controls import Handler, native_link, press_button
from billing_app.components.feedback import empty, notice, out_of_date, page_skeleton
from billing_app.pages.bell import bell, bell_news
from billing_app.pages.email_banner import email_banner
from billing_app.pages.menus import (
    account_menu,
    has_keys,
    has_webhooks,
    person_menu,
    sign_out_forms,
)
from billing_app.pages.offer_dialog import offer_dialog
from billing_app.states.change_polling import LivePage
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.session import SessionState

PAGES: Final = (
    (routes.DASHBOARD, "Dashboard", "layout-dashboard"),
    (routes.OVERVIEW, "Plans", "layers"),
    (routes.USAGE, "Usage", "chart-column"),
)
# Reached from the side of a wide screen, and from the menu of the account.
ALERTS: Final = (routes.ALERTS_PAGE, "Alerts", "bell")
KEYS: Final = (routes.KEYS, "API keys", "key-round")
WEBHOOKS: Final = (routes.WEBHOOKS_PAGE, "Webhooks", "webhook")
# Reached from the menus of the account and the person.
MENU_PAGES: Final = ((routes.DETAILS, "Details", ""), ALERTS, KEYS, WEBHOOKS)
Pages = tuple[tuple[str, str, str], ...]


def frame(content: rx.Component, *, path: str, state: type[LivePage]) -> rx.Component:
    """The page of `path`; a skeleton until it is read, and an explanation if it can't be."""
    is_unknown = state.is_broken & (SessionState.viewer.email == "")
    stale = out_of_date(is_broken=state.is_broken, read_at=state.read_at)
    return rx.fragment(
        native_link("Skip to content", href="#content", class_name="skip-link"),
        viewing_banner(),
        rx.el.div(
            _unless_embedded(_side(path, state.load, is_unknown)),
            _unless_embedded(_top_bar(state.load, is_unknown)),
            rx.el.main(
                _unless_embedded(_back_link()),
                rx.cond(
                    state.is_ready,
                    rx.cond(
                        state.has_account,
                        rx.el.div(
                            stale, _banner(), email_banner(), content, class_name="main-inner"
                        ),
                        _no_account(),
                    ),
                    rx.cond(
                        state.is_broken,
                        unreadable(page_name((*PAGES, *MENU_PAGES), path)),
                        page_skeleton(),
                    ),
                ),
                id="content",
                class_name="main",
                tab_index=-1,
            ),
            _unless_embedded(_tab_bar(path)),
            class_name=rx.cond(SessionState.is_embedded, "frame embedded", "frame"),
        ),
        bell_news(),
        offer_dialog(),
        sign_out_forms(),
    )


def _unless_embedded(part: rx.Component) -> rx.Component:
    """A part that pages in a frame of another site leave out."""
    return rx.cond(SessionState.is_embedded, rx.fragment(), part)


def _back_link() -> rx.Component:
    """For people who came through a portal link: back to where they came from."""
    return rx.cond(
        SessionState.back_url != "",
        rx.el.p(
            native_link(
                rx.icon("arrow-left", size=16, aria_hidden="true"),
                SessionState.back_label,
                href=SessionState.back_url,
                class_name="back-link",
            ),
            class_name="back-line",
        ),
    )


def viewing_banner() -> rx.Component:
    """Above every page while staff view an account as its holder sees it."""
    return rx.cond(
        SessionState.viewing_text != "",
        rx.el.div(
            rx.icon("eye", aria_hidden="true"),
            rx.el.p(SessionState.viewing_text),
            rx.el.button(
                "End", type="button", class_name="button small", on_click=SessionState.end_view
            ),
            class_name="viewing",
            role="region",
            custom_attrs={"aria-label": "View as customer"},
        ),
    )


def _banner() -> rx.Component:
    """Why executions are refused, or soon will be, and how to pay; gone once it is paid."""
    banner = SessionState.banner
    pay = rx.cond(
        banner.page_url != "",
        native_link(
            banner.pay_label,
            href=banner.page_url,
            class_name="button strong",
            custom_attrs={"target": "_blank", "rel": "noopener"},
        ),
    )
    portal = rx.cond(
        banner.has_portal,
        press_button(
            "Update card",
            name="portal",
            pending=OfferDialogState.pending,
            on_press=OfferDialogState.open_portal,
        ),
    )
    top_up = rx.cond(
        banner.has_top_up,
        rx.link(
            "See the automatic top-up", href=f"{routes.OVERVIEW}#spending", class_name="button"
        ),
    )
    return rx.cond(
        banner.title != "",
        notice(
            tone=banner.tone, title=banner.title, text=banner.text, actions=[pay, portal, top_up]
        ),
    )


def brand() -> rx.Component:
    """The product's logo and name."""
    return rx.el.span(
        rx.image(src="/logo.svg", alt="", class_name="brand-logo"), "Billing", class_name="brand"
    )


def colour_mode_button() -> rx.Component:
    """Switches between light and dark."""
    return rx.el.button(
        rx.color_mode_cond(light=rx.icon("moon"), dark=rx.icon("sun")),
        type="button",
        class_name="icon-button",
        on_click=rx.toggle_color_mode,
        custom_attrs={"aria-label": "Switch between light and dark"},
    )


def page_name(pages: Pages, path: str) -> str:
    """The navigation's name for the page, or for the one above it."""
    return next(name for target, name, _ in reversed(pages) if path.startswith(target))


def known(is_unknown: rx.Var[bool], *parts: rx.Component) -> rx.Component:
    """Parts that need to know who is signed in."""
    return rx.cond(is_unknown, rx.fragment(), rx.fragment(*parts))


def _side(path: str, on_account: Handler, is_unknown: rx.Var[bool]) -> rx.Component:
    return rx.el.div(
        rx.el.div(brand(), bell(on_account, align="start"), class_name="side-top"),
        known(is_unknown, account_menu(on_account, outlined=True)),
        navigation(
            (*PAGES, ALERTS),
            path,
            "Main",
            _link_if(has_keys(), KEYS, path),
            _link_if(has_webhooks(), WEBHOOKS, path),
            _console_link(),
        ),
        rx.el.div(
            rx.el.div(colour_mode_button()),
            known(is_unknown, person_menu(with_name=True)),
            class_name="side-foot",
        ),
        class_name="side",
    )


def _top_bar(on_account: Handler, is_unknown: rx.Var[bool]) -> rx.Component:
    return rx.el.header(
        rx.cond(is_unknown, brand(), account_menu(on_account, outlined=False)),
        rx.el.div(class_name="spacer"),
        bell(on_account, align="end"),
        colour_mode_button(),
        known(is_unknown, person_menu(with_name=False)),
        class_name="top-bar",
    )


def _tab_bar(path: str) -> rx.Component:
    return rx.el.div(navigation(PAGES, path, "Main, bottom", in_bar=True))


def navigation(
    pages: Pages,
    path: str,
    label: str,
    *more: rx.Component,
    in_bar: bool = False,
    counts: Mapping[str, rx.Component] = MappingProxyType({}),
) -> rx.Component:
    """Links to the pages; the one of `path` is current. `counts` stand beside names, by path."""
    return rx.el.nav(
        *[
            navigation_link(
                target,
                name,
                icon,
                counts.get(target, rx.fragment()),
                is_current=target == path,
            )
            for target, name, icon in pages
        ],
        *more,
        class_name="tab-bar" if in_bar else "navigation",
        custom_attrs={"aria-label": label},
    )


def navigation_link(
    target: str, name: str, icon: str, *count: rx.Component, is_current: bool
) -> rx.Component:
    return rx.link(
        rx.icon(icon, aria_hidden="true"),
        name,
        *count,
        href=target,
        class_name="navigation-link",
        underline="none",
        custom_attrs={"aria-current": "page"} if is_current else {},
    )


def _link_if(is_shown: rx.Var[bool], page: tuple[str, str, str], path: str) -> rx.Component:
    target, name, icon = page
    return rx.cond(is_shown, navigation_link(target, name, icon, is_current=target == path))


def _console_link() -> rx.Component:
    """For staff only."""
    return rx.cond(
        SessionState.is_staff,
        rx.link(
            rx.icon("headset", aria_hidden="true"),
            "Staff console",
            href=routes.STAFF,
            class_name="navigation-link apart",
            underline="none",
        ),
    )


def unreadable(title: str) -> rx.Component:
    """No part of this page could be read yet."""
    return rx.el.div(
        page_head(title, "", live_indicator(is_broken=rx.Var.create(value=True))),
        rx.el.div(
            empty(
                icon="cloud-off",
                title="This page can't be loaded right now",
                text="The server can't reach its database. Nothing is lost, and you are still"
                " signed in. This page retries every few seconds.",
            ),
            class_name="card",
            role="alert",
        ),
        class_name="main-inner",
    )


def _no_account() -> rx.Component:
    return rx.el.div(
        rx.cond(
            SessionState.is_staff,
            empty(
                icon="headset",
                title="You have no account of your own",
                text="You are signed in as staff. Your customers are in the staff console.",
                action=rx.link("Open the staff console", href=routes.STAFF, class_name="button"),
            ),
            empty(
                icon="users",
                title="You have no account yet",
                text="Ask the owner of your organization to add you as a member.",
            ),
        ),
        class_name="card",
    )

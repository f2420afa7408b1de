"""The menus of the account and of the person, and the forms behind signing out."""

from typing import Final

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.components.controls import Handler, native_form
from billing_app.states.session import START_AFRESH, SessionState
from billing_app.states.views import AccountChoice

# Signing out clears the tab's state, so that the next person starts with none.
FORGET: Final = START_AFRESH.split(";", maxsplit=1)[0]


def account_menu(on_account: Handler, *, outlined: bool) -> rx.Component:
    account = SessionState.account
    return rx.dropdown_menu.root(
        rx.dropdown_menu.trigger(
            rx.el.button(
                rx.el.span(account.initials, class_name="avatar square", aria_hidden="true"),
                rx.el.span(
                    rx.el.span(account.name, class_name="menu-title"),
                    rx.el.span(account.kind, class_name="menu-note"),
                    class_name="menu-text",
                ),
                rx.icon("chevrons-up-down", aria_hidden="true"),
                type="button",
                class_name="menu-button outlined" if outlined else "menu-button",
                custom_attrs={"aria-label": f"Account: {account.name}"},
            )
        ),
        rx.dropdown_menu.content(
            rx.el.div("Accounts", class_name="menu-label"),
            rx.foreach(SessionState.accounts, lambda choice: _account_item(choice, on_account)),
            rx.dropdown_menu.separator(),
            _with_sign_in(rx.dropdown_menu.item("Details", on_click=rx.redirect(routes.DETAILS))),
            rx.dropdown_menu.item("Alerts", on_click=rx.redirect(routes.ALERTS_PAGE)),
            rx.cond(
                has_keys(), rx.dropdown_menu.item("API keys", on_click=rx.redirect(routes.KEYS))
            ),
            rx.cond(
                has_members(),
                rx.dropdown_menu.item("Members", on_click=rx.redirect(routes.MEMBERS)),
            ),
            rx.cond(
                has_webhooks(),
                rx.dropdown_menu.item("Webhooks", on_click=rx.redirect(routes.WEBHOOKS_PAGE)),
            ),
            rx.dropdown_menu.separator(),
            rx.dropdown_menu.item("Copy account ID", on_click=rx.set_clipboard(account.account_id)),
            min_width="220px",
        ),
    )


def _account_item(choice: ObjectVar[AccountChoice], on_account: Handler) -> rx.Component:
    is_chosen = choice.account_id == SessionState.account.account_id
    return rx.dropdown_menu.item(
        choice.name,
        rx.cond(is_chosen, rx.icon("check", size=14, aria_hidden="true")),
        on_click=[SessionState.choose_account(choice.account_id), on_account],
    )


def person_menu(*, with_name: bool, is_in_console: bool = False) -> rx.Component:
    """Who is signed in, links to other pages, and sign-out."""
    viewer = SessionState.viewer
    text = rx.el.span(
        rx.el.span(viewer.name, class_name="menu-title"),
        rx.el.span(viewer.email, class_name="menu-note"),
        class_name="menu-text",
    )
    return rx.dropdown_menu.root(
        rx.dropdown_menu.trigger(
            rx.el.button(
                rx.el.span(viewer.initials, class_name="avatar", aria_hidden="true"),
                text if with_name else rx.fragment(),
                rx.icon("ellipsis", aria_hidden="true") if with_name else rx.fragment(),
                type="button",
                class_name="menu-button" if with_name else "menu-button person",
                custom_attrs={"aria-label": f"Signed in as {viewer.email}"},
            )
        ),
        rx.dropdown_menu.content(
            rx.el.div(viewer.email, class_name="menu-label"),
            _of_console()
            if is_in_console
            else rx.cond(
                SessionState.is_staff,
                rx.dropdown_menu.item("Staff console", on_click=rx.redirect(routes.STAFF)),
            ),
            rx.dropdown_menu.item(
                "API reference", on_click=rx.redirect(routes.API_DOCS, is_external=True)
            ),
            _with_sign_in(
                rx.dropdown_menu.item("Your details", on_click=rx.redirect(routes.DETAILS))
            ),
            _with_sign_in(
                rx.dropdown_menu.item(
                    "Change password", on_click=rx.redirect(routes.CHANGE_PASSWORD)
                )
            ),
            rx.dropdown_menu.separator(),
            _sign_out_item("Sign out", routes.SESSION_DELETE),
            _with_sign_in(_sign_out_item("Sign out everywhere", routes.SESSION_DELETE_ALL)),
            min_width="220px",
        ),
    )


def _of_console() -> rx.Component:
    return rx.fragment(
        rx.dropdown_menu.item("Customer pages", on_click=rx.redirect(routes.DASHBOARD)),
        rx.dropdown_menu.item("Webhooks", on_click=rx.redirect(routes.STAFF_WEBHOOKS)),
        rx.dropdown_menu.item("Alert rules", on_click=rx.redirect(routes.STAFF_ALERT_RULES)),
    )


def _sign_out_item(label: str, action: str) -> rx.Component:
    """A menu item that posts a form, so that the server clears the cookie and loads a new page."""
    form_id = action.strip("/").replace("/", "-")
    return rx.dropdown_menu.item(
        label,
        on_click=rx.call_script(f"{FORGET}; document.getElementById('{form_id}').submit()"),
    )


def sign_out_forms() -> rx.Component:
    """The forms that the menu submits; they stay when the menu closes."""
    return rx.fragment(
        *[
            native_form(
                id=action.strip("/").replace("/", "-"), action=action, method="post", hidden=True
            )
            for action in (routes.SESSION_DELETE, routes.SESSION_DELETE_ALL)
        ]
    )


def _with_sign_in(part: rx.Component) -> rx.Component:
    """For people who sign in here; those who came through a portal link do not."""
    return rx.cond(SessionState.back_url == "", part)


def has_keys() -> rx.Var[bool]:
    """For those who sign in here and may manage the account."""
    return SessionState.account.may_manage & (SessionState.back_url == "")


def has_members() -> rx.Var[bool]:
    """For people who sign in here and look at an organization."""
    return (SessionState.account.organization_id != "") & (SessionState.back_url == "")


def has_webhooks() -> rx.Var[bool]:
    """For those who may manage an organization."""
    account = SessionState.account
    return (account.organization_id != "") & account.may_manage

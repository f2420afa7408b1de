"""Endpoints, their delivery log and the dialogs, for a state that inherits from WebhookPage."""

from typing import Any

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.billing.webhooks_out.endpoints import CHOICES
from billing_app.components.cards import card
from billing_app.components.controls import Handler, pager, select
from billing_app.components.dialogs import MENU_OF_DIALOGS
from billing_app.components.feedback import dismiss_button, empty, notice
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, cell, table
from billing_app.pages.webhook_dialogs import webhook_dialogs
from billing_app.states.webhook_views import DELIVERY_STATUSES, DeliveryItem, EndpointItem
from billing_app.states.webhooks import ADD, DELETE, EDIT, ROTATE


def webhook_parts(state: Any, *, may_manage: rx.Var[bool], whose: str) -> rx.Component:
    """`whose`: what the events are about, such as "this organization"."""
    return rx.fragment(
        _result(state),
        _endpoints(state, may_manage, whose),
        rx.cond(state.chosen.id != "", _deliveries(state)),
        webhook_dialogs(state, may_manage=may_manage),
    )


def _result(state: Any) -> rx.Component:
    done = state.done
    return rx.cond(
        done.title != "",
        notice(
            tone=done.tone,
            title=done.title,
            text=done.text,
            actions=[dismiss_button(state.hide_result)],
        ),
    )


def add_button(state: Any) -> rx.Component:
    return rx.el.button(
        rx.icon("plus", aria_hidden="true"),
        "Add endpoint",
        type="button",
        class_name="button strong",
        on_click=state.ask(ADD, ""),
    )


def _endpoints(state: Any, may_manage: rx.Var[bool], whose: str) -> rx.Component:
    return card(
        rx.cond(
            state.endpoints.length() > 0,
            rx.el.ul(
                rx.foreach(state.endpoints, lambda item: _endpoint(state, item, may_manage)),
                class_name="spending",
            ),
            empty(
                icon="webhook",
                title="No endpoints yet",
                text=f"Add a URL of your service. We call it when something happens to {whose}:"
                " executions run low, a plan starts, an invoice is paid.",
                action=rx.cond(may_manage, add_button(state)),
            ),
        ),
        title="Endpoints",
        note="Signed as Standard Webhooks; failed deliveries are retried for three days",
        flush=True,
    )


def _endpoint(state: Any, item: ObjectVar[EndpointItem], may_manage: rx.Var[bool]) -> rx.Component:
    is_chosen = item.id == state.chosen.id
    return rx.el.li(
        rx.el.div(
            rx.el.h3(
                rx.el.span(item.url, class_name="endpoint-url"),
                badge(item.status, item.tone),
                class_name="offer-name endpoint-head",
            ),
            rx.el.p(
                item.types_text,
                rx.cond(item.description != "", f" · {item.description}", ""),
                class_name="spending-text",
            ),
            rx.cond(item.note != "", rx.el.p(item.note, class_name="spending-text")),
            rx.cond(item.problem != "", rx.el.p(item.problem, class_name="spending-stopped")),
        ),
        rx.el.div(
            rx.el.button(
                "Deliveries",
                type="button",
                class_name="button",
                on_click=state.choose(item.id),
                custom_attrs={
                    "aria-label": f"Deliveries to {item.url}",
                    "aria-pressed": rx.cond(is_chosen, "true", "false"),
                },
            ),
            rx.cond(may_manage, _menu(state, item)),
            class_name="controls",
        ),
        key=item.id,
        class_name=rx.cond(is_chosen, "spending-item chosen", "spending-item"),
    )


def _menu(state: Any, item: ObjectVar[EndpointItem]) -> rx.Component:
    return rx.dropdown_menu.root(
        rx.dropdown_menu.trigger(
            rx.el.button(
                rx.icon("ellipsis", aria_hidden="true"),
                type="button",
                class_name="button",
                custom_attrs={"aria-label": f"Actions: {item.url}"},
            )
        ),
        rx.dropdown_menu.content(
            rx.dropdown_menu.item("Send test event", on_click=state.send_test(item.id)),
            rx.dropdown_menu.item("Edit", on_click=state.ask(EDIT, item.id)),
            rx.dropdown_menu.item("Rotate secret", on_click=state.ask(ROTATE, item.id)),
            rx.dropdown_menu.item(item.switch, on_click=state.switch(item.id)),
            rx.dropdown_menu.separator(),
            rx.dropdown_menu.item("Delete", color="red", on_click=state.ask(DELETE, item.id)),
            min_width="180px",
            custom_attrs=MENU_OF_DIALOGS,
        ),
    )


def _deliveries(state: Any) -> rx.Component:
    statuses: list[rx.Component] = [
        rx.el.option("All statuses", value=""),
        *[
            rx.el.option(label, value=status.value)
            for status, (label, _) in DELIVERY_STATUSES.items()
        ],
    ]
    types: list[rx.Component] = [
        rx.el.option("All events", value=""),
        *[rx.el.option(each.value, value=each.value) for each in CHOICES],
    ]
    is_filtered = (state.chosen_status != "") | (state.chosen_type != "")
    return card(
        table(
            "Deliveries",
            ("Event", "Status", "Response", "Attempts", "Created (UTC)", ACTIONS),
            rows=state.deliveries,
            row=lambda item: _delivery(state, item),
            right=("Attempts", ACTIONS),
            wide_only=("Response", "Attempts", "Created (UTC)"),
            dense=True,
            when_empty=rx.cond(
                is_filtered,
                empty(icon="search-x", title="No matches", text="Choose another status or event."),
                empty(
                    icon="send",
                    title="Nothing sent yet",
                    text="Send a test event to try the endpoint.",
                ),
            ),
        ),
        pager(
            state.page_number,
            has_older=state.has_older,
            on_newer=state.show_newer,
            on_older=state.show_older,
        ),
        title="Deliveries",
        note=state.chosen.url,
        actions=[
            select(
                "Status",
                options=statuses,
                value=state.chosen_status,
                on_change=state.filter_status,
            ),
            select("Event", options=types, value=state.chosen_type, on_change=state.filter_type),
        ],
        flush=True,
    )


def _delivery(state: Any, item: ObjectVar[DeliveryItem]) -> rx.Component:
    on_open: Handler = state.open_delivery(item.id)
    return rx.el.tr(
        cell(rx.fragment(rx.el.code(item.type), rx.el.span(item.at, class_name="at")), "strong"),
        cell(badge(item.status, item.tone)),
        cell(item.answer, "soft wide-only"),
        cell(item.attempts, "right wide-only"),
        cell(item.at, "soft wide-only"),
        cell(
            rx.el.button(
                "Open",
                type="button",
                class_name="button small",
                on_click=on_open,
                custom_attrs={"aria-label": f"Open {item.type} of {item.at}"},
            ),
            "right",
        ),
        key=item.id,
    )

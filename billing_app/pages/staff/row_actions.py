"""The button of a row on an account's page."""

from typing import Any

import reflex as rx

from billing_app.billing.staff.access.permissions import Action
from billing_app.components.controls import Handler
from billing_app.states.staff.customer import StaffCustomerState as State


def row_button(text: str, whom: rx.Var[Any], on_click: Handler, action: Action) -> rx.Component:
    """Shown to roles that may do it."""
    return rx.cond(
        State.allowed.contains(action.value),
        rx.el.button(
            text,
            type="button",
            class_name="button small",
            on_click=on_click,
            custom_attrs={"aria-label": f"{text}: {whom}"},
        ),
    )

"""Webhooks: the endpoints of the platform, which get the events of every account."""

import reflex as rx

from billing_app import routes
from billing_app.billing.staff.access.permissions import Action
from billing_app.components.cards import page_head
from billing_app.pages.staff.frame import console
from billing_app.pages.webhook_parts import add_button, webhook_parts
from billing_app.states.staff.webhooks import StaffWebhooksState as State


def staff_webhooks() -> rx.Component:
    """Composes the page."""
    may_manage = State.allowed.contains(Action.MANAGE_WEBHOOKS.value)
    return console(
        rx.fragment(
            page_head(
                "Webhooks",
                "Of the platform: events of every account. Organizations have their own.",
                rx.cond(may_manage & (State.endpoints.length() > 0), add_button(State)),
            ),
            webhook_parts(State, may_manage=may_manage, whose="an account"),
        ),
        path=routes.STAFF_WEBHOOKS,
        state=State,
    )

"""Webhooks: the endpoints of an organization, and what was delivered to them."""

import reflex as rx

from billing_app import routes
from billing_app.components.cards import live_indicator, page_head
from billing_app.components.feedback import empty
from billing_app.pages.frame import frame
from billing_app.pages.webhook_parts import add_button, webhook_parts
from billing_app.states.webhooks import WebhooksState as State


def webhooks() -> rx.Component:
    """Composes the page."""
    may_manage = State.account.may_manage
    may_add = may_manage & ~State.is_personal & (State.endpoints.length() > 0)
    return frame(
        rx.fragment(
            page_head(
                "Webhooks",
                State.account.name,
                live_indicator(is_broken=State.is_broken),
                rx.cond(may_add, add_button(State)),
            ),
            rx.cond(
                State.is_personal,
                _explained("Webhooks are for organizations", "This is a personal account."),
                rx.cond(
                    State.is_refused,
                    _explained(
                        "Only owners and billing admins can see webhooks",
                        rx.cond(
                            State.managers != "", f"{State.managers} can set them up for you.", ""
                        ),
                    ),
                    webhook_parts(State, may_manage=may_manage, whose="this organization"),
                ),
            ),
        ),
        path=routes.WEBHOOKS_PAGE,
        state=State,
    )


def _explained(title: str, text: rx.Var[str] | str) -> rx.Component:
    return rx.el.div(empty(icon="webhook", title=title, text=text), class_name="card")

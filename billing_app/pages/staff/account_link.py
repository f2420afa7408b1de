"""The account that a row is about, by its name."""

import reflex as rx

from billing_app import routes


def account_link(account_id: rx.Var[str], name: rx.Var[str]) -> rx.Component:
    """Links to its page; a long name is cut and shown in full in the title. Nothing for ""."""
    return rx.cond(
        account_id != "",
        rx.link(
            name,
            href=f"{routes.STAFF_CUSTOMERS}/{account_id}",
            class_name="text-link account-link",
            title=name,
        ),
    )

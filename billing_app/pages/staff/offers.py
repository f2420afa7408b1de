"""Offers: the catalogue, its drafts and its archive."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.offers import OfferState
from billing_app.billing.staff.permissions import Action
from billing_app.components.cards import card, page_head
from billing_app.components.controls import segments
from billing_app.components.feedback import empty
from billing_app.components.numbers import badge
from billing_app.components.tables import cell, table
from billing_app.pages.staff.frame import console
from billing_app.states.staff.listing import ALL
from billing_app.states.staff.offers import NEW
from billing_app.states.staff.offers import StaffOffersState as State
from billing_app.states.staff.views import OfferLine

CHOICES = (
    (ALL, "All"),
    (OfferState.PUBLISHED.value, "On sale"),
    (OfferState.DRAFT.value, "Drafts"),
    (OfferState.ARCHIVED.value, "Archived"),
)


def staff_offers() -> rx.Component:
    """Every offer with its newest version, and who is on it."""
    return console(
        rx.fragment(
            page_head("Offers", "What customers can buy", _new()),
            card(
                table(
                    "Offers",
                    ("Offer", "State", "Version", "Price", "Executions", "Accounts"),
                    rows=State.rows,
                    row=_row,
                    right=("Version", "Executions", "Accounts"),
                    wide_only=("Version", "Executions"),
                    when_empty=empty(
                        icon="tags", title="No offers", words="A new one begins as a draft."
                    ),
                    dense=True,
                ),
                title="Catalogue",
                note="In the order in which customers see it",
                actions=[
                    segments("State", CHOICES, chosen=State.state, on_choose=State.choose_state)
                ],
                flush=True,
            ),
        ),
        path=routes.STAFF_OFFERS,
        state=State,
    )


def _new() -> rx.Component:
    return rx.cond(
        State.allowed.contains(Action.EDIT_OFFER.value),
        rx.link(
            rx.icon("plus", aria_hidden="true"),
            "New offer",
            href=routes.staff_offer(NEW),
            underline="none",
            class_name="button strong",
        ),
    )


def _row(row: ObjectVar[OfferLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.link(
                rx.el.span(row.name, class_name="row-link"),
                rx.el.span(row.code, class_name="row-note"),
                href=f"{routes.STAFF_OFFERS}/{row.code}",
                underline="none",
                class_name="row-title",
            ),
            "strong clip-wide",
        ),
        cell(
            rx.fragment(
                badge(row.state, row.tone),
                rx.cond(row.has_edits, rx.fragment(" ", badge("Edited", "warning"))),
            )
        ),
        cell(row.version, "right soft wide-only"),
        cell(rx.fragment(row.price, " ", rx.el.span(row.interval, class_name="row-note"))),
        cell(row.executions, "right wide-only"),
        cell(row.accounts, "right strong"),
        key=row.code,
    )

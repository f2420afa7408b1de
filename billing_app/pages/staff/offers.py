"""Offers: the catalogue, its drafts and its archive."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app import routes
from billing_app.billing.staff.access.permissions import Action
from billing_app.billing.staff.catalogue.offers import OfferSort, OfferState
from billing_app.components.cards import page_head
from billing_app.components.controls import segments
from billing_app.components.feedback import empty
from billing_app.components.listing import (
    Column,
    Paging,
    filter_select,
    listing,
    search_box,
)
from billing_app.components.numbers import badge
from billing_app.components.tables import cell
from billing_app.db.enums import Interval
from billing_app.pages.staff.frame import console
from billing_app.states.staff import offers as names
from billing_app.states.staff.listing import ALL
from billing_app.states.staff.offers import NEW
from billing_app.states.staff.offers import StaffOffersState as State
from billing_app.states.staff.views import OfferLine

OFFERS = Paging(State, names.OFFERS)
INTERVALS = (
    (ALL, "Any billing"),
    (Interval.MONTH.value, "Monthly"),
    (Interval.YEAR.value, "Yearly"),
    (Interval.ONCE.value, "One-time pack"),
)
CHOICES = (
    (ALL, "All"),
    (OfferState.PUBLISHED.value, "On sale"),
    (OfferState.DRAFT.value, "Drafts"),
    (OfferState.ARCHIVED.value, "Archived"),
)


def staff_offers() -> rx.Component:
    """Every offer with its newest version and its accounts."""
    return console(
        rx.fragment(
            page_head("Offers", "What customers can buy", _new()),
            listing(
                "Offers",
                (
                    Column("Offer", OfferSort.NAME),
                    Column("Status", OfferSort.STATE, is_wide_only=True),
                    Column("Position", OfferSort.POSITION, is_right=True, is_wide_only=True),
                    Column("Version", is_right=True, is_wide_only=True),
                    Column("Price", OfferSort.PRICE),
                    Column("Executions", OfferSort.EXECUTIONS, is_right=True, is_wide_only=True),
                    Column("Accounts", OfferSort.ACCOUNTS, is_right=True),
                ),
                rows=State.rows,
                row=_row,
                paging=OFFERS,
                tools=(
                    search_box(OFFERS, names.LETTERS, "Search offers", "Name or code"),
                    filter_select(OFFERS, names.INTERVAL, "Billing", INTERVALS),
                ),
                when_empty=empty(
                    icon="tags", title="No offers", text="A new offer starts as a draft."
                ),
                title="Catalogue",
                note="In the order that customers see",
                actions=[
                    segments(
                        "Status",
                        CHOICES,
                        chosen=OFFERS.chosen(names.STATE),
                        on_choose=OFFERS.on_filter(names.STATE),
                    )
                ],
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
                rx.el.span(_state(row), class_name="narrow-only"),
                href=f"{routes.STAFF_OFFERS}/{row.code}",
                underline="none",
                class_name="row-title",
            ),
            "strong clip-wide",
        ),
        cell(_state(row), "wide-only"),
        cell(row.position, "right soft wide-only"),
        cell(row.version, "right soft wide-only"),
        cell(rx.fragment(row.price, " ", rx.el.span(row.interval, class_name="row-note"))),
        cell(row.executions, "right wide-only"),
        cell(row.accounts, "right strong"),
        key=row.code,
    )


def _state(row: ObjectVar[OfferLine]) -> rx.Component:
    return rx.fragment(
        badge(row.state, row.tone),
        rx.cond(row.has_edits, rx.fragment(" ", badge("Edited", "warning"))),
    )

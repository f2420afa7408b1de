"""The card on file and the invoices; Stripe keeps both."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.components.cards import card
from billing_app.components.controls import native_link, pager, press_button
from billing_app.components.numbers import badge
from billing_app.components.tables import ACTIONS, amount_cell, cell, table
from billing_app.states.billing_overview import BillingOverviewState as State
from billing_app.states.card_on_file import CardState
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.views import InvoiceRow

HEADS = ("Date", "For", "Number", "Amount", "Status", ACTIONS)
NEW_TAB = {"target": "_blank", "rel": "noopener"}


def payment() -> rx.Component:
    """The card on file and all invoices."""
    return card(
        _method(),
        table(
            "Invoices",
            HEADS,
            rows=State.invoices,
            row=_invoice,
            right=("Amount",),
            wide_only=("For", "Number", "Status", ACTIONS),
            when_empty=rx.el.p(
                "No invoices yet. The first one will appear after your first payment.",
                class_name="card-foot",
            ),
        ),
        pager(
            State.invoice_page,
            has_older=State.has_older_invoices,
            on_newer=State.show_newer_invoices,
            on_older=State.show_older_invoices,
        ),
        title="Payment",
        note="Cards and invoices are managed by Stripe",
        actions=[
            rx.cond(
                State.account.may_manage & State.can_pay,
                press_button(
                    "Manage in Stripe",
                    name="portal",
                    pending=OfferDialogState.pending,
                    on_press=OfferDialogState.open_portal,
                ),
            )
        ],
        flush=True,
    )


def _method() -> rx.Component:
    card_on_file = CardState.card
    return rx.el.div(
        rx.icon("credit-card", aria_hidden="true"),
        rx.el.div(
            rx.el.p(card_on_file.text, class_name="method-text"),
            rx.cond(card_on_file.expires != "", rx.el.p(card_on_file.expires, class_name="soft")),
        ),
        rx.cond(
            card_on_file.state == "unavailable",
            rx.el.button(
                "Try again", type="button", class_name="button small", on_click=CardState.ask
            ),
        ),
        class_name=f"method {card_on_file.state}",
        role="status",
    )


def _invoice(invoice: ObjectVar[InvoiceRow]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.fragment(
                invoice.issued,
                rx.el.span(invoice.what_for, class_name="row-note narrow-only"),
                rx.el.div(
                    badge(invoice.status, invoice.tone), _links(invoice), class_name="narrow-only"
                ),
            ),
            "strong multiline",
        ),
        cell(invoice.what_for, "wrap wide-only"),
        cell(invoice.number, "soft wide-only"),
        amount_cell(invoice.amount, invoice.refunded),
        cell(badge(invoice.status, invoice.tone), "wide-only"),
        cell(_links(invoice), "wide-only"),
        key=invoice.invoice_id,
    )


def _links(invoice: ObjectVar[InvoiceRow]) -> rx.Component:
    return rx.el.span(
        _link(invoice.page_label, invoice.page_url, invoice.number),
        _link("PDF", invoice.pdf_url, invoice.number),
        class_name="row-links",
    )


def _link(label: rx.Var[str] | str, url: rx.Var[str], number: rx.Var[str]) -> rx.Component:
    return rx.cond(
        url != "",
        native_link(
            label,
            href=url,
            class_name="text-link",
            custom_attrs={**NEW_TAB, "aria-label": f"{label}: invoice {number}"},
        ),
    )

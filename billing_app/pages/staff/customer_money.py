"""What an account pays: subscriptions, invoices, and what Stripe sent about it."""

import reflex as rx
from reflex.vars import ObjectVar

from billing_app.billing.staff.customers.account import SubscriptionSort
from billing_app.billing.staff.operations.provider_events import EventSort
from billing_app.billing.subscriptions.invoices import InvoiceSort
from billing_app.components.controls import native_link
from billing_app.components.feedback import empty
from billing_app.components.listing import (
    Column,
    Paging,
    filter_days,
    filter_select,
    lead_cell,
    listing,
    search_box,
)
from billing_app.components.numbers import badge
from billing_app.components.tables import amount_cell, cell
from billing_app.db.enums import InvoiceStatus
from billing_app.states.staff import customer as names
from billing_app.states.staff.customer import StaffCustomerState as State
from billing_app.states.staff.customer_views import INVOICE_STATES
from billing_app.states.staff.listing import ALL, FIRST_DAY, LAST_DAY
from billing_app.states.staff.operations import WEBHOOK_STATES
from billing_app.states.staff.views import InvoiceLine, SubscriptionLine, WebhookLine

INVOICES = Paging(State, names.INVOICES)
WEBHOOKS = Paging(State, names.WEBHOOKS)
INVOICE_CHOICES = (
    (ALL, "Any status"),
    *(
        (status.value, label)
        for status, label in INVOICE_STATES.items()
        if status is not InvoiceStatus.DRAFT
    ),
)
EVENT_STATES = (
    (ALL, "Any status"),
    *((state.value, label) for state, (label, _) in WEBHOOK_STATES.items()),
)


def money() -> rx.Component:
    """Subscriptions and invoices, with the provider's own pages."""
    return rx.fragment(
        listing(
            "Subscriptions",
            (
                Column("Offer"),
                Column("Price", is_wide_only=True),
                Column("Status", SubscriptionSort.STATUS),
                Column("Period", SubscriptionSort.BEGAN, is_wide_only=True),
                Column("Next"),
                Column("Stripe", is_wide_only=True),
            ),
            rows=State.subscriptions,
            row=_subscription,
            paging=Paging(State, names.SUBSCRIPTIONS),
            when_empty=empty(
                icon="repeat", title="No subscription", text="This account has never had one."
            ),
            title="Subscriptions",
        ),
        listing(
            "Invoices",
            (
                Column("Number", InvoiceSort.NUMBER),
                Column("For", is_wide_only=True),
                Column("Status", InvoiceSort.STATUS),
                Column("Amount", InvoiceSort.AMOUNT, is_right=True),
                Column("Issued", InvoiceSort.ISSUED, is_right=True, is_wide_only=True),
                Column("Stripe", is_right=True, is_wide_only=True),
            ),
            rows=State.invoices,
            row=_invoice,
            paging=INVOICES,
            tools=(
                filter_select(INVOICES, names.STATE, "Status", INVOICE_CHOICES),
                filter_days(INVOICES, FIRST_DAY, LAST_DAY),
            ),
            title="Invoices",
            when_empty=empty(
                icon="receipt-text",
                title="No invoices",
                text="The first one appears with the first payment.",
            ),
        ),
    )


def _subscription(row: ObjectVar[SubscriptionLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.fragment(row.offer, rx.el.span(row.price, class_name="row-note narrow-only")),
            "strong wrap",
        ),
        cell(row.price, "soft wide-only"),
        cell(badge(row.status, row.tone)),
        cell(row.period, "soft wide-only"),
        cell(row.note, "soft wrap"),
        cell(_outside(row.provider_url, row.provider_id), "clip wide-only"),
        key=row.provider_id,
    )


def _invoice(row: ObjectVar[InvoiceLine]) -> rx.Component:
    return rx.el.tr(
        cell(
            rx.cond(
                row.page_url != "",
                native_link(
                    row.number,
                    href=row.page_url,
                    class_name="text-link",
                    custom_attrs={"target": "_blank", "rel": "noreferrer"},
                ),
                row.number,
            )
        ),
        cell(row.what_for, "soft wrap wide-only"),
        cell(badge(row.status, row.tone)),
        amount_cell(row.amount, row.refunded),
        cell(row.issued, "right soft wide-only"),
        cell(_outside(row.provider_url, row.invoice_id), "right clip wide-only"),
        key=row.invoice_id,
    )


def _outside(
    url: rx.Var[str], provider_id: rx.Var[str], text: rx.Var[str] | str = "Open"
) -> rx.Component:
    """A link to the provider's page, or the bare id where there is none."""
    named = {"title": provider_id, "aria-label": f"Open {provider_id} at Stripe"}
    return rx.cond(
        url != "",
        native_link(
            text,
            rx.icon("external-link", aria_hidden="true"),
            href=url,
            class_name="text-link external",
            custom_attrs={"target": "_blank", "rel": "noreferrer", **named},
        ),
        rx.el.code(provider_id, title=provider_id, class_name="code"),
    )


def webhooks() -> rx.Component:
    """What Stripe sent about this account."""
    return listing(
        "Webhooks",
        (
            Column("Received (UTC)", EventSort.RECEIVED, is_wide_only=True),
            Column("Type", EventSort.TYPE, is_lead=True),
            Column("Event", is_wide_only=True),
            Column("Status"),
            Column("Attempts", is_right=True, is_wide_only=True),
            Column("Error", is_wide_only=True),
        ),
        rows=State.webhooks,
        row=_webhook,
        paging=WEBHOOKS,
        tools=(
            filter_select(WEBHOOKS, names.STATE, "Status", EVENT_STATES),
            search_box(WEBHOOKS, names.TYPE, "Type", "Type: invoice.", is_small=True),
            filter_days(WEBHOOKS, FIRST_DAY, LAST_DAY),
        ),
        when_empty=empty(
            icon="webhook",
            title="No webhooks",
            text="Stripe has not sent any events about this account.",
        ),
    )


def _webhook(row: ObjectVar[WebhookLine]) -> rx.Component:
    return rx.el.tr(
        cell(row.received, "soft wide-only"),
        lead_cell(row.type, row.received, "strong clip-wide"),
        cell(_outside(row.provider_url, row.event_id, row.event_id), "soft wide-only"),
        cell(badge(row.state, row.tone)),
        cell(row.attempts, "right soft wide-only"),
        cell(row.error, "soft clip wide-only"),
        key=row.event_id,
    )

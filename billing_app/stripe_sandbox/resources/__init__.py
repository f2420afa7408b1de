"""Stripe's resources: rules and routes, a module per topic. Importing this registers all routes.

Imports form no circle: modules with routes stand on top, and the rules they share lie below.
"""

from billing_app.stripe_sandbox.resources import (
    account,
    catalog,
    charges,
    checkout,
    coupons,
    customer_routes,
    disputes,
    events,
    invoice_items,
    invoices,
    meters,
    payment_intent_routes,
    payment_methods,
    portal,
    previews,
    schedules,
    setup_intents,
    subscription_routes,
    tax_ids,
    test_clocks,
)

__all__ = [
    "account",
    "catalog",
    "charges",
    "checkout",
    "coupons",
    "customer_routes",
    "disputes",
    "events",
    "invoice_items",
    "invoices",
    "meters",
    "payment_intent_routes",
    "payment_methods",
    "portal",
    "previews",
    "schedules",
    "setup_intents",
    "subscription_routes",
    "tax_ids",
    "test_clocks",
]

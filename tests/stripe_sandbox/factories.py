"""Short factories for what the tests need."""

from dataclasses import dataclass
from typing import Any

import stripe
from stripe import StripeClient

JAN_31 = 1_801_353_600  # 2027-01-31T00:00:00Z
DAY = 86_400
HOUR = 3_600


def price(
    client: StripeClient, amount: int, interval: str = "month", name: str = "Plan", **more: Any
) -> stripe.Price:
    params: Any = {
        "currency": "usd",
        "unit_amount": amount,
        "recurring": {"interval": interval},
        "product_data": {"name": name},
        **more,
    }
    return client.v1.prices.create(params)


def clock(client: StripeClient, at: int = JAN_31) -> str:
    return client.v1.test_helpers.test_clocks.create({"frozen_time": at}).id


def advance(client: StripeClient, identifier: str, to: int) -> None:
    client.v1.test_helpers.test_clocks.advance(identifier, {"frozen_time": to})


def customer(
    client: StripeClient, card: str | None = "pm_card_visa", on: str | None = None, **more: Any
) -> str:
    params: Any = {"email": "ada@example.com", "name": "Ada", **more}
    if on:
        params["test_clock"] = on
    made = client.v1.customers.create(params).id
    if card:
        use_card(client, made, card)
    return made


def use_card(client: StripeClient, identifier: str, card: str) -> str:
    method = client.v1.payment_methods.attach(card, {"customer": identifier}).id
    client.v1.customers.update(identifier, {"invoice_settings": {"default_payment_method": method}})
    return method


def subscribe(client: StripeClient, who: str, what: str, **more: Any) -> stripe.Subscription:
    params: Any = {"customer": who, "items": [{"price": what}], **more}
    return client.v1.subscriptions.create(params)


def data(thing: Any) -> dict[str, Any]:
    """Plain data of an SDK object."""
    return thing.to_dict()


@dataclass
class Paid:
    """The totals of a customer's invoices, and the balance."""

    lines: int
    paid: int
    balance: int


def totals(client: StripeClient, who: str) -> Paid:
    invoices = list(client.v1.invoices.list({"customer": who, "limit": 100}).auto_paging_iter())
    lines = sum(invoice.total for invoice in invoices)
    paid = sum(invoice.amount_paid for invoice in invoices)
    balance = client.v1.customers.retrieve(who).balance or 0
    return Paid(lines, paid, balance)

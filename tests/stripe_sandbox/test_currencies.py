"""Amounts are in each currency's own minor unit (docs.stripe.com/currencies)."""

import pytest
import stripe
from stripe import StripeClient

from billing_app.billing.currencies import CURRENCIES, EXPONENTS, STEPS
from billing_app.stripe_sandbox import money
from tests.stripe_sandbox.factories import customer


def test_decimals_are_those_of_the_currency() -> None:
    exponents = {
        currency: len(money.text(1, currency.lower()).split(" ")[0].partition(".")[2])
        for currency in CURRENCIES - {"USD", "EUR", "GBP", "JPY"}
    }
    assert {code: places for code, places in exponents.items() if places != 2} == {
        code: places for code, places in EXPONENTS.items() if code in exponents
    }
    assert money.text(1_500, "kwd") == "1.500 KWD"


@pytest.mark.breaks_contract
@pytest.mark.parametrize("currency", [code for code, step in STEPS.items() if step == 10])
def test_last_of_three_decimals_is_zero(client: StripeClient, currency: str) -> None:
    who = customer(client)
    card = client.v1.customers.payment_methods.list(who).data[0].id
    params: stripe.params.PaymentIntentCreateParams = {
        "amount": 1_500, "currency": currency.lower(), "customer": who, "payment_method": card,
        "confirm": True,
    }  # fmt: skip
    paid = client.v1.payment_intents.create(params)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.create({**params, "amount": 1_505})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"payment_intent": paid.id, "amount": 755})
    assert client.v1.refunds.create({"payment_intent": paid.id, "amount": 750}).amount == 750

"""Stripe Tax: the tax that `automatic_tax` adds to invoices and checkout sessions.

The customer's shipping address decides, else the billing address
(https://docs.stripe.com/tax/customer-locations). Prices exclude tax; each line is taxed on what is
left of it after discounts, so a negative line has a negative tax
(https://docs.stripe.com/api/invoice-line-item/object). RATES is the whole tax law here: a flat
rate in percent for the country, without thresholds, exemptions and reverse charge.
"""

from collections.abc import Sequence
from fractions import Fraction

from billing_app.stripe_sandbox import money
from billing_app.stripe_sandbox.errors import Json, StripeError
from billing_app.stripe_sandbox.world import World

RATES = {"AT": "20", "CH": "8.1", "DE": "19", "FR": "20", "GB": "20", "IE": "23", "NL": "21"}
_SELF = {"account": None, "type": "self"}


def location(customer: Json) -> str | None:
    """The country that taxes the customer; None if their address does not tell."""
    for address in ((customer["shipping"] or {}).get("address"), customer["address"]):
        if address and address.get("country"):
            needs_code = address["country"] == "US"
            return address["country"] if address.get("postal_code") or not needs_code else None
    return None


def location_invalid(message: str | None = None) -> StripeError:
    """https://docs.stripe.com/error-codes#customer-tax-location-invalid"""
    return StripeError(
        400,
        "invalid_request_error",
        message
        or "The customer's location isn't recognized. Set a valid customer address in order to "
        "automatically calculate tax.",
        code="customer_tax_location_invalid",
    )


def setting(params: Json, current: Json) -> Json:
    """`automatic_tax` of a subscription or a schedule's phase after a request."""
    wanted = params.get("automatic_tax")
    return _set(enabled=wanted["enabled"]) if wanted else dict(current)


def _set(*, enabled: bool) -> Json:
    liability = dict(_SELF) if enabled else None
    return {"disabled_reason": None, "enabled": enabled, "liability": liability}


OFF = _set(enabled=False)


def of_document(*, enabled: bool) -> Json:
    """`automatic_tax` of an invoice or a checkout session that was not computed yet."""
    provider = "stripe" if enabled else None
    return _set(enabled=enabled) | {"provider": provider, "status": None}


def require_location(world: World, subscription: Json) -> None:
    """Raises StripeError when the subscription's next invoice could not be taxed."""
    customer = world.store.get(subscription["customer"])
    if subscription["automatic_tax"]["enabled"] and location(customer) is None:
        raise location_invalid()


def stop(document: Json, reason: str) -> None:
    """Turns automatic tax off: the customer's location is not known."""
    document["automatic_tax"] |= _set(enabled=False) | {"disabled_reason": reason}


def tax_invoice(world: World, invoice: Json) -> int:
    """Sets the taxes of the lines and of the whole; returns what they add."""
    lines = invoice["lines"]["data"]
    state = invoice["automatic_tax"]
    country = location(world.store.get(invoice["customer"])) if state["enabled"] else None
    if state["enabled"]:
        state["status"] = "complete" if country else "requires_location_inputs"
    for line in lines:
        line["taxes"] = [_tax(_net(line), country)] if country else []
    invoice["total_taxes"] = _totals(lines)
    return sum(tax["amount"] for tax in invoice["total_taxes"])


def tax_on(amount: int, country: str | None) -> int:
    """Rounded once, half away from zero."""
    return money.round_minor(amount * Fraction(RATES.get(country or "", "0")) / 100)


def _net(line: Json) -> int:
    return line["amount"] - sum(entry["amount"] for entry in line["discount_amounts"])


def _tax(taxable: int, country: str) -> Json:
    return {
        "amount": tax_on(taxable, country),
        "tax_behavior": "exclusive",
        "tax_rate_details": {"tax_rate": f"txr_sandbox_{country.lower()}"},
        "taxability_reason": "standard_rated" if country in RATES else "not_collecting",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def _totals(lines: Sequence[Json]) -> list[Json]:
    taxes = [tax for line in lines for tax in line["taxes"]]
    if not taxes:
        return []
    amounts = {name: sum(tax[name] for tax in taxes) for name in ("amount", "taxable_amount")}
    return [taxes[0] | amounts]

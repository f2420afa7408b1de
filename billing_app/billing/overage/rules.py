"""How much overage is allowed. Pure."""

from typing import Final

from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OverageTerms

SUFFIX: Final = ":overage"
# When neither the offer nor the account sets a limit.
UNLIMITED_EXECUTIONS: Final = 1_000_000_000


def reference_of(invoice_id: str) -> str:
    """The `source_reference` of the overage plan beside the plan of an invoice."""
    return f"{invoice_id}{SUFFIX}"


def allowed_executions(terms: OverageTerms, currency: str, limit: Money | None) -> int:
    """The lower of the offer's limit and what the account's own spending limit buys in whole units.

    A limit in another currency than the offer's allows nothing until it is set again: what
    somebody agreed to spend is never guessed.
    """
    most = UNLIMITED_EXECUTIONS if terms.limit_executions is None else terms.limit_executions
    if limit is None:
        return most
    if limit.currency != currency:
        return 0
    units = limit.minor // terms.unit_price_minor
    return min(most, units * terms.unit_executions)

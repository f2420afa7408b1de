"""How many executions beyond the plan are allowed. Pure."""

from dataclasses import dataclass
from typing import Final

from billing_app.billing.offers.catalogue import OverageTerms

SUFFIX: Final = ":overage"
# When neither the offer nor the account sets a limit.
UNLIMITED_EXECUTIONS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SpendingLimit:
    """What an account wants to spend in a period, at most."""

    limit_minor: int
    currency: str


def reference_of(invoice_id: str) -> str:
    """What the overage plan beside the plan of an invoice is made for."""
    return f"{invoice_id}{SUFFIX}"


def allowed_executions(terms: OverageTerms, currency: str, limit: SpendingLimit | None) -> int:
    """The lower of the offer's limit and what the account's buys in whole units.

    A limit in another currency than the offer's allows nothing until it is set anew: what
    somebody agreed to spend is never guessed.
    """
    most = UNLIMITED_EXECUTIONS if terms.limit_executions is None else terms.limit_executions
    if limit is None:
        return most
    if limit.currency != currency:
        return 0
    units = limit.limit_minor // terms.unit_price_minor
    return min(most, units * terms.unit_executions)

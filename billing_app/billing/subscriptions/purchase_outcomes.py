"""What became of a payment: the one model that pages, mails, the API and the history word from."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from billing_app.billing.errors import BillingError
from billing_app.billing.money import Money
from billing_app.billing.subscriptions.errors import PaymentActionRequiredError
from billing_app.billing.subscriptions.provider_errors import (
    PaymentDeclinedError,
    PaymentProviderUnavailableError,
)
from billing_app.db.enums import InvoiceStatus


class PaymentState(StrEnum):
    """`BANK_ASKED`: a bank debit, which the bank decides on days later. `DECLINED`: not paid.
    `UNCLEAR`: we are checking."""

    CHARGED = "charged"
    NOTHING_DUE = "nothing_due"
    BANK_ASKED = "bank_asked"
    CONFIRMATION_NEEDED = "confirmation_needed"
    DECLINED = "declined"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class PurchaseOutcome:
    """`amount`: what was charged, or what is due; None: unknown. `payment_url`: where the customer
    pays or confirms; None: nothing waits for that."""

    state: PaymentState
    amount: Money | None = None
    payment_url: str | None = None


class Billed(Protocol):
    """An invoice of the provider, or our copy of it."""

    @property
    def status(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def amount_due_minor(self) -> int: ...
    @property
    def is_processing(self) -> bool: ...
    @property
    def page_url(self) -> str: ...


def outcome_of(invoice: Billed | None) -> PurchaseOutcome:
    """Of the payment of an invoice; None: it is not known yet."""
    if invoice is None or invoice.status == InvoiceStatus.DRAFT:
        return PurchaseOutcome(PaymentState.UNCLEAR)
    amount = Money(invoice.amount_due_minor, invoice.currency)
    if invoice.status == InvoiceStatus.PAID:
        state = PaymentState.CHARGED if amount.minor else PaymentState.NOTHING_DUE
        return PurchaseOutcome(state, amount)
    if invoice.is_processing:
        return PurchaseOutcome(PaymentState.BANK_ASKED, amount)
    is_void = invoice.status == InvoiceStatus.VOID
    return PurchaseOutcome(
        PaymentState.DECLINED, amount, None if is_void else invoice.page_url or None
    )


def outcome_of_error(error: BillingError) -> PurchaseOutcome | None:
    """Of a purchase that raised it; None: the error is about something else."""
    if isinstance(error, PaymentDeclinedError):
        return PurchaseOutcome(PaymentState.DECLINED)
    if isinstance(error, PaymentActionRequiredError):
        return PurchaseOutcome(PaymentState.CONFIRMATION_NEEDED, payment_url=error.payment_url)
    if isinstance(error, PaymentProviderUnavailableError):
        return PurchaseOutcome(PaymentState.UNCLEAR)
    return None

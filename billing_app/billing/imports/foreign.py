"""What is read of a payment provider's account whose subscriptions we did not make."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from billing_app.db.enums import SubscriptionStatus


@dataclass(frozen=True, slots=True)
class ForeignPrice:
    """`unit_amount_minor` None: it is not a whole number of minor units, or there are tiers.
    `counts_packages`: it is for packages of units. `lookup_key`: "" without."""

    price_id: str
    product_id: str
    currency: str
    unit_amount_minor: int | None
    interval: str
    interval_count: int
    is_metered: bool
    is_tiered: bool
    counts_packages: bool
    is_active: bool
    lookup_key: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ForeignProduct:
    name: str
    description: str
    is_active: bool
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ForeignCustomer:
    """`account_id`: of the billing installation that made it, or took it; "" without."""

    customer_id: str
    name: str
    email: str
    account_id: str
    is_deleted: bool
    is_on_test_clock: bool
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ForeignItem:
    price: ForeignPrice
    quantity: int
    period_end: datetime


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """A period on a subscription's newest invoice; not a prorated one."""

    price_id: str
    period_end: datetime


@dataclass(frozen=True, slots=True)
class ForeignSubscription:
    """`billed`: what its newest invoice bills. `has_schedule`: its changes are scheduled."""

    subscription_id: str
    customer: ForeignCustomer
    status: SubscriptionStatus
    currency: str
    items: list[ForeignItem]
    billed: list[BilledPeriod]
    has_schedule: bool
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ForeignPage:
    """`last`: the id to go on after; None: there are no more."""

    subscriptions: list[ForeignSubscription]
    last: str | None


@dataclass(frozen=True, slots=True)
class OpenInvoice:
    customer_id: str
    subscription_id: str


@dataclass(frozen=True, slots=True)
class OpenInvoicePage:
    """Of subscriptions. `last`: as in ForeignPage."""

    invoices: list[OpenInvoice]
    last: str | None


class ForeignAccount(Protocol):
    """Raises as PaymentProvider. Only `claim_customer` writes."""

    async def live_subscriptions(self, after: str | None) -> ForeignPage:
        """A page of all that have not ended, newest first."""
        ...

    async def price(self, price_id: str) -> tuple[ForeignPrice, ForeignProduct]:
        """As it is now, with its product."""
        ...

    async def open_invoices(self, after: str | None) -> OpenInvoicePage: ...

    async def claim_customer(self, customer_id: str, account_id: str) -> None:
        """Note in the customer's metadata that it is the account's; nothing else changes."""
        ...

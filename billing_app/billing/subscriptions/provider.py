"""What billing needs from a payment provider such as Stripe, and the snapshots it gets back.

Every call that writes takes an idempotency key: the same key and parameters return the first
result again. Amounts are integer minor units; times are aware UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OverageTerms
from billing_app.billing.quantities import counted
from billing_app.db.enums import Interval, InvoiceStatus, SubscriptionStatus

# A subscription never leaves these.
ENDED: Final = (SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED)


@dataclass(frozen=True, slots=True)
class ProviderAccount:
    """Whose key is used. `provider_id` None: the key may not read it. `is_live`: real money."""

    provider_id: str | None
    is_live: bool


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """What a price is created from. `reference` identifies it at the provider for ever. With
    `overage` there is a second price, for what a meter counts."""

    reference: str
    name: str
    description: str
    price: Money
    interval: Interval
    overage: OverageTerms | None = None


@dataclass(frozen=True, slots=True)
class OfferPrices:
    """The ids of an offer's price and of its metered overage price."""

    price_id: str
    overage_price_id: str | None


@dataclass(frozen=True, slots=True)
class ProviderPrice(OfferPrices):
    product_id: str


@dataclass(frozen=True, slots=True)
class ProviderCheckout:
    """`status` is `open`, `complete` or `expired`. `is_paid`: money was taken for it.
    `is_subscription`: it sells a subscription, and not a pack. `business_name`: entered beside a
    tax id; "" without."""

    provider_id: str
    customer_id: str
    status: str
    url: str | None
    subscription_id: str | None
    invoice_id: str | None
    is_paid: bool
    is_subscription: bool
    business_name: str = ""


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """A price that a subscription bills, how many of it, and its current period."""

    price_id: str
    quantity: int
    period_start: datetime
    period_end: datetime


@dataclass(frozen=True, slots=True)
class ProviderSubscription:
    """`items` are of anybody's prices, those that a meter counts last. `next_price_ids`: of the
    change that is scheduled. `cancel_at`: when it ends, unless the cancellation is withdrawn.
    `is_collecting`: False while the collection of its invoices is paused. `request_key`: of our
    last request that changed it; "" when none did. `trial_card`: identifies the card of a trial
    that we began, over all customers; "" for any other subscription.
    """

    provider_id: str
    customer_id: str
    status: SubscriptionStatus
    items: list[SubscriptionItem]
    next_price_ids: list[str]
    cancel_at: datetime | None
    is_collecting: bool
    ended_at: datetime | None
    request_key: str
    trial_card: str = ""


class ReversalKind(StrEnum):
    """Fully refunded, disputed, or lost in a dispute."""

    REFUNDED = "refunded"
    DISPUTED = "disputed"
    DISPUTE_LOST = "dispute_lost"


@dataclass(frozen=True, slots=True)
class Reversal:
    """`amount_minor` is what was refunded or is disputed."""

    kind: ReversalKind
    at: datetime
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ReturnedPayment:
    """What was refunded of a payment and lost in disputes; `reversal`: None while it stands."""

    payment_id: str
    refunded_minor: int
    lost_minor: int
    reversal: Reversal | None


class DisputeStage(StrEnum):
    """An inquiry takes no money. UNANSWERED waits for our evidence, ANSWERED for the bank."""

    INQUIRY = "inquiry"
    UNANSWERED = "unanswered"
    ANSWERED = "answered"
    DECIDED = "decided"


@dataclass(frozen=True, slots=True)
class ProviderDispute:
    """A dispute as an event describes it. The plan is suspended from `opened_at` on."""

    provider_id: str
    payment_id: str
    stage: DisputeStage
    amount_minor: int
    currency: str
    opened_at: datetime
    evidence_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """`net_minor` is the amount after discounts. `is_period`: it bills a period of a subscription;
    otherwise it is a single item. `is_proration`: a share of a period, for a change in the middle
    of it. `overage_of`: the plan whose overage we billed with it; None: the price tells.
    `description`: the provider's own."""

    line_id: str
    price_id: str | None
    quantity: int
    amount_minor: int
    net_minor: int
    period_start: datetime
    period_end: datetime
    is_period: bool
    is_proration: bool
    overage_of: int | None
    description: str


@dataclass(frozen=True, slots=True)
class ProviderInvoice:
    """`request_key`: of our request that created it; "" when none did.

    `refunded_minor` is what was refunded of its payments so far, `waived_minor` what a credit
    balance or credit notes took off its total. `is_collecting`: the provider keeps trying.
    `attempts` counts the attempts to charge it. `due_at`: it was sent to be paid until then; None:
    it is charged at once. `is_processing`: a payment of it is on its way. `reversal`: None while
    its payment stands. `payment_ids`: of its payments; `returned`: what went back of them, which
    the amounts include.
    """

    provider_id: str
    customer_id: str
    subscription_id: str | None
    number: str
    status: InvoiceStatus
    billing_reason: str
    currency: str
    amount_due_minor: int
    amount_paid_minor: int
    refunded_minor: int
    total_minor: int
    waived_minor: int
    lines: list[InvoiceLine]
    request_key: str
    is_collecting: bool
    attempts: int
    due_at: datetime | None
    is_processing: bool
    paid_at: datetime | None
    reversal: Reversal | None
    page_url: str
    pdf_url: str
    issued_at: datetime
    payment_ids: tuple[str, ...] = ()
    returned: tuple[ReturnedPayment, ...] = ()

    def with_returned(self, returned: Sequence[ReturnedPayment]) -> "ProviderInvoice":
        """The same invoice, with that returned of its payments and nothing else."""
        more, less = _sums(returned), _sums(self.returned)
        return replace(
            self,
            refunded_minor=self.refunded_minor + more[0] - less[0],
            waived_minor=self.waived_minor + more[1] - less[1],
            reversal=next((each.reversal for each in returned if each.reversal), None),
            returned=tuple(returned),
        )


def _sums(returned: Sequence[ReturnedPayment]) -> tuple[int, int]:
    """Refunded and lost minor units."""
    return sum(each.refunded_minor for each in returned), sum(each.lost_minor for each in returned)


@dataclass(frozen=True, slots=True)
class ProviderSnapshot:
    """Everything a customer has, each list oldest first."""

    customer_id: str
    subscriptions: list[ProviderSubscription]
    invoices: list[ProviderInvoice]


@dataclass(frozen=True, slots=True)
class ChargedPayment:
    """Whose payment a charge is, and which; "" when it is nobody's."""

    customer_id: str
    payment_id: str


@dataclass(frozen=True, slots=True)
class OurCustomer:
    """A customer with our metadata: the account that it was created for, and the mark of the
    installation that created it ("" before there were marks)."""

    customer_id: str
    account_id: str
    mark: str = ""
    name: str = ""
    email: str | None = None
    purchase_order: str = ""


@dataclass(frozen=True, slots=True)
class OurCustomers:
    """A page of them. `last`: the last customer of the page, ours or not; None: it has none."""

    customers: list[OurCustomer]
    last: str | None
    has_more: bool


@dataclass(frozen=True, slots=True)
class PreviewLine:
    description: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ProviderPreview:
    """An invoice that would be issued, to the minor unit; `period_end`: of what it sells."""

    currency: str
    amount_due_minor: int
    period_end: datetime | None
    lines: list[PreviewLine]


@dataclass(frozen=True, slots=True)
class Credit:
    """The value of what was paid for and not used; positive."""

    amount: Money
    description: str


@dataclass(frozen=True, slots=True)
class OverageCharge:
    """The overage of a plan that a change ends: its cost so far, billed with the change.

    `price_id` is its metered price, which bills none of it in that case.
    """

    plan_sequence: int
    price_id: str
    executions: int
    amount: Money

    @property
    def description(self) -> str:
        return f"{counted(self.executions, 'execution')} beyond the plan"


@dataclass(frozen=True, slots=True)
class SubscriptionChange:
    """A change that takes effect now: the new prices and those that they replace, what is credited
    and what is billed. A cancellation is withdrawn, unless it is kept."""

    prices: OfferPrices
    replaces: OfferPrices | None
    credit: Credit | None
    overage: OverageCharge | None
    keeps_cancellation: bool = False


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """An event from the provider's log."""

    id: str
    type: str
    object_id: str
    customer_id: str
    occurred_at: datetime
    payload: dict[str, object]


@dataclass(frozen=True, slots=True)
class ProviderPaymentMethod:
    """For display: Visa, 4242, 12/2030. `is_debit`: the bank decides days after it is asked."""

    provider_id: str
    brand: str
    last4: str
    expires: str
    is_debit: bool = False


class PaymentProvider(Protocol):
    """Raises PaymentDeclinedError, PaymentProviderUnavailableError, PaymentProviderFailedError,
    NotAtProviderError; what writes raises ProviderNotAdoptedError too."""

    computes_tax: bool  # whether it adds a tax to the prices

    async def close(self) -> None:
        """Close its connections; no call may follow."""
        ...

    async def account(self) -> ProviderAccount: ...

    async def require_writable(self) -> None:
        """Raises ProviderNotAdoptedError when nothing may be written to the account."""
        ...

    async def ensure_price(self, terms: PriceTerms, *, key: str) -> ProviderPrice: ...

    async def activate(self, prices: OfferPrices, *, dry_run: bool = False) -> list[str]:
        """Put archived prices and their products on sale again; returns the ids of those."""
        ...

    async def create_customer(
        self, *, account_id: str, name: str, email: str | None, key: str
    ) -> str: ...

    async def update_customer(
        self,
        customer_id: str,
        *,
        name: str,
        email: str | None,
        purchase_order: str | None = None,
        key: str,
    ) -> None:
        """`purchase_order`: printed on invoices from now on; "": none; None: left as it is."""
        ...

    async def payment_method(
        self, customer_id: str, subscription_id: str | None = None
    ) -> ProviderPaymentMethod | None: ...

    async def require_card(self, payment_method_id: str) -> None:
        """Raises PaymentMethodMissingError when it is no longer on file."""
        ...

    async def create_checkout(
        self,
        *,
        customer_id: str,
        prices: OfferPrices,
        trial_days: int,
        is_subscription: bool,
        success_url: str,
        cancel_url: str,
        key: str,
    ) -> ProviderCheckout: ...

    async def expire_checkout(self, provider_id: str) -> ProviderCheckout: ...

    async def create_subscription(
        self,
        *,
        customer_id: str,
        prices: OfferPrices,
        trial_days: int,
        payment_method_id: str,
        key: str,
    ) -> str: ...

    async def preview_purchase(
        self, *, customer_id: str, prices: OfferPrices, is_subscription: bool
    ) -> ProviderPreview:
        """What buying with the method on file would charge today, with its tax."""
        ...

    async def preview_change(
        self, subscription_id: str, change: SubscriptionChange
    ) -> ProviderPreview: ...

    async def change_now(
        self, subscription_id: str, change: SubscriptionChange, *, key: str
    ) -> None: ...

    async def change_at_period_end(
        self,
        *,
        subscription_id: str,
        prices: OfferPrices,
        replaces: OfferPrices | None,
        interval: Interval,
        key: str,
    ) -> None: ...

    async def cancel_at_period_end(self, subscription_id: str, *, key: str) -> None: ...

    async def cancel_now(self, subscription_id: str, *, key: str) -> None: ...

    async def resume(self, subscription_id: str, *, key: str) -> None: ...

    async def put_back(self, subscription_id: str, *, key: str) -> bool:
        """Restore the scheduled change or the cancellation that a failed request with this key took
        away; whether it did. Repeated, it changes nothing."""
        ...

    async def report_usage(
        self, *, customer_id: str, executions: int, identifier: str, at: datetime
    ) -> None: ...

    async def metered_usage(self, customer_id: str, start: datetime, end: datetime) -> int: ...

    async def buy_pack(
        self, *, customer_id: str, price_id: str, payment_method_id: str, key: str
    ) -> None: ...

    async def void_invoice(self, invoice_id: str) -> None: ...

    async def settle_overage(
        self,
        *,
        customer_id: str,
        amount: Money,
        description: str,
        payment_method_id: str | None,
        key: str,
    ) -> None: ...

    async def portal_url(self, *, customer_id: str, return_url: str) -> str: ...

    async def checkout(self, provider_id: str) -> ProviderCheckout: ...

    async def customer_snapshot(self, customer_id: str) -> ProviderSnapshot: ...

    async def subscriptions_of(self, customer_id: str) -> list[ProviderSubscription]:
        """All of a customer, oldest first."""
        ...

    async def recent_invoices(
        self, customer_id: str, after: str | None
    ) -> list[ProviderInvoice] | None:
        """Those issued after the invoice `after`, oldest first, without what was returned; None:
        too many. Raises NotAtProviderError when that invoice is gone."""
        ...

    async def invoice(self, invoice_id: str, *, with_returned: bool) -> ProviderInvoice: ...

    async def payment_of_charge(self, charge_id: str) -> ChargedPayment: ...

    async def our_customers(self, after: str | None) -> OurCustomers:
        """A page of those after the customer `after`. Raises NotAtProviderError when it is gone."""
        ...

    async def events_since(self, since: datetime) -> list[ProviderEvent]: ...

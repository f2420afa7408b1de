"""What the subscriptions of a payment provider's account become, and why some cannot be taken.

Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Final

from billing_app.billing.imports.foreign import (
    ForeignItem,
    ForeignSubscription,
    OpenInvoice,
)
from billing_app.billing.imports.price_plans import PriceMap, PricePlan, whole_number
from billing_app.billing.quantities import counted
from billing_app.db.enums import SubscriptionStatus

TAKEN: Final = (
    SubscriptionStatus.ACTIVE,
    SubscriptionStatus.TRIALING,
    SubscriptionStatus.PAST_DUE,
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The metadata that tell an organization's id (of a customer), the executions of a period (of
    a price or product), and those used so far (of a subscription or customer)."""

    external_id: str = "external_id"
    executions: str = "executions"
    used: str = "executions_used"


USUAL_KEYS: Final = Keys()


@dataclass(slots=True)
class Survey:
    """What is known of the whole account before its subscriptions are looked at one by one: two
    digests for each customer, and the open invoices. `counts`: how
    many items have each price."""

    keys: Keys
    counts: dict[str, int] = field(default_factory=dict[str, int])
    subscriptions: int = 0
    _customers: set[bytes] = field(default_factory=set[bytes])
    _with_several: set[bytes] = field(default_factory=set[bytes])
    _external_ids: set[bytes] = field(default_factory=set[bytes])
    _shared_ids: set[bytes] = field(default_factory=set[bytes])
    _open: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def add(self, subscription: ForeignSubscription) -> None:
        self.subscriptions += 1
        for item in subscription.items:
            self.counts[item.price.price_id] = self.counts.get(item.price.price_id, 0) + 1
        customer = _digest(subscription.customer.customer_id)
        external_id = _digest(self.external_id(subscription))
        if customer in self._customers:
            self._with_several.add(customer)
        elif external_id in self._external_ids:
            self._shared_ids.add(external_id)
        self._customers.add(customer)
        self._external_ids.add(external_id)

    def external_id(self, subscription: ForeignSubscription) -> str:
        customer = subscription.customer
        return customer.metadata.get(self.keys.external_id, "").strip() or customer.customer_id

    def shares_id(self, external_id: str) -> bool:
        return _digest(external_id) in self._shared_ids

    def add_open(self, invoice: OpenInvoice) -> None:
        self._open.setdefault(invoice.customer_id, set()).add(invoice.subscription_id)

    def has_several(self, customer_id: str) -> bool:
        return _digest(customer_id) in self._with_several

    def owes_elsewhere(self, subscription: ForeignSubscription) -> bool:
        """Whether the customer has an open invoice of another subscription, which has ended."""
        found = self._open.get(subscription.customer.customer_id, set())
        return bool(found - {subscription.subscription_id})


@dataclass(frozen=True, slots=True)
class SubscriptionPlan:
    """What becomes of a subscription. `problem` not "": nothing, and why. `used` of its
    `executions` in the period that ends at `ends_at`."""

    subscription: ForeignSubscription
    external_id: str
    problem: str = ""
    price: PricePlan | None = None
    executions: int = 0
    used: int = 0
    ends_at: datetime | None = None


def plan_subscription(
    subscription: ForeignSubscription,
    prices: Mapping[str, PricePlan],
    survey: Survey,
    price_map: PriceMap,
) -> SubscriptionPlan:
    external_id = survey.external_id(subscription)
    problem = _problem(subscription, survey) or _items_problem(subscription, prices)
    if problem:
        return SubscriptionPlan(subscription, external_id, problem)
    (item,) = subscription.items
    price = prices[item.price.price_id]
    assert price.terms is not None
    executions = price.terms.executions * item.quantity
    used = _used(subscription, price_map, survey.keys)
    if isinstance(used, str) or used > executions:
        problem = f"{used} of {counted(executions, 'execution')} are used"
        return SubscriptionPlan(subscription, external_id, problem)
    return SubscriptionPlan(subscription, external_id, "", price, executions, used, item.period_end)


def _problem(subscription: ForeignSubscription, survey: Survey) -> str:
    customer = subscription.customer
    reasons = (
        (customer.is_deleted, "its customer was deleted"),
        ("\0" in survey.external_id(subscription), "its external ID has a NUL character"),
        (customer.is_on_test_clock, "its customer is on a test clock"),
        (subscription.status not in TAKEN, f"it is {subscription.status}"),
        (survey.has_several(customer.customer_id), "its customer has another live subscription"),
        (
            survey.shares_id(survey.external_id(subscription)),
            f"other customers have the same {survey.keys.external_id}",
        ),
        (subscription.has_schedule, "its changes are scheduled: release the schedule first"),
        (
            survey.owes_elsewhere(subscription),
            "its customer has an open invoice of another subscription: collect or void it first",
        ),
    )
    return next((reason for is_so, reason in reasons if is_so), "")


def _items_problem(subscription: ForeignSubscription, prices: Mapping[str, PricePlan]) -> str:
    items = subscription.items
    if len(items) != 1:
        return f"it has {len(items)} items"
    (item,) = items
    price = prices.get(item.price.price_id)
    if price is None:
        return "it changed while it was read: run the command again"
    currency = subscription.currency
    reasons = (
        (bool(price.problem), f"price {item.price.price_id}: {price.problem}"),
        (
            currency != item.price.currency,
            f"it is billed in {currency}, its price is in {item.price.currency}",
        ),
        (item.quantity < 1, "its quantity is 0"),
        (
            not _is_billed(subscription, item),
            "its newest invoice does not bill the current period: it changed since",
        ),
    )
    return next((reason for is_so, reason in reasons if is_so), "")


def _is_billed(subscription: ForeignSubscription, item: ForeignItem) -> bool:
    return any(
        (each.price_id, each.period_end) == (item.price.price_id, item.period_end)
        for each in subscription.billed
    )


def _used(subscription: ForeignSubscription, price_map: PriceMap, keys: Keys) -> int | str:
    """A string: what the metadata has is not a number."""
    customer = subscription.customer
    mapped = price_map.used.get(customer.customer_id)
    if mapped is not None:
        return mapped
    text = subscription.metadata.get(keys.used) or customer.metadata.get(keys.used) or ""
    number = whole_number(text.strip())
    return 0 if not text.strip() else text if number is None else number


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()

"""What makes executions available by itself, and when: the one rule of answers, refusals and pages.

A plan that starts later, the renewal of a subscription, or the refill of a free offer. What needs
somebody to act, such as an overdue payment, is nothing that comes by itself. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dateutil.relativedelta import relativedelta

from billing_app.billing.accounts.free_refills import AHEAD, period_at
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import CurrentPlan
from billing_app.billing.subscriptions.bridges import RENEWING
from billing_app.billing.subscriptions.proration import PERIODS
from billing_app.db.enums import SubscriptionStatus


class NextSource(StrEnum):
    """`CHANGE`: the subscription renews as another offer. `REFILL`: of a free offer."""

    PLAN = "plan"
    RENEWAL = "renewal"
    CHANGE = "change"
    REFILL = "refill"


@dataclass(frozen=True, slots=True)
class NextExecutions:
    """`executions` of `name` become available at `at` (aware UTC)."""

    at: datetime
    executions: int
    name: str
    source: NextSource


@dataclass(frozen=True, slots=True)
class Renewing:
    """A live subscription. `ends_at`: when it was told to end; None: it goes on. `is_unpaid`: it is
    overdue, its bank has not paid for its start, or its trial was refused."""

    status: SubscriptionStatus
    period_start: datetime
    period_end: datetime
    ends_at: datetime | None
    is_unpaid: bool
    quantity: int
    offer: OfferView
    next_offer: OfferView | None

    def next_end(self) -> datetime:
        """Of the period that follows the current one. The 31st comes back after a shorter month; a
        trial's end begins a new cycle."""
        day = self.period_end.day
        if self.status is not SubscriptionStatus.TRIALING:
            day = max(day, self.period_start.day)
        renewed = self.next_offer or self.offer
        return self.period_end + PERIODS[renewed.interval] + relativedelta(day=day)


@dataclass(frozen=True, slots=True)
class FreeOffer:
    """It is refilled at `refills_at`, a whole number of periods after `since`."""

    refills_at: datetime
    since: datetime
    offer: OfferView


def renewal_of(live: Renewing, now: datetime) -> NextExecutions | None:
    """None: it does not renew. When its period is over the next one can be used already (see
    bridges.py), so that what comes is the one after that."""
    if live.status not in RENEWING or live.is_unpaid:
        return None
    is_over = live.period_end <= now
    at = live.next_end() if is_over else live.period_end
    if live.ends_at is not None and live.ends_at <= at:
        return None
    renewed = live.next_offer or live.offer
    source = NextSource.CHANGE if live.next_offer and not is_over else NextSource.RENEWAL
    return NextExecutions(at, renewed.executions * live.quantity, renewed.name, source)


def refill_of(free: FreeOffer, live: Renewing | None, now: datetime) -> NextExecutions | None:
    """None: a subscription that goes on takes its place. The job looks AHEAD of a period's start
    for one (see free_refills.py)."""
    if live is not None and live.ends_at is None:
        return None
    at, not_before = free.refills_at, live.ends_at if live else None
    while at <= now or (not_before is not None and at - AHEAD < not_before):
        _, at = period_at(free.offer, free.since, at)
    return NextExecutions(at, free.offer.executions, free.offer.name, NextSource.REFILL)


def plans_of(current: CurrentPlan) -> list[NextExecutions]:
    """The plans that wait for their start."""
    return [
        NextExecutions(plan.starts_at, plan.remaining, plan.name, NextSource.PLAN)
        for plan in current.upcoming
        if plan.sequence not in current.never_usable
    ]


def first_of(coming: Iterable[NextExecutions | None], now: datetime) -> NextExecutions | None:
    """The first that brings executions after `now`; None: nothing comes."""
    found = [each for each in coming if each is not None and each.at > now and each.executions > 0]
    return min(found, key=lambda each: (each.at, each.name), default=None)

"""What an account has, in the order of use, what stops it, and what comes next.

The one model that pages, mails and the console word from: none of them decides these things.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.offers.catalogue import OfferView
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView, read_current
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.bank_debits import (
    BankDebit,
    PaidFor,
    bank_debits,
    undecided_debit,
    unpaid_start,
)
from billing_app.billing.subscriptions.proration import may_begin_next_period
from billing_app.billing.subscriptions.views import SubscriptionView, subscription_view
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, PlanSource, SubscriptionStatus

LOW_PERCENT: Final = 80


class NextSource(StrEnum):
    """`CHANGE`: the subscription renews as another offer."""

    PLAN = "plan"
    RENEWAL = "renewal"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class NextExecutions:
    """What makes executions available by itself: `executions` of `name` at `at` (aware UTC)."""

    at: datetime
    executions: int
    name: str
    source: NextSource


def renewal_of(
    at: datetime, quantity: int, offer: OfferView, next_offer: OfferView | None
) -> NextExecutions:
    """What a subscription that renews by itself brings at the end of its period."""
    renewed = next_offer or offer
    source = NextSource.CHANGE if next_offer else NextSource.RENEWAL
    return NextExecutions(at, renewed.executions * quantity, renewed.name, source)


def first_of(
    upcoming: list[PlanView], renewal: NextExecutions | None, now: datetime
) -> NextExecutions | None:
    """The first of the plans that start later and of the renewal; None: nothing comes."""
    found = [
        NextExecutions(plan.starts_at, plan.remaining, plan.name, NextSource.PLAN)
        for plan in upcoming
        if plan.starts_at > now
    ]
    if renewal is not None:
        found.append(renewal)
    return min(found, key=lambda each: (each.at, each.name), default=None)


class Shortage(StrEnum):
    """Why nothing of the account's plans can be used. `STOPPED`: executions are left, which wait
    for a payment or for support. `RESERVED`: reservations hold the last ones. `ENDED`: the last
    plan ended before it was used up."""

    STOPPED = "stopped"
    RESERVED = "reserved"
    USED_UP = "used_up"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """As of `at`. `subscription`: the live one. `is_period_used_up`: nothing is left of its
    period. `debits`: what banks are asked for or did not pay, and what they paid lately.
    `unpaid_start`: the one of what the subscription is on, while the bank has not paid: its
    executions come with the payment. `undecided`: the one that the bank has not decided on, of the
    subscription: until then it can be changed at the end of its period only."""

    current: CurrentPlan
    subscription: SubscriptionView | None
    at: datetime
    is_period_used_up: bool = False
    debits: tuple[BankDebit, ...] = ()
    unpaid_start: BankDebit | None = None
    undecided: BankDebit | None = None

    @property
    def queue(self) -> list[PlanView]:
        """The plans that have not ended, in the order of use."""
        first = [self.current.plan] if self.current.plan else []
        plans = (*first, *self.current.upcoming)
        return [plan for plan in plans if plan.state is not PlanState.ENDED]

    @property
    def usable_count(self) -> int:
        """How many plans can be used now, the current one included."""
        usable = [plan for plan in self.current.upcoming if plan.is_usable(self.at)]
        return len(usable) + (self.current.plan is not None)

    @property
    def period_plan(self) -> PlanView | None:
        """The plan of the subscription's current period."""
        for plan in self.queue:
            is_period = self.subscription and plan.ends_at == self.subscription.period_end
            if is_period and plan.source is PlanSource.SUBSCRIPTION:
                return plan
        return None

    @property
    def kept_plan(self) -> PlanView | None:
        """The plan of the period, or the one before it while that is not paid for."""
        if self.unpaid_start is None:
            return self.period_plan
        plans = [plan for plan in self.queue if plan.source is PlanSource.SUBSCRIPTION]
        return max(plans, key=lambda plan: plan.sequence, default=None)

    @property
    def awaited_debit(self) -> BankDebit | None:
        """The first debit that brings executions once the bank has paid."""
        awaited = [debit for debit in self.debits if debit.decided_at is None]
        brings_none = (PaidFor.RENEWAL, PaidFor.USAGE)
        return next((debit for debit in awaited if debit.paid_for not in brings_none), None)

    @property
    def renews(self) -> bool:
        """Whether the current plan is a paid period that renews by itself."""
        return self.current.plan is not None and self.renews_at(self.current.plan.ends_at)

    def renews_at(self, end: datetime | None) -> bool:
        """Whether the paid period that ends at `end` renews by itself."""
        subscription = self.subscription
        if subscription is None or subscription.period_end != end:
            return False
        return not subscription.cancel_at_period_end and subscription.past_due_since is None

    @property
    def has_ended(self) -> bool:
        """Whether the current plan is over. A used-up one that renews is not."""
        plan = self.current.plan
        if plan is None or plan.state is not PlanState.ENDED:
            return False
        goes_on = plan.ends_at is not None and plan.ends_at > self.at
        is_used_up = plan.ended_because is EndReason.DEPLETED and goes_on
        return not (self.renews and is_used_up)

    @property
    def shortage(self) -> Shortage | None:
        """None: executions of plans can be used, or there never was a plan."""
        current, plan = self.current, self.current.plan
        if plan is None or current.executions_remaining > 0:
            return None
        if plan.remaining > 0:
            return Shortage.STOPPED
        if current.executions_held > 0 and current.executions_used < current.executions_total:
            return Shortage.RESERVED
        is_used_up = plan.ended_because in (None, EndReason.DEPLETED)
        return Shortage.USED_UP if is_used_up else Shortage.ENDED

    @property
    def is_low(self) -> bool:
        """Whether little is left, or nothing."""
        taken = self.current.executions_used + self.current.executions_held
        is_low = taken * 100 >= self.current.executions_total * LOW_PERCENT
        return is_low or self.current.executions_remaining <= 0

    @property
    def next_executions(self) -> NextExecutions | None:
        """The first that comes by itself once the usable plans are used up; None: nothing does."""
        subscription = self.subscription
        renewal = None
        if subscription is not None and self.renews_at(subscription.period_end):
            renewal = renewal_of(
                subscription.period_end,
                subscription.quantity,
                subscription.offer,
                subscription.next_offer,
            )
        return first_of(self.current.upcoming, renewal, self.at)

    @property
    def may_start_next_period(self) -> bool:
        """Whether the next period, used up as this one is, may be paid for and begin now. Not when
        it was cancelled: it would renew again; not when it is free: it would begin again and
        again; not while the bank decides on the last payment."""
        subscription = self.subscription
        if subscription is None or not self.is_period_used_up or not subscription.is_collecting:
            return False
        if self.undecided is not None:
            return False
        is_free = (subscription.next_offer or subscription.offer).price_minor == 0
        return self.renews_at(subscription.period_end) and not is_free

    @property
    def is_trial(self) -> bool:
        """Whether the subscription has not been paid for yet."""
        subscription = self.subscription
        return subscription is not None and subscription.status is SubscriptionStatus.TRIALING


async def read_summary(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> AccountSummary:
    """Raises AccountNotFoundError, ScopeMissingError. Reads only the database."""
    current = await read_current(database, actor, account_id, now)
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        debits = tuple(await bank_debits(session, account.id, now))
        row = await live_subscription(session, account.id)
        if row is None:
            return AccountSummary(current, None, now, debits=debits)
        view = await subscription_view(session, row)
        is_used_up = await may_begin_next_period(session, row, now, is_used_up=True)
    start = unpaid_start(debits, row.provider_id)
    undecided = undecided_debit(debits, row.provider_id)
    return AccountSummary(current, view, now, is_used_up, debits, start, undecided)

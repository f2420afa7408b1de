"""What an account has, in the order of use, what stops it, and what comes next.

The one model that pages, mails and the console word from: none of them decides these things.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.billing.offers.catalogue import offer_version
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView, read_current
from billing_app.billing.subscriptions.apply import live_subscription
from billing_app.billing.subscriptions.bank_debits import (
    BankDebit,
    PaidFor,
    bank_debits,
    undecided_debit,
    unpaid_start,
)
from billing_app.billing.subscriptions.next_executions import (
    FreeOffer,
    NextExecutions,
    Renewing,
    first_of,
    plans_of,
    refill_of,
    renewal_of,
)
from billing_app.billing.subscriptions.proration import may_begin_next_period
from billing_app.billing.subscriptions.views import SubscriptionView, subscription_view
from billing_app.db.engine import Database
from billing_app.db.enums import EndReason, PlanSource, SubscriptionStatus
from billing_app.db.tables import AccountProfile, TopUp

LOW_PERCENT: Final = 80


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
    subscription: until then it can be changed at the end of its period only. `free_offer`: the one
    that is refilled. `is_trial_refused`: the subscription is a trial that is not given.
    `tops_up`: packs are bought automatically."""

    current: CurrentPlan
    subscription: SubscriptionView | None
    at: datetime
    is_period_used_up: bool = False
    debits: tuple[BankDebit, ...] = ()
    unpaid_start: BankDebit | None = None
    undecided: BankDebit | None = None
    free_offer: FreeOffer | None = None
    is_blocked: bool = False
    is_trial_refused: bool = False
    tops_up: bool = False

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
        if self.is_blocked:
            return None
        live = self._renewing
        coming = [*plans_of(self.current), live and renewal_of(live, self.at)]
        if self.free_offer is not None:
            coming.append(refill_of(self.free_offer, live, self.at))
        return first_of(coming, self.at)

    @property
    def _renewing(self) -> Renewing | None:
        found = self.subscription
        if found is None:
            return None
        is_overdue = found.past_due_since is not None
        return Renewing(
            status=found.status,
            period_start=found.period_start,
            period_end=found.period_end,
            ends_at=found.ends_at if found.cancel_at_period_end else None,
            is_unpaid=is_overdue or self.unpaid_start is not None or self.is_trial_refused,
            quantity=found.quantity,
            offer=found.offer,
            next_offer=found.next_offer,
        )

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
        summary = replace(
            AccountSummary(current, None, now, debits=debits),
            free_offer=await _free_offer(session, account.id),
            is_blocked=account.blocked_at is not None,
            tops_up=await _tops_up(session, account.id),
        )
        if row is None:
            return summary
        view = await subscription_view(session, row)
        is_used_up = await may_begin_next_period(session, row, now, is_used_up=True)
    is_trial = view.status is SubscriptionStatus.TRIALING
    return replace(
        summary,
        subscription=view,
        is_period_used_up=is_used_up,
        unpaid_start=unpaid_start(debits, row.provider_id),
        undecided=undecided_debit(debits, row.provider_id),
        is_trial_refused=is_trial and row.trial_refused_at is not None,
    )


async def _tops_up(session: AsyncSession, account_id: int) -> bool:
    row = await session.get(TopUp, account_id)
    return row is not None and row.stopped_because is None


async def _free_offer(session: AsyncSession, account_id: int) -> FreeOffer | None:
    profile = await session.get(AccountProfile, account_id)
    if profile is None or profile.refills_at is None or profile.closed_at is not None:
        return None
    assert profile.offer_since is not None
    assert profile.offer_version_id is not None
    offer = await offer_version(session, profile.offer_version_id)
    return FreeOffer(profile.refills_at, profile.offer_since, offer)

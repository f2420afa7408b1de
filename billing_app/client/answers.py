"""What the server answers, named as in the HTTP contract.

Unknown members are skipped, so that a client works with newer servers; for the same reason, states
and reasons are plain text. Times are aware UTC. Money is integer minor units of `currency`.
"""

from datetime import date, datetime
from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")


class PlanBrief(msgspec.Struct, frozen=True):
    """`type`: trial or paid."""

    id: str
    type: str
    name: str


class ReservationBrief(msgspec.Struct, frozen=True):
    id: str
    expires_at: datetime


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the account's usable plans, after the decision."""

    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


class CheckAnswer(Figures, frozen=True, kw_only=True):
    allowed: bool
    mode: str
    executions: int
    event_id: str | None
    reservation: ReservationBrief | None
    plan: PlanBrief


class SettledReservation(msgspec.Struct, frozen=True):
    """`status`: committed or released."""

    id: str
    status: str


class SettleAnswer(Figures, frozen=True, kw_only=True):
    reservation: SettledReservation
    event_id: str | None
    executions: int
    executions_released: int


class RefundAnswer(Figures, frozen=True, kw_only=True):
    event_id: str
    refund_of: str
    executions: int
    executions_refundable: int
    reason: str


class PaidPart(msgspec.Struct, frozen=True):
    """Executions of one plan, and its use before and after."""

    plan_id: str
    plan_type: str
    plan_name: str
    executions: int
    plan_executions: int
    plan_used_before: int
    plan_used_after: int


class RefundLine(msgspec.Struct, frozen=True):
    """Negative executions: a refund, or a part of one, was undone."""

    event_id: str
    executions: int
    reason: str
    occurred_at: datetime


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Which plans paid for an execution. `executions` is negative for a refund."""

    event_id: str
    kind: str
    account_id: str
    organization_id: str
    executions: int
    executions_refunded: int
    executions_remaining_before: int
    executions_remaining_after: int
    parts: list[PaidPart]
    workflow: str | None
    user_id: str | None
    idempotency_key: str | None
    api_key_id: int | None
    api_key_name: str | None
    refers_to: str | None
    reason: str | None
    occurred_at: datetime
    refunds: list[RefundLine]


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with its place in the queue. `state`: upcoming, current or ended."""

    id: str
    sequence: int
    type: str
    name: str
    source: str
    state: str
    executions: int
    used: int
    held: int
    remaining: int
    starts_at: datetime
    ends_at: datetime | None
    began_at: datetime | None
    began_because: str | None
    ended_at: datetime | None
    ended_because: str | None
    paused_at: datetime | None
    is_suspended: bool


class OverageView(msgspec.Struct, frozen=True, kw_only=True):
    """Use beyond the plans in this period. `limit_minor`: the account's own limit, None: none."""

    executions_used: int
    executions_held: int
    executions_limit: int
    executions_remaining: int
    unit_price_minor: int
    unit_executions: int
    currency: str
    cost_minor: int
    limit_minor: int | None
    period_end: datetime | None
    can_raise_limit: bool


class NextExecutions(msgspec.Struct, frozen=True):
    """What comes by itself. `source`: plan, renewal, change or refill."""

    at: datetime
    executions: int
    name: str
    source: str


class CurrentPlan(Figures, frozen=True, kw_only=True):
    """Figures exclude overage. `next_executions` None: nothing follows by itself."""

    plan: PlanView | None
    upcoming: list[PlanView]
    overage: OverageView | None
    next_executions: NextExecutions | None


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A page of a list. `next_cursor` None: the last one."""

    items: list[Item]
    next_cursor: str | None


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Of one day, workflow or user: the one of them that was asked for. `denied`: requests by
    reason."""

    used: int
    refunded: int
    net: int
    denied: dict[str, int]
    day: date | None = None
    workflow: str | None = None
    user: str | None = None


class UsageTotals(msgspec.Struct, frozen=True):
    used: int
    refunded: int
    net: int
    denied: int


class Usage(msgspec.Struct, frozen=True, kw_only=True, rename={"first": "from", "last": "to"}):
    """Totals of UTC days, `first` and `last` included. Usage before `kept_from` is past its
    retention and may be missing; None: all is kept."""

    account_id: str
    first: date
    last: date
    group_by: str
    items: list[UsageRow]
    totals: UsageTotals
    kept_from: date | None = None


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger. `executions` is negative for a refund."""

    event_id: str
    kind: str
    executions: int
    workflow: str | None
    user_id: str | None
    idempotency_key: str | None
    plan_ids: list[str]
    executions_remaining: int
    refers_to: str | None
    reason: str | None
    occurred_at: datetime


class AccountAction(msgspec.Struct, frozen=True, kw_only=True):
    """What staff did to the account: `what` in words, with their `reason`."""

    id: str
    at: datetime
    action: str
    what: str
    reason: str
    by: str
    is_undone: bool


class AccountHistory(Page[AccountAction], frozen=True, kw_only=True):
    account_id: str


class OverageTerms(msgspec.Struct, frozen=True):
    """`unit_price_minor` for each `unit_executions` begun. `limit_executions` None: no limit."""

    unit_price_minor: int
    unit_executions: int
    limit_executions: int | None


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """`price_minor` is for one `interval`: month, year or once. `overage` None: a hard limit."""

    code: str
    version: int
    version_id: int
    name: str
    description: str
    executions: int
    price_minor: int
    currency: str
    interval: str
    overage: OverageTerms | None
    valid_days: int | None
    priority: int
    trial_days: int


class Offers(msgspec.Struct, frozen=True):
    items: list[Offer]


class Money(msgspec.Struct, frozen=True):
    minor: int
    currency: str


class Payment(msgspec.Struct, frozen=True):
    """`state`: charged, nothing_due, bank_asked, confirmation_needed, declined, or unclear (we are
    checking). `payment_url`: where the customer pays or confirms."""

    state: str
    amount: Money | None = None
    payment_url: str | None = None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """`payment`: what became of its newest invoice; None: it has none."""

    id: str
    account_id: str
    status: str
    offer: Offer
    next_offer: Offer | None
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    ends_at: datetime
    is_collecting: bool
    quantity: int
    past_due_since: datetime | None
    ended_at: datetime | None
    payment: Payment | None = None


class CurrentSubscription(msgspec.Struct, frozen=True):
    subscription: Subscription | None


class BegunSubscription(msgspec.Struct, frozen=True):
    """`checkout_url`: where the customer pays, when there is no card on file."""

    subscription: Subscription | None
    checkout_url: str | None


class PreviewLine(msgspec.Struct, frozen=True):
    description: str
    amount_minor: int


class ChangePreview(msgspec.Struct, frozen=True, kw_only=True):
    """What a change costs, to the minor unit, and what happens to the executions."""

    offer: Offer
    currency: str
    amount_due_minor: int
    credit_minor: int
    overage_minor: int
    overage_executions: int
    executions_unused: int
    executions_after: int
    period_end: datetime | None
    lines: list[PreviewLine]
    plan_sequence: int
    quoted_at: datetime
    due_at: datetime


class PortalSession(msgspec.Struct, frozen=True):
    url: str


class OverageLimit(msgspec.Struct, frozen=True):
    """`limit_minor` None: only the offer's own limit applies."""

    account_id: str
    limit_minor: int | None
    currency: str | None
    updated_at: datetime | None


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """`spent_minor`: in this calendar month (UTC). `stopped_because` None: it is active."""

    account_id: str
    offer: Offer
    threshold_executions: int
    monthly_cap_minor: int
    currency: str
    spent_minor: int
    stopped_because: str | None
    payment_url: str | None
    updated_at: datetime


class CurrentTopUp(msgspec.Struct, frozen=True):
    """None: it is off."""

    top_up: TopUp | None

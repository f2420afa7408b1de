"""Proration: what is credited and billed when a subscription changes its offer now.

Executions that were paid for and not used are credited by their *value*, not by the time that is
left. Whoever uses everything in the first hour and then upgrades gets no credit; whoever upgrades
early with nothing used pays the difference of the prices. See docs/explanation/payments.md.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dateutil.relativedelta import relativedelta
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.executions.expired_holds import unused_of
from billing_app.billing.money import Money
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.overage.rules import reference_of
from billing_app.billing.quantities import counted
from billing_app.billing.subscriptions.bank_debits import require_no_debit
from billing_app.billing.subscriptions.errors import (
    ChangeLosesValueError,
    CurrencyDiffersError,
    PaymentOverdueError,
    QuoteOutdatedError,
    SameOfferError,
    SubscriptionEndedError,
)
from billing_app.billing.subscriptions.provider import (
    ENDED,
    Credit,
    OfferPrices,
    OverageCharge,
    PaymentProvider,
    PreviewLine,
    ProviderPrice,
    SubscriptionChange,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentProviderFailedError,
)
from billing_app.billing.subscriptions.provider_requests import (
    amount_json,
    credited_minor,
    prices_json,
)
from billing_app.billing.subscriptions.sold_lines import CHANGE
from billing_app.db.enums import EndReason, Interval, PlanSource, SubscriptionStatus
from billing_app.db.tables import Invoice, OfferPrice, Plan, Subscription

PREVIEW_VALID_FOR: Final = timedelta(minutes=15)
# Refusals that may rest on an old copy of what the provider has.
MAYBE_STALE: Final = (
    SameOfferError,
    PaymentOverdueError,
    NotAtProviderError,
    PaymentProviderFailedError,
)
PERIODS: Final = {
    Interval.MONTH: relativedelta(months=1),
    Interval.YEAR: relativedelta(years=1),
}


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What changing now would cost, to the minor unit, and what happens to the executions.

    `overage_minor` is the cost of the overage so far; it is billed with the change. `period_end`
    is the end of the period that would begin. The preview was made at `quoted_at` for the plan
    `plan_sequence`.
    """

    offer: OfferView
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


@dataclass(frozen=True, slots=True)
class Proration:
    """`unused` executions of a plan, the credit for them, and the overage that is billed.
    `replaces`: the current prices of the subscription."""

    replaces: OfferPrices | None
    plan_sequence: int
    unused: int
    credit: Credit | None
    overage: OverageCharge | None


def credit_for(offer: OfferView, paid: Money, *, unused: int, quantity: int = 1) -> Credit | None:
    """The value of `unused` executions of what was `paid` for; None when it is nothing.

    The value is a share of what the offer sells, not of what the plan holds: a plan that was made
    smaller because some of it had already been credited is worth that much less.
    """
    bought = max(offer.executions * quantity, unused)
    amount = paid.share_rounded_down(unused, bought)
    if amount.minor == 0:
        return None
    return Credit(amount, description=f"{unused:,} of {counted(bought, 'execution')} unused")


def require_change_now(
    old: OfferView, new: OfferView, credit: Credit | None, *, quantity: int = 1
) -> None:
    """Raises CurrencyDiffersError, ChangeLosesValueError."""
    if old.currency != new.currency:
        raise CurrencyDiffersError
    price = Money(new.price_minor * quantity, new.currency)
    if credit is not None and credit.amount > price:
        raise ChangeLosesValueError(
            "Change at the end of the period instead, so that no credit is lost."
        )


def require_other_offer(old: OfferView, new: OfferView) -> None:
    """Raises SameOfferError, CurrencyDiffersError."""
    if old.version_id == new.version_id:
        raise SameOfferError(offer=new.code)
    if old.currency != new.currency:
        raise CurrencyDiffersError


async def may_begin_next_period(
    session: AsyncSession, row: Subscription, now: datetime, *, is_used_up: bool = False
) -> bool:
    """Whether a subscription may change to its own offer now, which begins its next period: nothing
    is left of its period or, unless that is asked for with `is_used_up`, it is on trial."""
    if row.status == SubscriptionStatus.TRIALING and not is_used_up:
        return True
    plan = await _period_plan(session, row, now)
    return plan is not None and await _unused(session, plan, now) == 0


def executions_after_change(sold: int, *, credited: int, unused: int) -> int:
    """What the new plan holds. Executions that were credited as unused and used before the change
    count against it."""
    return max(0, sold - max(0, credited - unused))


async def prorate(
    session: AsyncSession,
    row: Subscription,
    new: OfferView,
    now: datetime,
    *,
    agreed: ChangePreview | None = None,
) -> Proration:
    """The proration as of now, or the one of the preview that was `agreed` to. Nothing is credited
    for a trial period: it cost nothing. The same offer begins the next period now.

    Raises PaymentOverdueError when the plan is not paid for, ProviderRequestPendingError while the
    bank is asked to pay for it, SameOfferError unless the next period may begin (see
    may_begin_next_period), CurrencyDiffersError, ChangeLosesValueError, QuoteOutdatedError.
    """
    old = await offer_version(session, row.offer_version_id)
    is_same = old.version_id == new.version_id
    if is_same and not await may_begin_next_period(session, row, now):
        raise SameOfferError(offer=new.code)
    if row.past_due_since is not None:
        raise PaymentOverdueError("Pay the open invoice first, then change the plan.")
    await require_no_debit(session, row)
    plan = await _period_plan(session, row, now)
    if plan is not None and plan.suspended_at is not None:
        raise PaymentOverdueError("The payment for this period is open or disputed.")
    unused = await _unused(session, plan, now) if plan else 0
    if agreed is not None:
        unused = _agreed_unused(agreed, new, plan, unused=unused, now=now)
    credit = None
    if row.status != SubscriptionStatus.TRIALING:
        paid = Money(await _cost_minor(session, plan) if plan else 0, old.currency)
        credit = credit_for(old, paid, unused=unused, quantity=row.quantity)
    if agreed is not None and (credit.amount.minor if credit else 0) < agreed.credit_minor:
        raise QuoteOutdatedError(offer=new.code)
    require_change_now(old, new, credit, quantity=row.quantity)
    overage = await _overage_charge(session, plan, old, agreed) if plan else None
    replaces = await prices_of(session, row)
    return Proration(replaces, plan.sequence if plan else 0, unused, credit, overage)


async def prices_of(session: AsyncSession, row: Subscription) -> OfferPrices | None:
    """The prices of the offer that a subscription is on."""
    known = await session.get(OfferPrice, row.offer_version_id)
    return OfferPrices(known.price_id, known.overage_price_id) if known else None


async def preview_now(
    provider: PaymentProvider,
    row: Subscription,
    new: OfferView,
    proration: Proration,
    price: ProviderPrice,
    now: datetime,
) -> ChangePreview:
    """What the provider itself says it would charge for a change now, to the minor unit. Raises
    what the provider raises; no transaction may be open."""
    credit, overage = proration.credit, proration.overage
    change = SubscriptionChange(price, proration.replaces, credit, overage)
    snapshot = await provider.preview_change(row.provider_id, change)
    return ChangePreview(
        offer=new,
        currency=snapshot.currency,
        amount_due_minor=snapshot.amount_due_minor,
        credit_minor=credit.amount.minor if credit else 0,
        overage_minor=overage.amount.minor if overage else 0,
        overage_executions=overage.executions if overage else 0,
        executions_unused=proration.unused,
        executions_after=new.executions * row.quantity,
        period_end=snapshot.period_end or now + PERIODS[new.interval],
        lines=snapshot.lines,
        plan_sequence=proration.plan_sequence,
        quoted_at=now,
        due_at=now,
    )


async def preview_later(
    session: AsyncSession, row: Subscription, new: OfferView, now: datetime
) -> ChangePreview:
    """A change at the end of the period: the new price is charged then, and nothing now. Unused
    executions stay usable until then. Raises SameOfferError, CurrencyDiffersError."""
    require_other_offer(await offer_version(session, row.offer_version_id), new)
    return ChangePreview(
        offer=new,
        currency=new.currency,
        amount_due_minor=new.price_minor * row.quantity,
        credit_minor=0,
        overage_minor=0,
        overage_executions=0,
        executions_unused=0,
        executions_after=new.executions * row.quantity,
        period_end=None,
        lines=[PreviewLine(new.name, new.price_minor * row.quantity)],
        plan_sequence=0,
        quoted_at=now,
        due_at=row.period_end,
    )


def proration_json(price: ProviderPrice, proration: Proration) -> dict[str, Any]:
    """As parameters of a provider request (see provider_requests.change_of)."""
    return prices_json(price, proration.replaces) | {
        "plan_sequence": proration.plan_sequence,
        "unused": proration.unused,
        "credit": amount_json(proration.credit) if proration.credit else None,
        "overage": amount_json(proration.overage) if proration.overage else None,
    }


async def overage_so_far(session: AsyncSession, row: Subscription, now: datetime) -> int:
    """The cost of the period's overage until now, in minor units."""
    plan = await _period_plan(session, row, now)
    if plan is None:
        return 0
    old = await offer_version(session, row.offer_version_id)
    charge = await _overage_charge(session, plan, old, None)
    return charge.amount.minor if charge else 0


async def _period_plan(session: AsyncSession, row: Subscription, now: datetime) -> Plan | None:
    """The plan of the subscription's current period."""
    query = (
        select(Plan)
        .join(
            Invoice,
            (col(Invoice.account_id) == Plan.account_id)
            & (col(Invoice.provider_id) == Plan.source_reference),
        )
        .where(Plan.account_id == row.account_id)
        .where(Invoice.subscription_provider_id == row.provider_id)
        .where(Plan.source == PlanSource.SUBSCRIPTION)
        .where(Plan.ends_at == row.period_end)
        .where(col(Plan.ends_at) > now)
        .order_by(col(Plan.sequence).desc())
    )
    return (await session.exec(query)).first()


async def _unused(session: AsyncSession, plan: Plan, now: datetime) -> int:
    return 0 if plan.ended_at else await unused_of(session, plan, now)


async def _cost_minor(session: AsyncSession, plan: Plan) -> int:
    """What the period really cost: its own invoice, and the credit that a change brought along, as
    far as the previous period is still paid for."""
    invoice = await session.get(Invoice, (plan.account_id, plan.source_reference or ""))
    own_minor = plan.cost_minor
    if own_minor is None:
        own_minor = await _list_minor(session, plan, invoice)
    if invoice is None or invoice.billing_reason != CHANGE:
        return own_minor
    previous = await _previous(session, plan, invoice)
    if previous is None:
        return own_minor
    credit_minor = await credited_minor(session, plan.account_id, previous.sequence)
    return own_minor + min(credit_minor, await _cost_minor(session, previous))


async def _list_minor(session: AsyncSession, plan: Plan, invoice: Invoice | None) -> int:
    """For a plan that was not synchronized since its cost is kept: the price, less refunds."""
    if plan.offer_version_id is None or (invoice and invoice.billing_reason == CHANGE):
        return invoice.amount_paid_minor - invoice.refunded_minor if invoice else 0
    offer = await offer_version(session, plan.offer_version_id)
    return max(0, offer.price_minor - (invoice.refunded_minor if invoice else 0))


async def _previous(session: AsyncSession, plan: Plan, invoice: Invoice) -> Plan | None:
    query = (
        select(Plan)
        .join(
            Invoice,
            (col(Invoice.account_id) == Plan.account_id)
            & (col(Invoice.provider_id) == Plan.source_reference),
        )
        .where(Plan.account_id == plan.account_id, Plan.sequence < plan.sequence)
        .where(Invoice.subscription_provider_id == invoice.subscription_provider_id)
        .where(Plan.source == PlanSource.SUBSCRIPTION)
        .order_by(col(Plan.sequence).desc())
    )
    return (await session.exec(query)).first()


async def _overage_charge(
    session: AsyncSession, plan: Plan, offer: OfferView, agreed: ChangePreview | None
) -> OverageCharge | None:
    """The overage so far, or as agreed to. Later overage is settled on the next invoice."""
    query = (
        select(Plan)
        .where(Plan.account_id == plan.account_id)
        .where(Plan.source_reference == reference_of(plan.source_reference or ""))
    )
    beside = (await session.exec(query)).first()
    price = await session.get(OfferPrice, offer.version_id)
    if beside is None or offer.overage is None or price is None or price.overage_price_id is None:
        return None
    executions = agreed.overage_executions if agreed else beside.used
    if executions == 0:
        return None
    return OverageCharge(
        plan_sequence=beside.sequence,
        price_id=price.overage_price_id,
        executions=executions,
        amount=Money(offer.overage.cost_minor(executions), offer.currency),
    )


async def reload(session: AsyncSession, managed: Subscription) -> Subscription:
    """The row as it is now. Raises SubscriptionEndedError."""
    row = await session.get(
        Subscription, (managed.account_id, managed.number), populate_existing=True
    )
    assert row is not None
    if row.status in ENDED:
        raise SubscriptionEndedError
    return row


def _agreed_unused(
    agreed: ChangePreview, new: OfferView, plan: Plan | None, *, unused: int, now: datetime
) -> int:
    """The number of the preview holds: what was used since counts against the new plan, as far as
    that reaches (see executions_after_change). Raises QuoteOutdatedError."""
    previewed = (agreed.plan_sequence, agreed.offer.version_id)
    is_same = previewed == (plan.sequence if plan else 0, new.version_id)
    was_taken_away = plan is not None and plan.ended_because not in {None, EndReason.DEPLETED}
    used_since = agreed.executions_unused - unused
    is_late = now - agreed.quoted_at > PREVIEW_VALID_FOR
    if not is_same or was_taken_away or is_late or used_since > agreed.executions_after:
        raise QuoteOutdatedError(offer=new.code)
    return max(agreed.executions_unused, unused)

"""What a change now is decided on: what is unused, its value, and what somebody agreed to."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import ConflictError
from billing_app.billing.executions.expired_holds import unused_of
from billing_app.billing.offers.catalogue import OfferView, offer_version
from billing_app.billing.overage.rules import reference_of
from billing_app.billing.subscriptions.apply import ENDED
from billing_app.billing.subscriptions.dunning import CHANGE
from billing_app.billing.subscriptions.provider import (
    Change,
    Credit,
    OverageCharge,
    PaymentProvider,
    PreviewLine,
    ProviderPrice,
)
from billing_app.billing.subscriptions.provider_requests import quoted_credit_minor
from billing_app.billing.subscriptions.rules import (
    PaymentOverdueError,
    credit_for,
    require_change_now,
    require_other_offer,
)
from billing_app.db.enums import EndReason, PlanSource, SubscriptionStatus
from billing_app.db.tables import Invoice, OfferPrice, Plan, Subscription

QUOTE_STANDS: Final = timedelta(minutes=15)


class SubscriptionEndedError(ConflictError):
    code = "subscription_ended"
    title = "The subscription has ended"


class QuoteOutdatedError(ConflictError):
    code = "quote_outdated"
    title = "The preview is no longer right"


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What changing now would cost, to the minor unit, and what happens to the executions.

    `overage_minor` is what was used beyond the plan so far; it is billed with the change.
    `period_end` is the end of the period that would begin. It is of the plan `plan_sequence` at
    `quoted_at`.
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
class Quote:
    """What a change now is decided on."""

    plan_sequence: int
    unused: int
    credit: Credit | None
    overage: OverageCharge | None


async def make_quote(
    session: AsyncSession,
    row: Subscription,
    new: OfferView,
    now: datetime,
    *,
    agreed: ChangePreview | None = None,
) -> Quote:
    """What is unused of the period's plan, its value, and what was used beyond it; or what was
    `agreed`. A period of trial cost nothing: nothing of it is credited.

    Raises PaymentOverdueError when that plan is not paid for, SameOfferError, CurrencyDiffersError,
    ChangeLosesValueError, QuoteOutdatedError.
    """
    old = await offer_version(session, row.offer_version_id)
    require_other_offer(old, new)
    if row.past_due_since is not None:
        raise PaymentOverdueError("Pay the open invoice first; then the plan can be changed.")
    plan = await _period_plan(session, row, now)
    if plan is not None and plan.suspended_at is not None:
        raise PaymentOverdueError("The payment of this period is open or disputed.")
    unused = await unused_of(session, plan, now) if plan and not plan.ended_at else 0
    if agreed is not None:
        unused = _agreed_unused(agreed, new, plan, unused=unused, now=now)
    is_trial = row.status == SubscriptionStatus.TRIALING
    refunded_minor = await _refunded_minor(session, plan) if plan else 0
    credit = None
    if not is_trial:
        credit = credit_for(old, unused=unused, refunded_minor=refunded_minor)
    if agreed is not None and (credit.amount_minor if credit else 0) < agreed.credit_minor:
        raise QuoteOutdatedError(offer=new.code)
    require_change_now(old, new, credit)
    overage = await _overage_charge(session, plan, old, agreed) if plan else None
    return Quote(plan.sequence if plan else 0, unused, credit, overage)


async def preview_now(
    provider: PaymentProvider,
    row: Subscription,
    new: OfferView,
    quote: Quote,
    price: ProviderPrice,
    now: datetime,
) -> ChangePreview:
    """What the provider would charge for a change now, to the minor unit, as it says itself.
    Raises what the provider raises; no transaction may be open."""
    change = Change(price.price_id, price.overage_price_id, quote.credit, quote.overage)
    snapshot = await provider.preview_change(row.provider_id, change)
    return ChangePreview(
        offer=new,
        currency=snapshot.currency,
        amount_due_minor=snapshot.amount_due_minor,
        credit_minor=quote.credit.amount_minor if quote.credit else 0,
        overage_minor=quote.overage.amount_minor if quote.overage else 0,
        overage_executions=quote.overage.executions if quote.overage else 0,
        executions_unused=quote.unused,
        executions_after=new.executions,
        period_end=snapshot.period_end,
        lines=snapshot.lines,
        plan_sequence=quote.plan_sequence,
        quoted_at=now,
        due_at=now,
    )


async def preview_later(
    session: AsyncSession, row: Subscription, new: OfferView, now: datetime
) -> ChangePreview:
    """A change when the period ends: the new price is charged then, and nothing now. What is left
    can be used until then. Raises SameOfferError, CurrencyDiffersError."""
    require_other_offer(await offer_version(session, row.offer_version_id), new)
    return ChangePreview(
        offer=new,
        currency=new.currency,
        amount_due_minor=new.price_minor,
        credit_minor=0,
        overage_minor=0,
        overage_executions=0,
        executions_unused=0,
        executions_after=new.executions,
        period_end=None,
        lines=[PreviewLine(new.name, new.price_minor)],
        plan_sequence=0,
        quoted_at=now,
        due_at=row.period_end,
    )


def quote_json(quote: Quote) -> dict[str, Any]:
    credit = quote.credit
    told: dict[str, Any] = {"plan_sequence": quote.plan_sequence, "unused": quote.unused}
    told["credit"] = credit and {
        "amount_minor": credit.amount_minor,
        "currency": credit.currency,
        "description": credit.description,
    }
    told["overage"] = asdict(quote.overage) if quote.overage else None
    return told


async def overage_so_far(session: AsyncSession, row: Subscription, now: datetime) -> int:
    """What was used beyond the period's plan costs until now, in minor units."""
    plan = await _period_plan(session, row, now)
    if plan is None:
        return 0
    old = await offer_version(session, row.offer_version_id)
    charge = await _overage_charge(session, plan, old, None)
    return charge.amount_minor if charge else 0


async def _period_plan(session: AsyncSession, row: Subscription, now: datetime) -> Plan | None:
    """The plan of the period that runs."""
    query = (
        select(Plan)
        .where(Plan.account_id == row.account_id)
        .where(Plan.source == PlanSource.SUBSCRIPTION)
        .where(Plan.ends_at == row.period_end)
        .where(col(Plan.ends_at) > now)
        .order_by(col(Plan.sequence).desc())
    )
    return (await session.exec(query)).first()


async def _refunded_minor(session: AsyncSession, plan: Plan) -> int:
    """What was paid back of what paid for the period: of its invoice, and of the credit that a
    change brought along."""
    invoice = await session.get(Invoice, (plan.account_id, plan.source_reference or ""))
    if invoice is None:
        return 0
    uncovered = await _uncovered_minor(session, plan) if invoice.billing_reason == CHANGE else 0
    return invoice.refunded_minor + uncovered


async def _uncovered_minor(session: AsyncSession, plan: Plan) -> int:
    """How much more the plan before was credited with, when it was changed to this one, than is
    still paid for it."""
    query = (
        select(Plan)
        .where(Plan.account_id == plan.account_id, Plan.sequence < plan.sequence)
        .where(Plan.source == PlanSource.SUBSCRIPTION)
        .order_by(col(Plan.sequence).desc())
    )
    before = (await session.exec(query)).first()
    if before is None or before.offer_version_id is None:
        return 0
    offer = await offer_version(session, before.offer_version_id)
    kept_minor = max(0, offer.price_minor - await _refunded_minor(session, before))
    credit_minor = await quoted_credit_minor(session, plan.account_id, before.sequence)
    return max(0, credit_minor - kept_minor)


async def _overage_charge(
    session: AsyncSession, plan: Plan, offer: OfferView, agreed: ChangePreview | None
) -> OverageCharge | None:
    """What the overage beside a plan costs so far, or cost when it was agreed; what is used later
    is settled on the next invoice."""
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
        amount_minor=offer.overage.cost_minor(executions),
        currency=offer.currency,
    )


async def fresh(session: AsyncSession, managed: Subscription) -> Subscription:
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
    """The quoted number stands: what was used since counts against the new plan, as far as that
    reaches (see executions_after_change). Raises QuoteOutdatedError."""
    quoted = (agreed.plan_sequence, agreed.offer.version_id)
    is_same = quoted == (plan.sequence if plan else 0, new.version_id)
    was_taken_away = plan is not None and plan.ended_because not in {None, EndReason.DEPLETED}
    used_since = agreed.executions_unused - unused
    is_late = now - agreed.quoted_at > QUOTE_STANDS
    if not is_same or was_taken_away or is_late or used_since > new.executions:
        raise QuoteOutdatedError(offer=new.code)
    return max(agreed.executions_unused, unused)

"""Turns what the services say about an account into what its console page draws."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Final

from billing_app.billing.actors import StaffActor
from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.staff.access.browser_sessions import SessionView
from billing_app.billing.staff.access.portal_sessions import PortalSessionView
from billing_app.billing.staff.customers.account import (
    AccountIdentity,
    AccountKey,
    InvoiceRow,
    Person,
    ReservationView,
    SubscriptionRow,
)
from billing_app.billing.staff.customers.denials import Denial
from billing_app.billing.staff.repairs.stops import left_of
from billing_app.billing.subscriptions.account_summary import AccountSummary
from billing_app.billing.subscriptions.forecast import Pace
from billing_app.billing.usage.service import EventView
from billing_app.components.charts.executions import label_of
from billing_app.db.enums import (
    AccountKind,
    EndReason,
    EventKind,
    InvoiceStatus,
    PlanSource,
    ReservationStatus,
    SubscriptionStatus,
)
from billing_app.states import formatting
from billing_app.states.balance import balance_view, percent_of
from billing_app.states.staff.browsers import browser_of
from billing_app.states.staff.customers import KINDS, STATUSES, customer_status
from billing_app.states.staff.denial_labels import REASONS as DENIAL_REASONS
from billing_app.states.staff.views import (
    CustomerHead,
    DenialLine,
    HoldLine,
    InvoiceLine,
    KeyLine,
    LedgerLine,
    PersonLine,
    PlanLine,
    PortalLine,
    SessionLine,
    SubscriptionLine,
)
from billing_app.states.usage_views import event_rows
from billing_app.states.views import EventRow

PLAN_STATES: Final = {
    PlanState.CURRENT: ("In use", "accent"),
    PlanState.UPCOMING: ("Next", ""),
    PlanState.ENDED: ("Ended", ""),
}
HOLD_STATES: Final = {
    ReservationStatus.HELD: ("Held", "accent"),
    ReservationStatus.COMMITTED: ("Committed", "good"),
    ReservationStatus.RELEASED: ("Released", ""),
    ReservationStatus.EXPIRED: ("Expired", "warning"),
}
# Customers need not know that Stripe has given up; staff do.
INVOICE_STATES: Final = formatting.INVOICE_STATUSES | {InvoiceStatus.UNCOLLECTIBLE: "Uncollectible"}
INVOICE_TONES: Final = {
    InvoiceStatus.PAID: "good",
    InvoiceStatus.OPEN: "warning",
    InvoiceStatus.UNCOLLECTIBLE: "bad",
}
TRIAL_REFUSED: Final = "Trial not given: its card had a trial on another account. "
DUPLICATE: Final = "Second live subscription: end one of the two. "
LIVE_TONES: Final = {
    SubscriptionStatus.ACTIVE: "good",
    SubscriptionStatus.TRIALING: "accent",
    SubscriptionStatus.PAST_DUE: "bad",
    SubscriptionStatus.UNPAID: "bad",
}


def customer_head(
    identity: AccountIdentity,
    summary: AccountSummary,
    pace: Pace,
    live: SubscriptionRow | None,
) -> CustomerHead:
    """The holder, the balance and the subscription."""
    row, balance = identity.row, balance_view(summary, pace)
    current = summary.current
    status, tone = customer_status(row)
    return CustomerHead(
        account_id=row.account_id,
        name=row.name or row.user_id or row.organization_id,
        kind=KINDS[row.kind],
        email=row.email,
        provider_id=row.customer_id or "",
        provider_url=identity.customer_url,
        status=status,
        tone=tone,
        since=formatting.day(row.created_at),
        people=formatting.number(identity.people),
        is_blocked=row.blocked_at is not None,
        is_trial=row.kind is AccountKind.USER,
        is_own=identity.is_own,
        left=balance.remaining or "0",
        of_total=balance.of_total or "No plan",
        held=balance.held,
        remaining_text=f"{balance.remaining} {balance.of_total}" if balance.has_plan else "No plan",
        left_percent=balance.left_percent,
        held_percent=balance.held_percent,
        meter_tone=balance.tone,
        pace=balance.pace,
        plan=row.plan_name or (current.plan.name if current.plan else "None"),
        plan_note=_plan_note(current, balance.period),
        subscription=live.offer.name if live else "None",
        subscription_note=_subscription_note(live),
    )


def _plan_note(current: CurrentPlan, period: str) -> str:
    """When the current plan ends, or when the last one ended."""
    plan = current.plan
    if plan is None:
        return "None started yet"
    if plan.ended_at is None:
        return period
    verb = "Used up" if plan.ended_because is EndReason.DEPLETED else "Ended"
    return f"{verb} {formatting.day(plan.ended_at)}"


def blocked_head(head: CustomerHead, plans: list[PlanView]) -> CustomerHead:
    """With what the current plans hold, although none of it can be used."""
    total, held = (sum(getattr(plan, of) for plan in plans) for of in ("executions", "held"))
    left = left_of(plans)
    paying = next((plan for plan in plans if plan.state is PlanState.CURRENT), None)
    paying = paying or next(iter(plans), None)
    return replace(
        head,
        left=f"{formatting.number(left)} · blocked",
        remaining_text=f"{formatting.number(left)} of {formatting.number(total)} left, blocked",
        of_total=f"of {formatting.counted(total, 'execution')} left" if plans else "No plan",
        held=f"{formatting.number(held)} reserved" if held else "",
        left_percent=percent_of(left, total),
        held_percent=percent_of(held, total),
        meter_tone="",
        pace="No executions",
        plan=paying.name if paying else head.plan,
        plan_note=_end_of(paying) if paying else head.plan_note,
    )


def _end_of(plan: PlanView) -> str:
    return f"Ends {formatting.last_day(plan.ends_at)}" if plan.ends_at else "No end date"


def plan_line(plan: PlanView) -> PlanLine:
    """A plan with its figures, and whether it can be paused or resumed."""
    is_paused = plan.paused_at is not None and plan.ended_at is None
    state, tone = PLAN_STATES[plan.state]
    if is_paused:
        state, tone = "Paused", "warning"
    elif plan.is_suspended:
        state, tone = "Suspended", "bad"
    source = formatting.SOURCES[plan.source]
    return PlanLine(
        plan_id=plan.id,
        number=str(plan.sequence),
        name=plan.name,
        source="" if source == plan.name else source,
        state=state,
        tone=tone,
        used=formatting.number(plan.used),
        held=formatting.number(plan.held),
        executions=formatting.number(plan.executions),
        usage=_usage(plan),
        dates=_dates(plan),
        is_paused=is_paused,
        is_open=plan.state is not PlanState.ENDED and plan.source is not PlanSource.OVERAGE,
    )


def _usage(plan: PlanView) -> str:
    held = f", {formatting.number(plan.held)} reserved" if plan.held else ""
    return f"{formatting.number(plan.used)} of {formatting.number(plan.executions)} used{held}"


def _dates(plan: PlanView) -> str:
    end = plan.ended_at or (plan.ends_at and plan.ends_at - formatting.INSTANT)
    if end is None:
        began = f"Since {formatting.brief_day(plan.began_at)}" if plan.began_at else "Not started"
        return f"{began}, no end date"
    if plan.began_at is None:
        return f"Not started, {'ended' if plan.ended_at else 'ends'} {formatting.brief_day(end)}"
    return formatting.days_between(plan.began_at, end)


def ledger_lines(
    events: list[EventView], refunded: Mapping[int, int], shown: list[LedgerLine], staff: StaffActor
) -> list[LedgerLine]:
    """The rows of event_rows(), with what was refunded of each event by its number."""
    rows = event_rows(events, [*shown], staff)
    return [
        _ledger_line(event, row, refunded.get(event.number, 0))
        for event, row in zip(events, rows, strict=True)
    ]


def _ledger_line(event: EventView, row: EventRow, refunded: int) -> LedgerLine:
    shared = {each.name: getattr(row, each.name) for each in fields(EventRow)}
    is_run = event.kind in {EventKind.CONSUME, EventKind.COMMIT}
    is_open = refunded < event.executions
    badge = ""
    if is_run and refunded > 0:
        of_all = f"{formatting.number(refunded)} of {formatting.number(event.executions)} refunded"
        badge = of_all if is_open else "Refunded"
    return LedgerLine(**shared, refunded=badge, can_refund=is_run and is_open)


def denial_line(denial: Denial, number: int) -> DenialLine:
    return DenialLine(
        row=str(number),
        day=formatting.brief_day(denial.day),
        reason=DENIAL_REASONS.get(denial.reason, denial.reason),
        workflow=label_of(denial.workflow),
        user=denial.user_id or "—",
        denied=formatting.number(denial.denied),
    )


def hold_line(hold: ReservationView) -> HoldLine:
    state, tone = ("Expired", "warning") if hold.is_overdue else HOLD_STATES[hold.status]
    settled = formatting.exact_moment(hold.settled_at) if hold.settled_at else ""
    return HoldLine(
        reservation_id=hold.id,
        status=state,
        tone=tone,
        executions=formatting.number(hold.executions),
        workflow=label_of(hold.workflow),
        user=hold.user_id or "—",
        created=formatting.exact_moment(hold.created_at),
        ends=settled or f"Expires {formatting.exact_moment(hold.expires_at)}",
    )


def subscription_line(row: SubscriptionRow) -> SubscriptionLine:
    offer = row.offer
    status = "Ended" if row.ended_at else STATUSES.get(row.status, row.status.value)
    return SubscriptionLine(
        provider_id=row.provider_id,
        provider_url=row.provider_url,
        offer=f"{offer.name}, version {offer.version}",
        price=f"{formatting.money(offer.price_minor, offer.currency)} a {offer.interval}",
        status=status,
        tone="" if row.ended_at else LIVE_TONES.get(row.status, "warning"),
        period=formatting.days_between(row.period_start, row.period_end),
        note=_warnings(row) + _subscription_note(row),
    )


def _warnings(row: SubscriptionRow) -> str:
    return (TRIAL_REFUSED if row.is_trial_refused else "") + (DUPLICATE if row.is_duplicate else "")


def invoice_line(row: InvoiceRow) -> InvoiceLine:
    invoice = row.invoice
    is_asked = invoice.is_processing
    return InvoiceLine(
        invoice_id=invoice.id,
        number=invoice.number or invoice.id,
        status=formatting.BANK_ASKED if is_asked else INVOICE_STATES[invoice.status],
        tone="" if is_asked else INVOICE_TONES.get(invoice.status, ""),
        amount=formatting.money(invoice.amount_due_minor, invoice.currency),
        what_for=invoice.what_for or "—",
        refunded=formatting.refunded(invoice.refunded_minor, invoice.currency),
        issued=formatting.day(invoice.issued_at),
        page_url=invoice.page_url,
        provider_url=row.provider_url,
    )


def key_line(key: AccountKey, now: datetime) -> KeyLine:
    if key.revoked_at is not None:
        state, tone = "Revoked", ""
    elif key.expires_at is not None and key.expires_at <= now:
        state, tone = "Expired", ""
    else:
        state, tone = "Active", "good"
    return KeyLine(
        key_id=str(key.id),
        name=key.name,
        hint=f"{key.hint}…",
        scopes=", ".join(key.scopes),
        state=state,
        tone=tone,
        created=formatting.day(key.created_at),
    )


def person_line(row: Person) -> PersonLine:
    return PersonLine(
        user_id=row.user_id,
        name=row.name or row.email or row.user_id,
        email=row.email,
        role=formatting.MEMBER_ROLES[row.role],
        since=formatting.day(row.since),
    )


def session_line(row: SessionView, number: int) -> SessionLine:
    return SessionLine(
        row=f"{row.user_id} {number}",
        user_id=row.user_id,
        person=row.name or row.email or row.user_id,
        browser=browser_of(row.user_agent),
        user_agent=row.user_agent,
        since=formatting.moment(row.created_at),
        ends=formatting.moment(row.expires_at),
        is_live=row.is_live,
    )


def portal_line(row: PortalSessionView, number: int) -> PortalLine:
    return PortalLine(
        row=f"{row.person_id} {number}",
        person_id=row.person_id,
        person=row.name or row.email or row.person_id,
        role=formatting.MEMBER_ROLES[row.role],
        browser=browser_of(row.user_agent),
        user_agent=row.user_agent,
        since=formatting.moment(row.created_at),
        ends=formatting.moment(row.expires_at),
        is_live=row.is_live,
    )


def _subscription_note(row: SubscriptionRow | None) -> str:
    if row is None:
        return "No subscription"
    if row.ended_at is not None:
        return f"Ended {formatting.day(row.ended_at)}"
    if row.past_due_since is not None:
        return f"Unpaid since {formatting.day(row.past_due_since)}"
    if row.cancel_at_period_end:
        return f"Ends {formatting.day(row.ends_at)}"
    if row.next_offer is not None:
        return f"Changes to {row.next_offer.name} {formatting.day(row.period_end)}"
    paused = "" if row.is_collecting else "Payments paused. "
    return f"{paused}Renews {formatting.day(row.period_end)}"

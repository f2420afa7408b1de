"""From what the services tell of an account to what its page in the console draws."""

from datetime import datetime
from typing import Final

from billing_app.billing.plans import CurrentPlan, PlanState, PlanView
from billing_app.billing.staff.account import (
    AccountIdentity,
    AccountKey,
    InvoiceRow,
    ReservationView,
    SubscriptionRow,
)
from billing_app.billing.staff.sessions import SessionView
from billing_app.billing.usage import Pace
from billing_app.db.words import (
    AccountKind,
    InvoiceStatus,
    PlanSource,
    ReservationStatus,
    SubscriptionStatus,
)
from billing_app.states import words
from billing_app.states.balance import balance_view
from billing_app.states.staff.customers import STATUSES, customer_status
from billing_app.states.staff.views import (
    CustomerHead,
    HoldLine,
    InvoiceLine,
    KeyLine,
    PlanLine,
    SessionLine,
    SubscriptionLine,
)

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
INVOICE_TONES: Final = {
    InvoiceStatus.PAID: "good",
    InvoiceStatus.OPEN: "warning",
    InvoiceStatus.UNCOLLECTIBLE: "bad",
}
LIVE_TONES: Final = {
    SubscriptionStatus.ACTIVE: "good",
    SubscriptionStatus.TRIALING: "accent",
    SubscriptionStatus.PAST_DUE: "bad",
    SubscriptionStatus.UNPAID: "bad",
}
MAX_BROWSER_LENGTH: Final = 60


def customer_head(
    identity: AccountIdentity,
    current: CurrentPlan,
    pace: Pace,
    live: SubscriptionRow | None,
    now: datetime,
) -> CustomerHead:
    """Who it is, what is left, and what is paid."""
    row, balance = identity.row, balance_view(current, pace, now)
    status, tone = customer_status(row)
    return CustomerHead(
        account_id=row.account_id,
        name=row.name or row.user_id or row.organization_id,
        kind="Trial account" if row.kind is AccountKind.USER else "Organization",
        email=row.email,
        provider_id=row.customer_id or "",
        provider_url=identity.customer_url,
        status=status,
        tone=tone,
        since=words.day(row.created_at),
        people=words.number(identity.people),
        is_blocked=row.blocked_at is not None,
        is_trial=row.kind is AccountKind.USER,
        is_own=identity.is_own,
        left=balance.remaining or "0",
        of_total=balance.of_total or "No plan",
        held=balance.held,
        used_percent=balance.used_percent,
        held_percent=balance.held_percent,
        meter_tone=balance.tone,
        pace=balance.pace,
        plan=row.plan_name or "None in force",
        plan_note=balance.period,
        subscription=live.offer.name if live else "None",
        subscription_note=_subscription_note(live),
    )


def plan_line(plan: PlanView) -> PlanLine:
    """A plan with its figures, and whether it can be paused or resumed."""
    is_paused = plan.paused_at is not None and plan.ended_at is None
    state, tone = ("Paused", "warning") if is_paused else PLAN_STATES[plan.state]
    began = plan.began_at or plan.starts_at
    ends = words.day(plan.ends_at) if plan.ends_at else "no end"
    ended = words.day(plan.ended_at) if plan.ended_at else ends
    source = words.SOURCES[plan.source]
    return PlanLine(
        plan_id=plan.id,
        number=str(plan.sequence),
        name=plan.name,
        source="" if source == plan.name else source,
        state=state,
        tone=tone,
        used=words.number(plan.used),
        held=words.number(plan.held),
        executions=words.number(plan.executions),
        dates=f"{words.day(began)} to {ended}" if plan.began_at else f"Not begun, {ended}",
        is_paused=is_paused,
        is_open=plan.state is not PlanState.ENDED and plan.source is not PlanSource.OVERAGE,
    )


def hold_line(hold: ReservationView) -> HoldLine:
    state, tone = ("Overdue", "warning") if hold.is_overdue else HOLD_STATES[hold.status]
    settled = words.exact_moment(hold.settled_at) if hold.settled_at else ""
    return HoldLine(
        reservation_id=hold.id,
        status=state,
        tone=tone,
        executions=words.number(hold.executions),
        workflow=hold.workflow or "Not named",
        user=hold.user_id or "—",
        created=words.exact_moment(hold.created_at),
        ends=settled or f"Until {words.exact_moment(hold.expires_at)}",
    )


def subscription_line(row: SubscriptionRow) -> SubscriptionLine:
    offer = row.offer
    status = "Ended" if row.ended_at else STATUSES.get(row.status, row.status.value)
    return SubscriptionLine(
        provider_id=row.provider_id,
        provider_url=row.provider_url,
        offer=f"{offer.name}, version {offer.version}",
        price=f"{words.money(offer.price_minor, offer.currency)} a {offer.interval}",
        status=status,
        tone="" if row.ended_at else LIVE_TONES.get(row.status, "warning"),
        period=f"{words.day(row.period_start)} to {words.day(row.period_end)}",
        note=_subscription_note(row),
    )


def invoice_line(row: InvoiceRow) -> InvoiceLine:
    invoice = row.invoice
    return InvoiceLine(
        invoice_id=invoice.id,
        number=invoice.number or invoice.id,
        status=invoice.status.value.capitalize(),
        tone=INVOICE_TONES.get(invoice.status, ""),
        amount=words.money(invoice.amount_due_minor, invoice.currency),
        issued=words.day(invoice.issued_at),
        page_url=invoice.page_url,
        provider_url=row.provider_url,
    )


def key_line(key: AccountKey, now: datetime) -> KeyLine:
    if key.revoked_at is not None:
        state, tone = "Revoked", ""
    elif key.expires_at is not None and key.expires_at <= now:
        state, tone = "Expired", ""
    else:
        state, tone = "Live", "good"
    return KeyLine(
        key_id=str(key.id),
        name=key.name,
        hint=f"{key.hint}…",
        scopes=", ".join(key.scopes),
        state=state,
        tone=tone,
        created=words.day(key.created_at),
    )


def session_line(row: SessionView, number: int) -> SessionLine:
    return SessionLine(
        row=f"{row.user_id} {number}",
        user_id=row.user_id,
        person=row.name or row.email or row.user_id,
        browser=row.user_agent[:MAX_BROWSER_LENGTH] or "Unknown",
        since=words.moment(row.created_at),
        ends=words.moment(row.expires_at),
        is_live=row.is_live,
    )


def _subscription_note(row: SubscriptionRow | None) -> str:
    if row is None:
        return "Nothing is charged"
    if row.ended_at is not None:
        return f"Ended {words.day(row.ended_at)}"
    if row.past_due_since is not None:
        return f"Unpaid since {words.day(row.past_due_since)}"
    if row.cancel_at_period_end:
        return f"Ends {words.day(row.period_end)}"
    if row.next_offer is not None:
        return f"Becomes {row.next_offer.name} {words.day(row.period_end)}"
    return f"Renews {words.day(row.period_end)}"

"""Turns what an account has and its pace into what the pages show."""

from dataclasses import replace
from datetime import date, datetime, timedelta

from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.subscriptions.account_summary import (
    LOW_PERCENT,
    AccountSummary,
    Shortage,
)
from billing_app.billing.subscriptions.forecast import Pace
from billing_app.billing.subscriptions.next_executions import NextSource
from billing_app.db.enums import EndReason, PlanSource
from billing_app.states import formatting
from billing_app.states.spending_limit_views import beyond_plan
from billing_app.states.views import BalanceView, Message, PlanDetails, PlanRow

# The action of a warning that the next period may end.
NEXT_PERIOD = "next_period"


def balance_view(summary: AccountSummary, pace: Pace) -> BalanceView:
    """What is left, how long it lasts, and a warning when little is left."""
    current, plan = summary.current, summary.current.plan
    if plan is None:
        return BalanceView()
    total = current.executions_total
    warning = warning_of(summary, pace)
    return BalanceView(
        has_plan=True,
        plan_name=plan.name,
        plan_type=formatting.PLAN_TYPES[plan.type],
        remaining=formatting.number(current.executions_remaining),
        of_total=_of_total(summary),
        pace=_pace(summary, pace),
        runs_out=_runs_out(summary, pace),
        period=_period(summary),
        used=f"{formatting.number(current.executions_used)} used",
        held=f"{formatting.number(current.executions_held)} reserved"
        if current.executions_held
        else "",
        left_percent=percent_of(current.executions_remaining, total),
        held_percent=percent_of(current.executions_held, total),
        tone=_tone(summary),
        follows=follows(summary),
        nothing_follows=nothing_follows(summary),
        warning_tone=warning.tone,
        warning_title=warning.title,
        warning_text=warning.text,
        warning_action=warning.action,
        warning_label=warning.url_label,
    )


def follows(summary: AccountSummary) -> str:
    """What comes next by itself, and when; "" when nothing does, or it depends on a payment."""
    coming = summary.next_executions
    if coming is None:
        return ""
    because = {
        NextSource.PLAN: f"{coming.name} starts",
        NextSource.RENEWAL: f"{coming.name} renews",
        NextSource.CHANGE: f"your plan changes to {coming.name}",
        NextSource.REFILL: f"{coming.name} refills",
    }[coming.source]
    count = formatting.counted(coming.executions, "execution")
    return f"Next: {count} on {formatting.day(coming.at)}, when {because}"


def nothing_follows(summary: AccountSummary) -> bool:
    """Whether a plan must be chosen before more comes. Not while a payment is awaited, or support
    has to act: the page says that elsewhere."""
    subscription = summary.subscription
    is_overdue = subscription is not None and subscription.past_due_since is not None
    is_awaited = is_overdue or summary.awaited_debit is not None or summary.unpaid_start is not None
    is_stopped = summary.is_blocked or summary.shortage is Shortage.STOPPED
    may_come = summary.next_executions is not None or summary.tops_up
    return not (may_come or is_awaited or is_stopped)


def no_plan(*, is_personal: bool) -> Message:
    """Of an account that has never had a plan. A person's own one had no trial, because they have
    had one under another address."""
    if is_personal:
        return Message(
            title="No second trial",
            text="Your email address, or one like it, has already had a trial. Choose a plan to"
            " start.",
        )
    text = "Executions appear here once this account has a plan."
    return Message(title="No plan yet", text=text)


def warning_of(summary: AccountSummary, pace: Pace) -> Message:
    """A warning when few executions or none are left; empty while there are enough."""
    current = summary.current
    if current.plan is None or not summary.is_low:
        return Message()
    if current.executions_remaining > 0:
        percent = current.executions_remaining * 100 // current.executions_total
        share = f"Only {percent}%" if percent else "Less than 1%"
        lasts = formatting.days_left(pace)
        text = f"They will last {lasts}." if lasts else "None were used in the last 7 days."
        return Message("warning", f"{share} of your executions are left", text)
    told = _refusal(summary)
    if not told.title:
        return told
    told = replace(told, text=f"{told.text}{_owed(current)}")
    if told.action or not summary.may_start_next_period:
        return told
    return replace(told, action=NEXT_PERIOD, url_label=start_label(summary))


def start_label(summary: AccountSummary) -> str:
    """Of the button that begins the next period now; "" while it may not."""
    subscription = summary.subscription
    if subscription is None or not summary.may_start_next_period:
        return ""
    if subscription.next_offer is not None:
        return f"Start {subscription.next_offer.name} now"
    return "Start paying now" if summary.is_trial else "Start the next period now"


def _owed(current: CurrentPlan) -> str:
    if not current.executions_owed:
        return ""
    owed = formatting.counted(current.executions_owed, "execution")
    return (
        f" You used {owed} of a period that was not renewed. They count against the next plan"
        " that you buy."
    )


def is_bridge(plan: PlanView) -> bool:
    """The renewal is due and its payment is not confirmed yet."""
    return plan.source is PlanSource.BRIDGE and plan.ended_at is None


def _of_total(summary: AccountSummary) -> str:
    """The total of all plans that can be used now, which may be more than the one named."""
    text = f"of {formatting.counted(summary.current.executions_total, 'execution')} left"
    count = summary.usable_count
    return f"{text} in {count} plans" if count > 1 else text


def plan_details(summary: AccountSummary) -> PlanDetails:
    """Details of the current plan, or of the last one if there is none."""
    plan, now = summary.current.plan, summary.at
    if plan is None:
        return PlanDetails()
    renews, has_ended = summary.renews, summary.has_ended
    end = plan.ended_at if has_ended else plan.ends_at
    has_bar = plan.ends_at is not None and not has_ended
    return PlanDetails(
        name=plan.name,
        note="Last plan" if has_ended else "Current plan",
        type=formatting.PLAN_TYPES[plan.type],
        source=formatting.SOURCES[plan.source],
        left=_left(plan),
        left_percent=percent_of(plan.remaining, plan.executions),
        held_percent=percent_of(plan.held, plan.executions),
        tone=_plan_tone(plan),
        started_label="Started" if has_ended else "In use since",
        started=formatting.day(plan.began_at or plan.starts_at),
        ends_label="Available until"
        if is_bridge(plan)
        else "Ended"
        if has_ended
        else "Period ends"
        if renews
        else "Ends",
        ends=formatting.day(end) if end else "No end date",
        period_label="Billing period" if has_bar else "Period",
        period_text=_period_text(plan, now, renews=renews, has_ended=has_ended),
        period_left_percent=_period_left_percent(plan, now),
        has_bar=has_bar,
        has_ended=has_ended,
    )


def plan_row(plan: PlanView) -> PlanRow:
    """A plan with when and why it started and ended."""
    started = formatting.moment(plan.began_at) if plan.began_at else ""
    ended = formatting.moment(plan.ended_at) if plan.ended_at else ""
    unused = "" if started else "Never used" if ended else "Not started"
    state, tone = {
        PlanState.CURRENT: ("In use", "accent"),
        PlanState.UPCOMING: ("Next", ""),
        PlanState.ENDED: ("Ended", ""),
    }[plan.state]
    return PlanRow(
        plan_id=plan.id,
        name=plan.name,
        type=formatting.PLAN_TYPES[plan.type],
        state=state,
        tone=tone,
        executions=formatting.number(plan.executions),
        used=formatting.number(plan.used),
        started=started,
        start_reason=formatting.begin_reason(plan.began_because) or unused,
        ended=ended,
        end_reason=formatting.end_reason(plan.ended_because),
        note=_queue_note(plan),
    )


def _tone(summary: AccountSummary) -> str:
    if summary.current.executions_remaining <= 0:
        return "spent"
    return "warning" if summary.is_low else ""


def _plan_tone(plan: PlanView) -> str:
    if plan.remaining <= 0:
        return "spent"
    return "warning" if (plan.used + plan.held) * 100 >= plan.executions * LOW_PERCENT else ""


def _refusal(summary: AccountSummary) -> Message:
    """Why nothing can be used; empty while stopped, which the banner on every page explains."""
    current, shortage = summary.current, summary.shortage
    if shortage is Shortage.STOPPED:
        return Message()
    is_held = shortage is Shortage.RESERVED
    until = _next_plan(summary)
    if current.overage is not None and (current.overage.executions_limit or not is_held):
        return beyond_plan(current.overage, until, has_held=is_held)
    if is_held:
        title = "All executions are used or reserved"
        until = "running executions finish and release what they did not use"
        return Message("bad", title, f"New executions are refused until {until}.")
    title = "All executions are used"
    if shortage is Shortage.ENDED and current.plan is not None:
        title = f"{current.plan.name} has ended"
    return Message("bad", title, f"New executions are refused until {until}.")


def _next_plan(summary: AccountSummary) -> str:
    coming, debit = summary.next_executions, summary.awaited_debit
    if debit is not None:
        return f"your bank has paid for {debit.name}"
    if coming is None:
        return "another plan starts"
    verb = "renews" if coming.source is NextSource.RENEWAL else "starts"
    return f"{coming.name} {verb} on {formatting.day(coming.at)}"


def _pace(summary: AccountSummary, pace: Pace) -> str:
    current = summary.current
    if summary.shortage is Shortage.STOPPED:
        return "Not usable right now"
    if not current.executions_remaining:
        is_beyond = current.overage is not None and current.overage.executions_remaining > 0
        return "Running beyond your plan" if is_beyond else "None left"
    return formatting.days_left(pace).capitalize() or "Not used in the last 7 days"


def _runs_out(summary: AccountSummary, pace: Pace) -> str:
    """What it lasts until, and what is lost by then."""
    if not summary.current.executions_remaining or pace.runs_out_on is None:
        return ""
    on = formatting.short_day(pace.runs_out_on)
    text, renewal = f"runs out on {on}", _renewal_before(summary, pace.runs_out_on)
    if pace.ended_at is not None:
        text = f"until the plan {'renews' if summary.renews_at(pace.ended_at) else 'ends'} on {on}"
    elif renewal is not None:
        text = f"not counting the renewal on {formatting.short_day(renewal)}"
    unused = formatting.counted(pace.expires_unused, "execution")
    return f"{text}; {unused} will expire unused" if pace.expires_unused else text


def _renewal_before(summary: AccountSummary, day: date) -> datetime | None:
    subscription = summary.subscription
    if subscription is None or not summary.renews_at(subscription.period_end):
        return None
    return subscription.period_end if subscription.period_end.date() <= day else None


def _period(summary: AccountSummary) -> str:
    """Of the current plan itself: other plans end when they end."""
    plan, now = summary.current.plan, summary.at
    end = plan.ends_at if plan else None
    if plan and plan.ended_at is not None and summary.has_ended:
        return f"Ended {formatting.day(plan.ended_at)}"
    if plan is not None and is_bridge(plan):
        return "Renewal being confirmed"
    if end is None:
        return "No end date"
    if end <= now:
        return f"Ended {formatting.last_day(end)}"
    return ending_of(summary, end)


def ending_of(summary: AccountSummary, end: datetime) -> str:
    """What happens at the end, still to come, of a plan."""
    subscription = summary.subscription
    if subscription is not None and summary.renews_at(end):
        verb = "Changes" if subscription.next_offer else "Renews"
        return f"{verb} {formatting.day(end)}"
    return f"Ends {formatting.last_day(end)}"


def _period_text(plan: PlanView, now: datetime, *, renews: bool, has_ended: bool) -> str:
    if has_ended:
        return "Used up" if plan.ended_because is EndReason.DEPLETED else "Ended"
    if plan.ends_at is None:
        return "Lasts until its executions are used"
    if plan.ends_at <= now:
        return "Ended"
    if is_bridge(plan):
        return "Renewal being confirmed"
    last = plan.ends_at if renews else plan.ends_at - formatting.INSTANT
    if last.date() == now.date():
        return "Renews today" if renews else "Ends today"
    days_left = -((now - plan.ends_at) // timedelta(days=1))
    return f"{formatting.counted(days_left, 'day')} left"


def _period_left_percent(plan: PlanView, now: datetime) -> float:
    if plan.ends_at is None:
        return 0.0
    whole = (plan.ends_at - plan.starts_at).total_seconds()
    return percent_of((plan.ends_at - now).total_seconds(), whole)


def _queue_note(plan: PlanView) -> str:
    if plan.is_suspended:
        return "Waiting for payment"
    left = f"{formatting.number(plan.remaining)} of {formatting.number(plan.executions)} left"
    if is_bridge(plan):
        return f"{left}. Renewal being confirmed"
    if plan.state is PlanState.CURRENT:
        return left
    note = "Takes over automatically"
    if plan.ends_at is not None:
        ends = "period ends" if plan.source is PlanSource.SUBSCRIPTION else "ends"
        note = f"{note}, {ends} {formatting.last_day(plan.ends_at)}"
    return f"{left}. {note}" if plan.used or plan.held else note


def _left(plan: PlanView) -> str:
    held = f", {formatting.number(plan.held)} reserved" if plan.held else ""
    return f"{formatting.number(plan.remaining)} of {formatting.number(plan.executions)} left{held}"


def percent_of(part: float, whole: float) -> float:
    """The share that a bar shows, 0 to 100; 0 if the whole is 0."""
    return round(max(0.0, min(100.0, 100 * part / whole)), 2) if whole else 0.0

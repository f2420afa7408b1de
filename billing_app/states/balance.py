"""Turns the current plan and its pace into what the pages show."""

from dataclasses import replace
from datetime import datetime, timedelta

from billing_app.billing.plans.service import CurrentPlan, PlanState, PlanView
from billing_app.billing.subscriptions.service import SubscriptionView
from billing_app.billing.usage.service import Pace
from billing_app.db.enums import EndReason, PlanSource
from billing_app.states import formatting
from billing_app.states.spending_limit_views import beyond_plan
from billing_app.states.views import BalanceView, Message, PlanDetails, PlanRow

WARNING_PERCENT = 80
# The action of a warning that the next period may end.
NEXT_PERIOD = "next_period"


def balance_view(
    current: CurrentPlan,
    pace: Pace,
    now: datetime,
    *,
    subscription: SubscriptionView | None = None,
    start_label: str = "",
) -> BalanceView:
    """What is left, how long it lasts, and a warning when little is left. `start_label`: of the
    button that begins the next period now; "" while it may not."""
    plan = current.plan
    if plan is None:
        return BalanceView()
    total = current.executions_total
    taken = current.executions_used + current.executions_held
    warning = warning_of(current, pace, now, subscription=subscription, start_label=start_label)
    return BalanceView(
        has_plan=True,
        plan_name=plan.name,
        plan_type=formatting.PLAN_TYPES[plan.type],
        remaining=formatting.number(current.executions_remaining),
        of_total=_of_total(current, now),
        pace=_pace(current, pace),
        runs_out=_runs_out(current, pace),
        period=_period(current, now, subscription),
        used=f"{formatting.number(current.executions_used)} used",
        held=f"{formatting.number(current.executions_held)} reserved"
        if current.executions_held
        else "",
        left_percent=percent_of(current.executions_remaining, total),
        held_percent=percent_of(current.executions_held, total),
        tone=_tone(taken, total, remaining=current.executions_remaining),
        warning_tone=warning.tone,
        warning_title=warning.title,
        warning_text=warning.text,
        warning_action=warning.action,
        warning_label=warning.url_label,
    )


def warning_of(
    current: CurrentPlan,
    pace: Pace,
    now: datetime,
    *,
    subscription: SubscriptionView | None = None,
    start_label: str = "",
) -> Message:
    """A warning when few executions or none are left; empty while there are enough."""
    if current.plan is None:
        return Message()
    taken = current.executions_used + current.executions_held
    tone = _tone(taken, current.executions_total, remaining=current.executions_remaining)
    if tone == "spent":
        told = _refusal(current, now, subscription)
        if told.title:
            told = replace(told, text=f"{told.text}{_owed(current)}")
        starts = start_label != "" and told.title != "" and not told.action
        return replace(told, action=NEXT_PERIOD, url_label=start_label) if starts else told
    if tone == "warning":
        percent = current.executions_remaining * 100 // current.executions_total
        share = f"Only {percent}%" if percent else "Less than 1%"
        lasts = formatting.days_left(pace)
        text = f"They will last {lasts}." if lasts else "None were used in the last 7 days."
        return Message("warning", f"{share} of your executions are left", text)
    return Message()


def _owed(current: CurrentPlan) -> str:
    if not current.executions_owed:
        return ""
    owed = formatting.counted(current.executions_owed, "execution")
    return (
        f" You used {owed} of a period that was not renewed. They count against the next plan"
        " that you buy."
    )


def _is_bridge(plan: PlanView) -> bool:
    """The renewal is due and its payment is not confirmed yet."""
    return plan.source is PlanSource.BRIDGE and plan.ended_at is None


def _of_total(current: CurrentPlan, now: datetime) -> str:
    """The total of all plans that can be used now, which may be more than the one named."""
    text = f"of {formatting.counted(current.executions_total, 'execution')} left"
    others = [plan for plan in current.upcoming if _is_usable(plan, now)]
    return f"{text} in {len(others) + 1} plans" if others else text


def _is_usable(plan: PlanView, now: datetime) -> bool:
    is_in_period = plan.starts_at <= now and (plan.ends_at is None or plan.ends_at > now)
    return is_in_period and not plan.is_suspended and plan.paused_at is None


def plan_details(
    current: CurrentPlan, now: datetime, *, subscription: SubscriptionView | None = None
) -> PlanDetails:
    """Details of the current plan, or of the last one if there is none."""
    plan = current.plan
    if plan is None:
        return PlanDetails()
    renews = _renews(subscription, plan.ends_at)
    has_ended = plan.state is PlanState.ENDED and not (renews and _is_used_up(plan, now))
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
        tone=_tone(plan.used + plan.held, plan.executions, remaining=plan.remaining),
        started_label="Started" if has_ended else "In use since",
        started=formatting.day(plan.began_at or plan.starts_at),
        ends_label="Available until"
        if _is_bridge(plan)
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


def _tone(taken: int, total: int, *, remaining: int) -> str:
    if remaining <= 0:
        return "spent"
    return "warning" if taken * 100 >= total * WARNING_PERCENT else ""


def _refusal(current: CurrentPlan, now: datetime, subscription: SubscriptionView | None) -> Message:
    """Why nothing can be used; empty while stopped, which the banner on every page explains."""
    if _is_stopped(current):
        return Message()
    is_held = current.executions_held > 0 and current.executions_used < current.executions_total
    until = _next_plan(current, now, subscription)
    if current.overage is not None and (current.overage.executions_limit or not is_held):
        return beyond_plan(current.overage, until, has_held=is_held)
    if is_held:
        title = "All executions are used or reserved"
        until = "running executions finish and release what they did not use"
        return Message("bad", title, f"New executions are refused until {until}.")
    title = "All executions are used"
    plan = current.plan
    if plan is not None and plan.ended_because not in (None, EndReason.DEPLETED):
        title = f"{plan.name} has ended"
    return Message("bad", title, f"New executions are refused until {until}.")


def _is_used_up(plan: PlanView, now: datetime) -> bool:
    """Whether its period goes on after its last execution."""
    is_over = plan.ends_at is None or plan.ends_at <= now
    return plan.ended_because is EndReason.DEPLETED and not is_over


def _next_plan(current: CurrentPlan, now: datetime, subscription: SubscriptionView | None) -> str:
    upcoming = [
        (plan.starts_at, f"{plan.name} starts") for plan in current.upcoming if plan.starts_at > now
    ]
    if subscription is not None and _renews(subscription, subscription.period_end):
        next_offer = subscription.next_offer
        renewal = f"{next_offer.name} starts" if next_offer else f"{subscription.offer.name} renews"
        upcoming.append((subscription.period_end, renewal))
    if not upcoming:
        return "another plan starts"
    at, change = min(upcoming)
    return f"{change} on {formatting.day(at)}"


def _renews(subscription: SubscriptionView | None, end: datetime | None) -> bool:
    """Whether the paid period that ends here renews automatically."""
    if subscription is None or subscription.period_end != end:
        return False
    return not subscription.cancel_at_period_end and subscription.past_due_since is None


def _is_stopped(current: CurrentPlan) -> bool:
    """Whether the plan has executions left that wait for a payment or for support."""
    left_of_plan = current.plan.remaining if current.plan is not None else 0
    return left_of_plan > 0 and not current.executions_remaining


def _pace(current: CurrentPlan, pace: Pace) -> str:
    if _is_stopped(current):
        return "Not usable right now"
    if not current.executions_remaining:
        is_beyond = current.overage is not None and current.overage.executions_remaining > 0
        return "Running beyond your plan" if is_beyond else "None left"
    return formatting.days_left(pace).capitalize() or "Not used in the last 7 days"


def _runs_out(current: CurrentPlan, pace: Pace) -> str:
    if not current.executions_remaining or pace.runs_out_on is None:
        return ""
    end = current.plan.ends_at if current.plan else None
    if end and end.date() < pace.runs_out_on:
        return "longer than the current period"
    return f"runs out on {formatting.short_day(pace.runs_out_on)}"


def _period(current: CurrentPlan, now: datetime, subscription: SubscriptionView | None) -> str:
    """Of the current plan itself: other plans end when they end."""
    plan = current.plan
    end = plan.ends_at if plan else None
    renews = _renews(subscription, end)
    if plan and plan.ended_at is not None and not (renews and _is_used_up(plan, now)):
        return f"Ended {formatting.day(plan.ended_at)}"
    if plan is not None and _is_bridge(plan):
        return "Renewal being confirmed"
    if end is None:
        return "No end date"
    if end <= now:
        return f"Ended {formatting.day(end)}"
    verb = "Ends"
    if subscription is not None and renews:
        verb = "Changes" if subscription.next_offer else "Renews"
    return f"{verb} {formatting.day(end)}"


def _period_text(plan: PlanView, now: datetime, *, renews: bool, has_ended: bool) -> str:
    if has_ended:
        return "Used up" if plan.ended_because is EndReason.DEPLETED else "Ended"
    if plan.ends_at is None:
        return "Lasts until its executions are used"
    if plan.ends_at <= now:
        return "Ended"
    if _is_bridge(plan):
        return "Renewal being confirmed"
    if plan.ends_at.date() == now.date():
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
    if _is_bridge(plan):
        return f"{left}. Renewal being confirmed"
    if plan.state is PlanState.CURRENT:
        return left
    note = "Takes over automatically"
    if plan.ends_at is not None:
        ends = "period ends" if plan.source is PlanSource.SUBSCRIPTION else "ends"
        note = f"{note}, {ends} {formatting.day(plan.ends_at)}"
    return f"{left}. {note}" if plan.used or plan.held else note


def _left(plan: PlanView) -> str:
    held = f", {formatting.number(plan.held)} reserved" if plan.held else ""
    return f"{formatting.number(plan.remaining)} of {formatting.number(plan.executions)} left{held}"


def percent_of(part: float, whole: float) -> float:
    """The share that a bar shows, 0 to 100; 0 if the whole is 0."""
    return round(max(0.0, min(100.0, 100 * part / whole)), 2) if whole else 0.0

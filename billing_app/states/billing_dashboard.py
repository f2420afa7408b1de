"""What the dashboard shows."""

from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go
import reflex as rx
from reflex.event import EventCallback

from billing_app.billing.actors import PersonActor, PortalActor, UserActor
from billing_app.billing.subscriptions.account_summary import read_summary
from billing_app.billing.subscriptions.forecast import Pace, read_pace
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import DailyRow, Days, GroupBy
from billing_app.components.charts.executions import executions_per_day
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.balance import balance_view, no_plan
from billing_app.states.change_polling import LivePage
from billing_app.states.first_run import FirstRun, first_run, owner_of
from billing_app.states.holdings import holdings
from billing_app.states.offer_dialog import OfferDialogState
from billing_app.states.payment_words import debit_messages
from billing_app.states.payments import terms_of
from billing_app.states.session import PERSONAL, SessionState
from billing_app.states.spending_limit_views import RAISE
from billing_app.states.usage_views import (
    event_rows,
    refunded_by_day,
    series_keys,
    used_table,
    used_text,
)
from billing_app.states.views import (
    AccountChoice,
    BalanceView,
    EventRow,
    HoldingView,
    Message,
    SeriesKey,
    StatView,
    SubscriptionTerms,
)

CHART_DAYS = 30
RECENT_EVENTS = 8


class BillingDashboardState(LivePage, SessionState):
    """What is left, how fast it is used, and recent executions."""

    balance: rx.Field[BalanceView] = rx.field(default_factory=BalanceView)
    terms: rx.Field[SubscriptionTerms] = rx.field(default_factory=SubscriptionTerms)
    holdings: rx.Field[list[HoldingView]] = rx.field(default_factory=list)
    no_plan: rx.Field[Message] = rx.field(default_factory=Message)
    debits: rx.Field[list[Message]] = rx.field(default_factory=list)
    today: rx.Field[StatView] = rx.field(default_factory=StatView)
    pace: rx.Field[StatView] = rx.field(default_factory=StatView)
    month: rx.Field[StatView] = rx.field(default_factory=StatView)
    denied: rx.Field[StatView] = rx.field(default_factory=StatView)
    figure: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    keys: rx.Field[list[SeriesKey]] = rx.field(default_factory=list)
    chart_label: rx.Field[str] = rx.field("")
    events: rx.Field[list[EventRow]] = rx.field(default_factory=list)
    is_new: rx.Field[bool] = rx.field(False)
    was_waiting: rx.Field[bool] = rx.field(False)
    first_run: rx.Field[FirstRun] = rx.field(default_factory=FirstRun)
    _drawn: tuple[str, list[DailyRow]] | None = None

    def _background_events(self) -> list[EventCallback[()]]:
        return [OfferDialogState.dismiss_done]

    @rx.event
    def begin(self) -> None:
        """The page was opened."""
        self._show(is_new=False, was_waiting=False)

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        database, account_id = get_services().database, account.account_id
        now = datetime.now(UTC)
        today = now.date()
        days = Days(today - timedelta(days=CHART_DAYS - 1), today)
        summary = await read_summary(database, actor, account_id, now)
        rows = await self._read_daily(actor, account, days, GroupBy.WORKFLOW)
        recent = await usage.list_events(database, actor, account_id, limit=RECENT_EVENTS, now=now)
        pace = await read_pace(database, actor, summary, rows)
        balance = balance_view(summary, pace)
        self._show(
            balance=balance,
            terms=terms_of(summary),
            holdings=holdings(summary, may_raise=balance.warning_action != RAISE),
            no_plan=no_plan(is_personal=account.kind == PERSONAL),
            debits=debit_messages(summary),
            events=event_rows(recent.items, self.events, actor),
        )
        is_new = not recent.items and not rows and not any(plan.used for plan in summary.queue)
        self._show_first_run(actor, account, is_new=is_new)
        if summary.debits:
            (await self.get_state(OfferDialogState)).drop_asked()
        self._show_numbers(rows, days, pace)
        self._draw(account_id, rows, days)

    def _show_first_run(self, actor: PersonActor, account: AccountChoice, *, is_new: bool) -> None:
        """Until an execution is counted; the page's visitor sees the moment. People of portal links
        are customers of a product that counts for them."""
        is_new = is_new and not isinstance(actor, PortalActor)
        if is_new and not self.is_new:
            services = get_services()
            user_id = actor.user_id if isinstance(actor, UserActor) else ""
            owner = owner_of(account, user_id, services.terms.public_organization_id)
            self._show(first_run=first_run(services.settings.public_url, owner))
        is_same = self._drawn is not None and self._drawn[0].startswith(account.account_id)
        self._show(
            was_waiting=is_same and not is_new and (self.is_new or self.was_waiting),
            is_new=is_new,
        )

    def _show_numbers(self, rows: list[DailyRow], days: Days, pace: Pace) -> None:
        today = [row for row in rows if row.day == days.last]
        denied = sum(row.denied for row in rows)
        refunded = sum(row.refunded for row in rows)
        net = sum(row.used for row in rows) - refunded
        hint = (
            f"after {formatting.number(refunded)} refunded" if refunded else "executions in total"
        )
        self._show(
            today=StatView(
                formatting.number(sum(row.used for row in today)), _since_midnight(today)
            ),
            pace=StatView(formatting.per_day(pace), "per day, last 7 days"),
            month=StatView(formatting.number(net), hint),
            denied=StatView(
                formatting.number(denied), "in the last 30 days", "bad" if denied else ""
            ),
        )

    def _draw(self, account_id: str, rows: list[DailyRow], days: Days) -> None:
        drawn = (f"{account_id} {days.last}", rows)
        if self._drawn == drawn:
            return
        self._drawn = drawn
        table = used_table(rows, days.first, days.last)
        self.figure = executions_per_day(table, refunded_by_day(rows, days.first, days.last))
        label = f"Executions per day by workflow, last {CHART_DAYS} days: {used_text(rows)}"
        self._show(keys=series_keys(table), chart_label=label)


def _since_midnight(rows: list[DailyRow]) -> str:
    """Refunds of today may be of the use of other days."""
    refunded = sum(row.refunded for row in rows)
    more = f", {formatting.number(refunded)} refunded" if refunded else ""
    return f"since midnight UTC{more}"

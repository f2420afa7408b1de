"""The figures of all accounts."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

import pandas as pd
import plotly.graph_objects as go
import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.actors import StaffActor
from billing_app.billing.lists.paging import Page
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.customers.customers import CustomerRow
from billing_app.billing.staff.operations.metrics import (
    DayFigures,
    Money,
    NearSort,
    PlatformOverview,
    list_near_limit,
    read_overview,
)
from billing_app.billing.usage.service import Days
from billing_app.components.charts.executions import counts_per_day, executions_per_day
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.session import SessionState
from billing_app.states.staff.customers import customer_line
from billing_app.states.staff.denial_labels import REASONS
from billing_app.states.staff.listing import Listing, Table
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.views import CustomerLine, PlatformFigures
from billing_app.states.usage_views import series_keys
from billing_app.states.views import SeriesKey

PRESETS: Final = ("7", "30", "90")
NEAR: Final = "near"


class StaffOverviewState(Listing, StaffPage, SessionState):
    """Numbers, charts, and accounts near their limit."""

    refresh_polls = 7
    tables: ClassVar[dict[str, Table]] = {
        NEAR: Table(By(NearSort.LEFT), rising=frozenset({NearSort.LEFT}))
    }

    preset: rx.Field[str] = rx.field("30")
    numbers: rx.Field[PlatformFigures] = rx.field(default_factory=PlatformFigures)
    executions: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    denials: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    trials: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    denial_keys: rx.Field[list[SeriesKey]] = rx.field(default_factory=list)
    trial_keys: rx.Field[list[SeriesKey]] = rx.field(default_factory=list)
    has_executions: rx.Field[bool] = rx.field(False)
    near: rx.Field[list[CustomerLine]] = rx.field(default_factory=list)
    _drawn: list[DayFigures] | None = None

    @rx.event
    async def choose_preset(self, days: str) -> EventSpec | None:
        """Show the last N days."""
        self._show(preset=days if days in PRESETS else "30")
        return await self._refresh()

    async def _read(self, staff: StaffActor) -> None:
        database, now = get_services().database, datetime.now(UTC)
        today = now.date()
        days = Days(today - timedelta(days=int(self.preset) - 1), today)
        overview = await read_overview(database, staff, days, now)

        async def read(**page: Any) -> Page[CustomerRow]:
            return await list_near_limit(database, staff, now=now, **page)

        near = await self._list(NEAR, read)
        self._show(
            numbers=_figures(overview, self.preset),
            near=[customer_line(row) for row in near],
        )
        if overview.days != self._drawn:
            self._drawn = overview.days
            self._draw(overview.days)

    def _draw(self, days: list[DayFigures]) -> None:
        index = pd.DatetimeIndex([day.day for day in days])
        used = pd.DataFrame({"Executions": [day.used for day in days]}, index=index)
        trials = pd.DataFrame(
            {
                "Started": [day.trials_started for day in days],
                "Converted": [day.trials_converted for day in days],
            },
            index=index,
        )
        denied = _denials(days, index)
        self.executions = executions_per_day(used, [day.refunded for day in days])
        self.denials = executions_per_day(denied)
        self.trials = counts_per_day(trials)
        self._show(
            has_executions=bool(used.to_numpy().any()),
            denial_keys=series_keys(denied),
            trial_keys=series_keys(trials),
        )


def _denials(days: list[DayFigures], index: pd.DatetimeIndex) -> pd.DataFrame:
    """A column for each reason, by name, so that each keeps its colour."""
    reasons = {reason for day in days for reason in day.denied}
    columns = {
        REASONS.get(reason, reason): [day.denied.get(reason, 0) for day in days]
        for reason in reasons
    }
    return pd.DataFrame({name: columns[name] for name in sorted(columns)}, index=index)


def _figures(overview: PlatformOverview, preset: str) -> PlatformFigures:
    executions = sum(day.executions for day in overview.days)
    today = overview.days[-1].used
    denied = sum(sum(day.denied.values()) for day in overview.days)
    started = sum(day.trials_started for day in overview.days)
    converted = sum(day.trials_converted for day in overview.days)
    return PlatformFigures(
        executions=formatting.number(executions),
        executions_note=f"in {preset} days, {formatting.number(today)} used today",
        denied=formatting.number(denied),
        denied_note=f"requests refused in {preset} days",
        trials=formatting.number(started),
        trials_note=f"in {preset} days",
        converted=formatting.number(converted),
        converted_note="first purchases by accounts with a trial",
        subscriptions=formatting.number(overview.active_subscriptions),
        subscriptions_note="active, on trial or past due",
        revenue=_money(overview.revenue),
        revenue_note=f"paid on {overview.month:%B} invoices, before refunds",
        near=formatting.number(overview.near_limit) if overview.near_limit is not None else "—",
        near_note=near_note(overview.near_limit or 0, overview.near_limit_at),
        past_due=formatting.number(overview.accounts_past_due),
        past_due_note=owed_note(overview.accounts_past_due, overview.owed, overview.owed_by_ended),
    )


def near_note(accounts: int, at: datetime | None) -> str:
    """The note below the number of accounts near their limit."""
    if at is None:
        return "not calculated yet"
    has = "account has" if accounts == 1 else "accounts have"
    return f"{has} used 80% or more, as of {formatting.time_of_day(at)} UTC"


def owed_note(accounts: int, owed: list[Money], by_ended: Sequence[Money] = ()) -> str:
    """The note below the number of past due accounts."""
    note = "no payments overdue"
    if accounts:
        note = f"{'account owes' if accounts == 1 else 'accounts owe'} {_money(owed)}"
    return f"{note}, ended subscriptions {_money(by_ended)}" if by_ended else note


def _money(amounts: Sequence[Money]) -> str:
    if not amounts:
        return "0"
    return ", ".join(formatting.money(money.amount_minor, money.currency) for money in amounts)

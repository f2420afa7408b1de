"""What the usage page shows."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from urllib.parse import parse_qs, urlencode

import pandas as pd
import plotly.graph_objects as go
import reflex as rx
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing.actors import PersonActor
from billing_app.billing.errors import EventRemovedError, InvalidInputError
from billing_app.billing.plans import service as plans
from billing_app.billing.plans.service import CurrentPlan, PlanState
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.filters import ALL_USAGE, EventFilter, UsageFilter
from billing_app.billing.usage.kept_days import days_kept_from
from billing_app.billing.usage.service import DailyRow, Days, GroupBy
from billing_app.components.charts.executions import (
    cumulative,
    executions_per_day,
    label_of,
)
from billing_app.composition import get_services
from billing_app.db.enums import EventKind
from billing_app.states import formatting
from billing_app.states.change_polling import LivePage
from billing_app.states.session import SessionState
from billing_app.states.usage_views import (
    average_text,
    day_rows,
    days_table,
    event_rows,
    past_retention,
    person,
    refunded_by_day,
    series_keys,
    used_before,
    used_table,
    used_text,
)
from billing_app.states.views import (
    AccountChoice,
    DayRow,
    EventRow,
    FilterOption,
    SeriesKey,
    StatView,
)

EVENT_ROWS = 20
DAY_ROWS = 7
DEFAULT_DAYS = 30
ALL = "all"
COMMA, SEMICOLON = "comma", "semicolon"
NAMED_PREFIX = "="
MAX_NAME = 255


class UsageStatsState(LivePage, SessionState):
    """How much, when, by which workflow and by whom."""

    preset: rx.Field[str] = rx.field("30")
    first_day: rx.Field[str] = rx.field("")
    last_day: rx.Field[str] = rx.field("")
    today: rx.Field[str] = rx.field("")
    group_by: rx.Field[str] = rx.field(GroupBy.WORKFLOW.value)
    range_problem: rx.Field[str] = rx.field("")
    not_kept: rx.Field[str] = rx.field("")

    total: rx.Field[StatView] = rx.field(default_factory=StatView)
    average: rx.Field[StatView] = rx.field(default_factory=StatView)
    peak: rx.Field[StatView] = rx.field(default_factory=StatView)
    denied: rx.Field[StatView] = rx.field(default_factory=StatView)
    figure: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    added_up: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    keys: rx.Field[list[SeriesKey]] = rx.field(default_factory=list)
    cumulative_title: rx.Field[str] = rx.field("")
    cumulative_note: rx.Field[str] = rx.field("")
    days: rx.Field[list[DayRow]] = rx.field(default_factory=list)
    days_page: rx.Field[int] = rx.field(1)
    has_older_days: rx.Field[bool] = rx.field(False)

    events: rx.Field[list[EventRow]] = rx.field(default_factory=list)
    events_page: rx.Field[int] = rx.field(1)
    has_older_events: rx.Field[bool] = rx.field(False)
    events_problem: rx.Field[str] = rx.field("")
    kind: rx.Field[str] = rx.field(ALL)
    workflow: rx.Field[str] = rx.field(ALL)
    user: rx.Field[str] = rx.field(ALL)
    workflows: rx.Field[list[FilterOption]] = rx.field(default_factory=list)
    users: rx.Field[list[FilterOption]] = rx.field(default_factory=list)
    separator: rx.Field[str] = rx.field(COMMA)
    export_url: rx.Field[str] = rx.field("")

    _cursors: tuple[str, ...] = ()
    _next_cursor: str | None = None
    _drawn: tuple[object, ...] = ()
    _listed: str = ""

    @rx.event
    async def choose_preset(self, days: str) -> EventSpec | None:
        """Show the last so many days."""
        self.preset = days
        self.last_day = self.first_day = ""
        return await self._from_the_start()

    @rx.event
    async def choose_first(self, day: str) -> EventSpec | None:
        """Start the range on this day (YYYY-MM-DD)."""
        self.preset, self.first_day = "", day
        return await self._from_the_start()

    @rx.event
    async def choose_last(self, day: str) -> EventSpec | None:
        """End the range on this day (YYYY-MM-DD)."""
        self.preset, self.last_day = "", day
        return await self._from_the_start()

    @rx.event
    async def choose_group(self, group_by: str) -> EventSpec | None:
        """Stack by workflow or by user."""
        self.group_by = GroupBy.USER if group_by == GroupBy.USER else GroupBy.WORKFLOW
        return await self._refresh()

    @rx.event
    async def filter_kind(self, kind: str) -> EventSpec | None:
        """Only events of this kind."""
        self.kind = kind
        return await self._from_the_start()

    @rx.event
    async def filter_workflow(self, workflow: str) -> EventSpec | None:
        """Only usage and events of this workflow."""
        self.workflow = workflow
        return await self._from_the_start()

    @rx.event
    async def filter_user(self, user: str) -> EventSpec | None:
        """Only usage and events of this user."""
        self.user = user
        return await self._from_the_start()

    @rx.event
    async def clear_filters(self) -> EventSpec | None:
        """All workflows, users and kinds of events."""
        self.workflow = self.user = self.kind = ALL
        return await self._from_the_start()

    @rx.event
    async def choose_separator(self, separator: str) -> EventSpec | None:
        """Part the columns of the CSV by commas or semicolons."""
        self.separator = SEMICOLON if separator == SEMICOLON else COMMA
        return await self._refresh()

    @rx.event
    async def show_older_events(self) -> EventSpec | None:
        """The next page of events."""
        if self._next_cursor is None:
            return None
        self._cursors = (*self._cursors, self._next_cursor)
        return await self._refresh()

    @rx.event
    async def show_newer_events(self) -> EventSpec | None:
        """The page before."""
        if not self._cursors:
            return None
        self._cursors = self._cursors[:-1]
        return await self._refresh()

    @rx.event
    async def show_older_days(self) -> EventSpec | None:
        """The next page of days."""
        self.days_page += 1
        return await self._refresh()

    @rx.event
    async def show_newer_days(self) -> EventSpec | None:
        """The page before."""
        self.days_page = max(1, self.days_page - 1)
        return await self._refresh()

    async def _from_the_start(self) -> EventSpec | None:
        self._cursors, self.days_page = (), 1
        return await self._refresh()

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        now = datetime.now(UTC)
        self._show(today=now.date().isoformat())
        if self._listed != account.account_id:
            self._listed, self._cursors, self.days_page = account.account_id, (), 1
            self._show(workflow=ALL, user=ALL, kind=ALL)
        try:
            days = self._range(now.date())
        except (ValueError, InvalidInputError) as problem:
            self._show(range_problem=_range_problem(problem))
            return
        self._show(
            range_problem="",
            not_kept=past_retention(
                days, days_kept_from(now, get_services().settings.daily_retention_months)
            ),
            first_day=days.first.isoformat(),
            last_day=days.last.isoformat(),
        )
        await self._read_charts(actor, account, days, now)
        await self._read_events(actor, account, days)

    def _range(self, today: date) -> Days:
        """Raises ValueError for an invalid day, InvalidInputError for an invalid range."""
        if self.preset:
            count = int(self.preset)
            return Days(today - timedelta(days=count - 1), today)
        last = date.fromisoformat(self.last_day) if self.last_day else today
        first = date.fromisoformat(self.first_day) if self.first_day else last
        return Days(first, last)

    async def _read_charts(
        self, actor: PersonActor, account: AccountChoice, days: Days, now: datetime
    ) -> None:
        database, account_id = get_services().database, account.account_id
        by_workflow = await self._read_daily(actor, account, days, GroupBy.WORKFLOW)
        by_user = await self._read_daily(actor, account, days, GroupBy.USER)
        current = await plans.read_current(database, actor, account_id, now)
        self._show(
            workflows=_groups(by_workflow, keep=self.workflow, label=label_of),
            users=_groups(by_user, keep=self.user, label=partial(person, viewer=actor)),
        )
        where = UsageFilter(workflow=_named(self.workflow), user_id=_named(self.user))
        is_by_user = self.group_by == GroupBy.USER
        rows = by_user if is_by_user else by_workflow
        if where != ALL_USAGE:
            group_by = GroupBy.USER if is_by_user else GroupBy.WORKFLOW
            rows = await self._read_daily(actor, account, days, group_by, where)
        self._show_totals(rows, days)
        drawn = (account_id, days, current, is_by_user, where, rows)
        if self._drawn != drawn:
            self._drawn = drawn
            label = partial(person, viewer=actor) if is_by_user else label_of
            # A part of the usage says nothing of the plan's limit.
            limited_by = current if where == ALL_USAGE and days.last == now.date() else None
            self._draw(rows, label, days, limited_by)
        self._show_days(rows)

    def _draw(
        self,
        rows: list[DailyRow],
        label: Callable[[str], str],
        days: Days,
        limited_by: CurrentPlan | None,
    ) -> None:
        table = used_table(rows, days.first, days.last, label)
        self.figure = executions_per_day(table, refunded_by_day(rows, days.first, days.last))
        self._show(keys=series_keys(table))
        net = days_table(rows, days.first, days.last)
        if limited_by is None or not self._draw_against_limit(net, limited_by):
            self.added_up = cumulative(table)
            self._show(
                cumulative_title="Cumulative",
                cumulative_note=f"{used_text(rows)} in this range",
            )

    def _draw_against_limit(self, table: pd.DataFrame, current: CurrentPlan) -> bool:
        """A line that ends today at what the current plans have used; False if it can't."""
        plan = current.plan
        if plan is None or plan.began_at is None:
            return False
        overage = current.overage if not current.executions_remaining else None
        beyond = overage.executions_used if overage else 0
        table = table.loc[pd.Timestamp(plan.began_at.date()) :]
        before = used_before(table, current.executions_used + beyond)
        if before is None:
            return False
        self.added_up = cumulative(table, already_used=before, limit=current.executions_total)
        used, total = (
            formatting.number(current.executions_used),
            formatting.number(current.executions_total),
        )
        more = f", {formatting.number(beyond)} beyond the plan" if beyond else ""
        has_ended = plan.state is PlanState.ENDED
        self._show(
            cumulative_title=f"Usage of your {'last plan' if has_ended else 'current plans'}",
            cumulative_note=f"{used} of {total} executions{more}",
        )
        return True

    def _show_totals(self, rows: list[DailyRow], days: Days) -> None:
        count = (days.last - days.first).days + 1
        net = sum(row.used - row.refunded for row in rows)
        refunded = sum(row.refunded for row in rows)
        hint = f"after {formatting.number(refunded)} refunded" if refunded else "none refunded"
        by_day: dict[date, int] = {}
        for row in rows:
            by_day[row.day] = by_day.get(row.day, 0) + row.used
        best = max(by_day, key=lambda day: by_day[day], default=None)
        self._show(
            total=StatView(formatting.number(net), hint),
            average=StatView(average_text(net, count), "executions per day"),
            peak=StatView(
                formatting.number(by_day[best]) if best else "0",
                formatting.short_day(best) if best else "no executions",
            ),
            denied=StatView(formatting.number(sum(row.denied for row in rows)), "requests"),
        )

    def _show_days(self, rows: list[DailyRow]) -> None:
        all_days = day_rows(rows)
        start = (self.days_page - 1) * DAY_ROWS
        self._show(
            days=all_days[start : start + DAY_ROWS],
            has_older_days=len(all_days) > start + DAY_ROWS,
        )

    async def _read_events(self, actor: PersonActor, account: AccountChoice, days: Days) -> None:
        where = EventFilter(
            kind=EventKind(self.kind) if self.kind in set(EventKind) else None,
            workflow=_named(self.workflow),
            user_id=_named(self.user),
            first=days.first,
            last=days.last,
        )
        try:
            page = await usage.list_events(
                get_services().database,
                actor,
                account.account_id,
                where=where,
                limit=EVENT_ROWS,
                cursor=self._cursors[-1] if self._cursors else None,
            )
        except EventRemovedError as error:
            self._cursors, self._next_cursor = (), None
            self._show(
                events=[],
                events_page=1,
                has_older_events=False,
                events_problem=error.detail,
                export_url=_export_url(account, where, self.separator),
            )
            return
        self._next_cursor = page.next_cursor
        self._show(
            events_problem="",
            events=event_rows(page.items, self.events, actor),
            events_page=len(self._cursors) + 1,
            has_older_events=page.next_cursor is not None,
            export_url=_export_url(account, where, self.separator),
        )


def _groups(rows: list[DailyRow], *, keep: str, label: Callable[[str], str]) -> list[FilterOption]:
    """The choices of a filter, including the one chosen."""
    groups = {NAMED_PREFIX + row.group for row in rows} | ({keep} - {ALL})
    return [
        FilterOption(group, label(group.removeprefix(NAMED_PREFIX))) for group in sorted(groups)
    ]


def _named(choice: str) -> str | None:
    """The name chosen, None for all. A forged one that no name can be matches nothing."""
    if not choice.startswith(NAMED_PREFIX):
        return None
    return choice.removeprefix(NAMED_PREFIX)[: MAX_NAME + 1].replace(
        "\0", "\N{REPLACEMENT CHARACTER}"
    )


def _range_problem(problem: Exception) -> str:
    if isinstance(problem, InvalidInputError):
        return "The first day must not be after the last one, and a range can't exceed ten years."
    return "Choose a first and a last day."


def _export_url(account: AccountChoice, where: EventFilter, separator: str) -> str:
    optional = {
        "from": where.first,
        "to": where.last,
        "kind": where.kind,
        "workflow": where.workflow,
        "separator": separator,
        "byte_order_mark": "true",
    }
    if "user_id" not in parse_qs(account.export_query):
        optional["user_id"] = where.user_id
    query = {name: str(value) for name, value in optional.items() if value is not None}
    return f"{routes.USAGE_EXPORT}?{account.export_query}&{urlencode(query)}"


__all__ = ["ALL", "COMMA", "NAMED_PREFIX", "SEMICOLON", "UsageStatsState"]

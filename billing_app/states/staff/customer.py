"""One account: how it stands, and the part of it that is looked at."""

from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote

import plotly.graph_objects as go
import reflex as rx
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing import plans, usage
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import AccountNotFoundError, InvalidInputError
from billing_app.billing.staff import account as accounts
from billing_app.billing.staff.audit_log import list_entries
from billing_app.billing.staff.events import EventQuery, list_received
from billing_app.billing.staff.sessions import list_account_sessions
from billing_app.billing.staff.viewing import begin_view
from billing_app.billing.usage import DailyRow, Days, GroupBy
from billing_app.components.charts.executions import executions_per_day
from billing_app.composition import get_services
from billing_app.states.session import SessionState, go_afresh
from billing_app.states.staff import customer_views as draw
from billing_app.states.staff.entries import entry_line
from billing_app.states.staff.listing import Listing
from billing_app.states.staff.operations import webhook_line
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.repairs import RepairDesk
from billing_app.states.staff.undo import Undoing
from billing_app.states.staff.views import (
    CustomerHead,
    EntryLine,
    HoldLine,
    InvoiceLine,
    KeyLine,
    PlanLine,
    SessionLine,
    SubscriptionLine,
    WebhookLine,
)
from billing_app.states.usage_views import days_table, event_rows, series_keys
from billing_app.states.views import EventRow, SeriesKey

PART_ROWS: Final = 25
MAX_PLANS: Final = 100
CHART_DAYS: Final = 30
SUMMARY, LEDGER, HOLDS = "summary", "ledger", "holds"
MONEY, WEBHOOKS, PEOPLE, AUDIT = "billing", "webhooks", "access", "audit"
PARTS: Final = (SUMMARY, LEDGER, HOLDS, MONEY, WEBHOOKS, PEOPLE, AUDIT)


class StaffCustomerState(RepairDesk, Undoing, Listing, StaffPage, SessionState):
    """The head is always read; of the parts, the one that is shown."""

    refresh_seconds = 4.0

    is_missing: rx.Field[bool] = rx.field(False)
    head: rx.Field[CustomerHead] = rx.field(default_factory=CustomerHead)
    part: rx.Field[str] = rx.field(SUMMARY)
    plans: rx.Field[list[PlanLine]] = rx.field(default_factory=list)
    figure: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    keys: rx.Field[list[SeriesKey]] = rx.field(default_factory=list)
    events: rx.Field[list[EventRow]] = rx.field(default_factory=list)
    holds: rx.Field[list[HoldLine]] = rx.field(default_factory=list)
    subscriptions: rx.Field[list[SubscriptionLine]] = rx.field(default_factory=list)
    invoices: rx.Field[list[InvoiceLine]] = rx.field(default_factory=list)
    webhooks: rx.Field[list[WebhookLine]] = rx.field(default_factory=list)
    service_keys: rx.Field[list[KeyLine]] = rx.field(default_factory=list)
    browsers: rx.Field[list[SessionLine]] = rx.field(default_factory=list)
    entries: rx.Field[list[EntryLine]] = rx.field(default_factory=list)
    _drawn: list[DailyRow] | None = None

    @rx.event
    async def choose_part(self, part: str) -> EventSpec | None:
        """Look at another part."""
        self._show(part=part if part in PARTS else SUMMARY)
        self._start_over()
        return await self._refresh()

    @rx.event
    async def view_as_customer(self, form: dict[str, str]) -> EventSpec | None:
        """See the account's pages as its holder does."""
        reason = str(form.get("reason", ""))
        account_id, token = self._customer_id, self._token()

        async def work(staff: StaffActor, now: datetime) -> datetime:
            return await begin_view(
                get_services().database, staff, token, account_id, reason=reason, now=now
            )

        if await self._ask(work) is None:
            return None
        return go_afresh(routes.DASHBOARD)

    def _open(self) -> None:
        """The account that the address names."""
        account_id = unquote(self.router.url.path.rstrip("/").rpartition("/")[2])[:64]
        if account_id != self._customer_id:
            self._customer_id = account_id
            self._drawn = None
            self._show(head=CustomerHead(), part=SUMMARY, is_ready=False, is_missing=False)
            self._start_over()
        self._put_away()

    async def _read(self, staff: StaffActor) -> None:
        try:
            await self._read_head(staff)
        except AccountNotFoundError:
            self._show(is_missing=True)
            return
        self._show(is_missing=False)
        try:
            await self._read_part(staff)
        except InvalidInputError:
            self._start_over()

    async def _read_head(self, staff: StaffActor) -> None:
        services, now = get_services(), datetime.now(UTC)
        database, account_id = services.database, self._customer_id
        identity = await accounts.read_identity(database, services.links, staff, account_id, now)
        current = await plans.read_current(database, staff, account_id, now)
        pace = await usage.read_pace(
            database,
            staff,
            account_id,
            remaining=current.executions_remaining,
            today=now.date(),
        )
        rows = await accounts.list_subscriptions(database, services.links, staff, account_id)
        live = next((row for row in rows if row.ended_at is None), None)
        self._show(
            head=draw.customer_head(identity, current, pace, live, now),
            subscriptions=[draw.subscription_line(row) for row in rows],
        )

    async def _read_part(self, staff: StaffActor) -> None:
        read = {
            SUMMARY: self._read_summary,
            LEDGER: self._read_ledger,
            HOLDS: self._read_holds,
            MONEY: self._read_money,
            WEBHOOKS: self._read_webhooks,
            PEOPLE: self._read_access,
            AUDIT: self._read_audit,
        }
        await read[self.part](staff)

    async def _read_summary(self, staff: StaffActor) -> None:
        database, now = get_services().database, datetime.now(UTC)
        page = await plans.read_history(
            database, staff, self._customer_id, now=now, limit=MAX_PLANS
        )
        self._show(plans=[draw.plan_line(plan) for plan in page.items])
        days = Days(now.date() - timedelta(days=CHART_DAYS - 1), now.date())
        rows = await usage.read_daily(
            database, staff, self._customer_id, days=days, group_by=GroupBy.WORKFLOW
        )
        self._show(workflows=sorted({row.group for row in rows}))
        if rows != self._drawn:
            self._drawn = rows
            table = days_table(rows, days.first, days.last)
            self.figure = executions_per_day(table)
            self._show(keys=series_keys(table))

    async def _read_ledger(self, staff: StaffActor) -> None:
        page = await usage.list_events(
            get_services().database,
            staff,
            self._customer_id,
            limit=PART_ROWS,
            cursor=self._cursor,
        )
        self._show(events=event_rows(page.items, self.events, staff))
        self._show_page(page)

    async def _read_holds(self, staff: StaffActor) -> None:
        page = await accounts.list_reservations(
            get_services().database,
            staff,
            self._customer_id,
            now=datetime.now(UTC),
            limit=PART_ROWS,
            cursor=self._cursor,
        )
        self._show(holds=[draw.hold_line(hold) for hold in page.items])
        self._show_page(page)

    async def _read_money(self, staff: StaffActor) -> None:
        services = get_services()
        page = await accounts.list_account_invoices(
            services.database,
            services.links,
            staff,
            self._customer_id,
            limit=PART_ROWS,
            cursor=self._cursor,
        )
        self._show(invoices=[draw.invoice_line(row) for row in page.items])
        self._show_page(page)

    async def _read_webhooks(self, staff: StaffActor) -> None:
        services = get_services()
        page = await list_received(
            services.database,
            services.links,
            staff,
            EventQuery(account_id=self._customer_id),
            limit=PART_ROWS,
            cursor=self._cursor,
        )
        self._show(webhooks=[webhook_line(event) for event in page.items])
        self._show_page(page)

    async def _read_access(self, staff: StaffActor) -> None:
        database, now = get_services().database, datetime.now(UTC)
        keys = await accounts.list_account_keys(database, staff, self._customer_id)
        page = await list_account_sessions(
            database, staff, self._customer_id, now=now, limit=PART_ROWS, cursor=self._cursor
        )
        self._show(
            service_keys=[draw.key_line(key, now) for key in keys.items],
            browsers=[draw.session_line(row, place) for place, row in enumerate(page.items)],
        )
        self._show_page(page)

    async def _read_audit(self, staff: StaffActor) -> None:
        page = await list_entries(
            get_services().database,
            staff,
            account_id=self._customer_id,
            limit=PART_ROWS,
            cursor=self._cursor,
        )
        self._show(entries=[entry_line(entry, staff.role) for entry in page.items])
        self._show_page(page)

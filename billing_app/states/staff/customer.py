"""One account: its header, and the part that is open."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import plotly.graph_objects as go
import reflex as rx
from reflex.event import EventSpec

from billing_app import routes
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.lists.paging import Page
from billing_app.billing.lists.sorting import By
from billing_app.billing.plans import service as plans
from billing_app.billing.plans.service import PlanQuery, PlanSort, PlanState, PlanView
from billing_app.billing.staff.access.browser_sessions import (
    SessionSort,
    SessionView,
    list_account_sessions,
)
from billing_app.billing.staff.access.portal_sessions import (
    PortalSessionSort,
    PortalSessionView,
    list_portal_sessions,
)
from billing_app.billing.staff.access.viewing import begin_view
from billing_app.billing.staff.audit.account_history import read_undone
from billing_app.billing.staff.audit.audit_reading import (
    EntryQuery,
    EntrySort,
    EntryView,
    list_entries,
    read_subjects,
)
from billing_app.billing.staff.customers import account as accounts
from billing_app.billing.staff.customers.account import (
    AccountKey,
    InvoiceRow,
    KeySort,
    Person,
    PersonSort,
    SubscriptionRow,
    SubscriptionSort,
)
from billing_app.billing.staff.customers.denials import list_denials
from billing_app.billing.staff.customers.reservations import (
    ReservationQuery,
    ReservationSort,
    ReservationView,
)
from billing_app.billing.staff.operations.provider_events import (
    EventQuery,
    EventSort,
    ReceivedEvent,
    list_received,
)
from billing_app.billing.staff.repairs.refunds import read_refunded
from billing_app.billing.subscriptions.invoices import InvoiceQuery, InvoiceSort
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import (
    DailyRow,
    Days,
    EventFilter,
    EventView,
    GroupBy,
    LedgerSort,
)
from billing_app.components.charts.executions import executions_per_day, label_of
from billing_app.composition import get_services
from billing_app.db.enums import (
    EventKind,
    InvoiceStatus,
    PlanSource,
    ReservationStatus,
    Role,
    WebhookState,
)
from billing_app.states.session import SessionState, go_afresh
from billing_app.states.staff import customer_views as draw
from billing_app.states.staff.audit_entries import entry_line
from billing_app.states.staff.customer_header import CustomerHeaderMixin
from billing_app.states.staff.listing import Listing, Place, Table, filter_key
from billing_app.states.staff.operations import IGNORED, webhook_line
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.repairs import VIEW, RepairMixin
from billing_app.states.staff.undo import UndoMixin
from billing_app.states.staff.views import (
    CustomerHead,
    DenialLine,
    EntryLine,
    HoldLine,
    InvoiceLine,
    KeyLine,
    LedgerLine,
    PersonLine,
    PlanLine,
    PortalLine,
    SessionLine,
    SubscriptionLine,
    WebhookLine,
)
from billing_app.states.usage_views import refunded_by_day, series_keys, used_table
from billing_app.states.views import FilterOption, SeriesKey

CHART_DAYS: Final = 30
SUMMARY, LEDGER, HOLDS = "summary", "ledger", "holds"
MONEY, WEBHOOKS, PEOPLE, AUDIT = "billing", "webhooks", "access", "audit"
PLANS, SUBSCRIPTIONS, INVOICES, MEMBERS, KEYS, SESSIONS, PORTAL = (
    "plans",
    "subscriptions",
    "invoices",
    "members",
    "keys",
    "sessions",
    "portal_sessions",
)
STATE, SOURCE, KIND, WORKFLOW, USER = "state", "source", "kind", "workflow", "user"
TYPE, REVOKED, LIVE, ACTION, ROLE = "type", "revoked", "live", "action", "role"
NAMED_PREFIX: Final = "="
PARTS: Final = (SUMMARY, LEDGER, HOLDS, MONEY, WEBHOOKS, PEOPLE, AUDIT)


class StaffCustomerState(
    CustomerHeaderMixin, RepairMixin, UndoMixin, Listing, StaffPage, SessionState
):
    """Reads the header always, and the part that is open."""

    refresh_polls = 3
    tables: ClassVar[dict[str, Table]] = {
        PLANS: Table(
            By(PlanSort.QUEUE, descending=True), frozenset({PlanSort.NAME, PlanSort.STATE})
        ),
        LEDGER: Table(By(LedgerSort.AT, descending=True)),
        HOLDS: Table(By(ReservationSort.STATUS, descending=True)),
        SUBSCRIPTIONS: Table(
            By(SubscriptionSort.BEGAN, descending=True), frozenset({SubscriptionSort.STATUS})
        ),
        INVOICES: Table(
            By(InvoiceSort.ISSUED, descending=True),
            frozenset({InvoiceSort.NUMBER, InvoiceSort.STATUS}),
        ),
        WEBHOOKS: Table(By(EventSort.RECEIVED, descending=True), frozenset({EventSort.TYPE})),
        MEMBERS: Table(
            By(PersonSort.NAME), frozenset({PersonSort.ID, PersonSort.NAME, PersonSort.EMAIL})
        ),
        KEYS: Table(By(KeySort.MADE, descending=True), frozenset({KeySort.NAME})),
        SESSIONS: Table(By(SessionSort.SINCE, descending=True), frozenset({SessionSort.PERSON})),
        PORTAL: Table(
            By(PortalSessionSort.SINCE, descending=True), frozenset({PortalSessionSort.PERSON})
        ),
        AUDIT: Table(By(EntrySort.AT, descending=True), frozenset({EntrySort.ACTION})),
    }

    is_missing: rx.Field[bool] = rx.field(False)
    part: rx.Field[str] = rx.field(SUMMARY)
    plans: rx.Field[list[PlanLine]] = rx.field(default_factory=list)
    figure: rx.Field[go.Figure] = rx.field(default_factory=go.Figure)
    keys: rx.Field[list[SeriesKey]] = rx.field(default_factory=list)
    denials: rx.Field[list[DenialLine]] = rx.field(default_factory=list)
    events: rx.Field[list[LedgerLine]] = rx.field(default_factory=list)
    holds: rx.Field[list[HoldLine]] = rx.field(default_factory=list)
    subscriptions: rx.Field[list[SubscriptionLine]] = rx.field(default_factory=list)
    invoices: rx.Field[list[InvoiceLine]] = rx.field(default_factory=list)
    webhooks: rx.Field[list[WebhookLine]] = rx.field(default_factory=list)
    people: rx.Field[list[PersonLine]] = rx.field(default_factory=list)
    service_keys: rx.Field[list[KeyLine]] = rx.field(default_factory=list)
    browsers: rx.Field[list[SessionLine]] = rx.field(default_factory=list)
    portal: rx.Field[list[PortalLine]] = rx.field(default_factory=list)
    entries: rx.Field[list[EntryLine]] = rx.field(default_factory=list)
    _drawn: list[DailyRow] | None = None
    _ledger_place: Place | None = None

    @rx.event
    async def choose_part(self, part: str) -> EventSpec | None:
        """Open another tab."""
        self._show(part=part if part in PARTS else SUMMARY)
        self._start_over()
        return await self._refresh()

    @rx.event
    async def view_as_customer(self, form: dict[str, str]) -> EventSpec | None:
        """View the account's pages as its holder."""
        if self.dialog != VIEW:
            return None
        reason = str(form.get("reason", ""))
        account_id, token = self._customer_id, self._token()

        async def work(staff: StaffActor, now: datetime) -> datetime:
            return await begin_view(
                get_services().database, staff, token, account_id, reason=reason, now=now
            )

        if await self._ask(work) is None:
            return None
        self._put_away()
        return go_afresh(routes.DASHBOARD)

    def _open(self) -> None:
        """The account that the URL names."""
        account_id = unquote(self.router.url.path.rstrip("/").rpartition("/")[2])[:64]
        if account_id != self._customer_id:
            self._customer_id = account_id
            self._drawn = None
            self._show(
                head=CustomerHead(), disputes=[], part=SUMMARY, is_ready=False, is_missing=False
            )
            self._start_over()
            self._show(filters={}, places={})
        self._put_away()

    async def _read(self, staff: StaffActor) -> None:
        try:
            await self._read_head(staff)
        except AccountNotFoundError:
            self._show(is_missing=True)
            return
        self._show(is_missing=False)
        await self._read_part(staff)

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

        async def read(**page: Any) -> Page[PlanView]:
            where = PlanQuery(
                self._word(PLANS, STATE, PlanState), self._word(PLANS, SOURCE, PlanSource)
            )
            return await plans.read_history(
                database, staff, self._customer_id, where, now=now, **page
            )

        plan_views = await self._list(PLANS, read)
        self._show(plans=[draw.plan_line(plan) for plan in plan_views])
        days = Days(now.date() - timedelta(days=CHART_DAYS - 1), now.date())
        rows = await usage.read_daily(
            database, staff, self._customer_id, days=days, group_by=GroupBy.WORKFLOW
        )
        self._show(
            workflows=[
                FilterOption(name, label_of(name)) for name in sorted({row.group for row in rows})
            ]
        )
        if rows != self._drawn:
            self._drawn = rows
            table = used_table(rows, days.first, days.last)
            self.figure = executions_per_day(table, refunded_by_day(rows, days.first, days.last))
            self._show(keys=series_keys(table))
        denied = await list_denials(database, staff, self._customer_id, days)
        self._show(denials=[draw.denial_line(row, place) for place, row in enumerate(denied)])

    async def _read_ledger(self, staff: StaffActor) -> None:
        async def read(**page: Any) -> Page[EventView]:
            days = self._days(LEDGER)
            where = EventFilter(
                kind=self._word(LEDGER, KIND, EventKind),
                workflow=self._workflow(LEDGER),
                user_id=self._text(LEDGER, USER),
                first=days.first if days else None,
                last=days.last if days else None,
            )
            return await usage.list_events(
                get_services().database, staff, self._customer_id, where=where, **page
            )

        before = self._ledger_place
        events = await self._list(LEDGER, read)
        self._ledger_place = self.places[LEDGER]
        # What comes into view because the reader looks elsewhere did not just happen.
        shown = self.events if self._ledger_place == before else []
        numbers = [event.number for event in events]
        refunded = await read_refunded(get_services().database, staff, self._customer_id, numbers)
        self._show(events=draw.ledger_lines(events, refunded, shown, staff))

    async def _read_holds(self, staff: StaffActor) -> None:
        async def read(**page: Any) -> Page[ReservationView]:
            where = ReservationQuery(
                status=self._word(HOLDS, STATE, ReservationStatus),
                workflow=self._workflow(HOLDS),
                user_id=self._text(HOLDS, USER),
                days=self._days(HOLDS),
            )
            return await accounts.list_reservations(
                get_services().database,
                staff,
                self._customer_id,
                where,
                now=datetime.now(UTC),
                **page,
            )

        reservations = await self._list(HOLDS, read)
        self._show(holds=[draw.hold_line(hold) for hold in reservations])

    async def _read_money(self, staff: StaffActor) -> None:
        services = get_services()
        of_account = (services.database, services.links, staff, self._customer_id)

        async def read(**page: Any) -> Page[InvoiceRow]:
            where = InvoiceQuery(self._word(INVOICES, STATE, InvoiceStatus), self._days(INVOICES))
            return await accounts.list_account_invoices(*of_account, where, **page)

        async def read_subscriptions(by: By[SubscriptionSort], **_: Any) -> Page[SubscriptionRow]:
            return Page(await accounts.list_subscriptions(*of_account, by=by), None)

        subscriptions = await self._list(SUBSCRIPTIONS, read_subscriptions)
        invoices = await self._list(INVOICES, read)
        self._show(
            subscriptions=[draw.subscription_line(row) for row in subscriptions],
            invoices=[draw.invoice_line(row) for row in invoices],
        )

    async def _read_webhooks(self, staff: StaffActor) -> None:
        services = get_services()

        async def read(**page: Any) -> Page[ReceivedEvent]:
            where = EventQuery(
                state=self._word(WEBHOOKS, STATE, WebhookState),
                ignored=self._text(WEBHOOKS, STATE) == IGNORED,
                type=self._text(WEBHOOKS, TYPE),
                account_id=self._customer_id,
                days=self._days(WEBHOOKS),
            )
            return await list_received(services.database, services.links, staff, where, **page)

        events = await self._list(WEBHOOKS, read)
        self._show(webhooks=[webhook_line(event, {}) for event in events])

    async def _read_access(self, staff: StaffActor) -> None:
        now = datetime.now(UTC)
        of_account = (get_services().database, staff, self._customer_id)

        async def read(**page: Any) -> Page[SessionView]:
            live = self._yes(SESSIONS, LIVE)
            return await list_account_sessions(*of_account, now=now, live=live, **page)

        async def read_portal(**page: Any) -> Page[PortalSessionView]:
            live = self._yes(PORTAL, LIVE)
            return await list_portal_sessions(*of_account, now=now, live=live, **page)

        async def read_keys(**page: Any) -> Page[AccountKey]:
            revoked = self._yes(KEYS, REVOKED)
            return await accounts.list_account_keys(*of_account, revoked=revoked, **page)

        async def read_people(**page: Any) -> Page[Person]:
            role = self._word(MEMBERS, ROLE, Role)
            return await accounts.list_people(*of_account, role=role, **page)

        people = await self._list(MEMBERS, read_people)
        keys, browsers = await self._list(KEYS, read_keys), await self._list(SESSIONS, read)
        portal = await self._list(PORTAL, read_portal)
        self._show(
            people=[draw.person_line(person) for person in people],
            service_keys=[draw.key_line(key, now) for key in keys],
            browsers=[draw.session_line(row, place) for place, row in enumerate(browsers)],
            portal=[draw.portal_line(row, place) for place, row in enumerate(portal)],
        )

    async def _read_audit(self, staff: StaffActor) -> None:
        async def read(**page: Any) -> Page[EntryView]:
            where = EntryQuery(
                action=self._text(AUDIT, ACTION),
                account_id=self._customer_id,
                days=self._days(AUDIT),
            )
            return await list_entries(get_services().database, staff, where, **page)

        entries = await self._list(AUDIT, read)
        undone = await read_undone(get_services().database, staff, entries)
        names = await read_subjects(get_services().database, staff, entries)
        self._show(entries=[entry_line(entry, staff, undone, names) for entry in entries])

    def _workflow(self, table: str) -> str | None:
        """Its name after NAMED_PREFIX; an empty one stands for events without a workflow."""
        chosen = self.filters.get(filter_key(table, WORKFLOW), "")
        return chosen.removeprefix(NAMED_PREFIX) if chosen.startswith(NAMED_PREFIX) else None

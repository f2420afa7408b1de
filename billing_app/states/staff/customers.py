"""The list of customers: searched, filtered and sorted by the service."""

from datetime import UTC, datetime

import reflex as rx

from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.paging import Page
from billing_app.billing.staff.customers import CustomerRow, search_customers
from billing_app.billing.staff.search import CustomerFilter, PlanFilter, Sort
from billing_app.composition import get_services
from billing_app.db.words import AccountKind
from billing_app.states import words
from billing_app.states.balance import WARNING_PERCENT
from billing_app.states.session import SessionState
from billing_app.states.staff.listing import ROWS, Listing
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.views import CustomerLine

KIND, PLAN, STATE = "kind", "plan", "state"
PAST_DUE, BLOCKED = "past_due", "blocked"
STATUSES = {
    "trialing": "Trial of an offer",
    "active": "Active",
    "past_due": "Past due",
    "unpaid": "Unpaid",
    "incomplete": "Incomplete",
    "paused": "Paused",
}


class StaffCustomersState(Listing, StaffPage, SessionState):
    """Rows of the page of the list that is shown."""

    refresh_seconds = 15.0
    sorts = ("", Sort.NEWEST.value, Sort.OLDEST.value)

    rows: rx.Field[list[CustomerLine]] = rx.field(default_factory=list)
    problem: rx.Field[str] = rx.field("")

    async def _read(self, staff: StaffActor) -> None:
        now = datetime.now(UTC)
        try:
            page = await search_customers(
                get_services().database,
                staff,
                self._where(),
                now=now,
                limit=ROWS,
                cursor=self._cursor,
            )
        except InvalidInputError as error:
            page = Page[CustomerRow]([], None)
            self._show(problem=error.detail)
        else:
            self._show(problem="")
        self._show(rows=[customer_line(row) for row in page.items])
        self._show_page(page)

    def _where(self) -> CustomerFilter:
        kind, plan = self.filters.get(KIND, ""), self.filters.get(PLAN, "")
        state = self.filters.get(STATE, "")
        return CustomerFilter(
            query=self.search,
            kind=AccountKind(kind) if kind in set(AccountKind) else None,
            plan=PlanFilter(plan) if plan in set(PlanFilter) else None,
            past_due=True if state == PAST_DUE else None,
            blocked=True if state == BLOCKED else None,
            sort=Sort(self.sort) if self.sort in set(Sort) else None,
        )


def customer_line(row: CustomerRow) -> CustomerLine:
    """An account as a list shows it."""
    status, tone = customer_status(row)
    taken = row.executions_used + row.executions_held
    percent = 100 * taken / row.executions if row.executions else 0.0
    return CustomerLine(
        account_id=row.account_id,
        name=row.name or row.user_id or row.organization_id,
        email=row.email,
        kind="Trial account" if row.kind is AccountKind.USER else "Organization",
        plan=row.plan_name or "",
        remaining=words.number(row.executions_remaining) if row.plan_name else "",
        used_percent=round(percent, 1),
        meter_tone=_meter_tone(percent),
        status=status,
        tone=tone,
        since=words.day(row.created_at),
    )


def customer_status(row: CustomerRow) -> tuple[str, str]:
    """The one thing to know first, and its tone."""
    if row.blocked_at is not None:
        return "Blocked", "bad"
    if row.past_due_since is not None:
        return "Past due", "bad"
    if row.plan_name is None:
        return "No plan", "warning"
    if row.subscription_status is not None:
        return STATUSES.get(row.subscription_status, "Subscription"), "good"
    return ("Trial", "accent") if row.plan_type == "trial" else ("Paid", "good")


def _meter_tone(percent: float) -> str:
    if percent >= 100:
        return "spent"
    return "warning" if percent >= WARNING_PERCENT else ""

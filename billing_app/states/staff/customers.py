"""The list of customers: searched, filtered and sorted by the service."""

from datetime import UTC, datetime
from typing import Any, ClassVar

import reflex as rx

from billing_app.billing.actors import StaffActor
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.customers.customers import (
    CustomerPage,
    CustomerRow,
    search_customers,
)
from billing_app.billing.staff.customers.search import (
    CustomerFilter,
    CustomerSort,
    PlanFilter,
    Sort,
    sort_of,
)
from billing_app.billing.subscriptions.account_summary import LOW_PERCENT
from billing_app.composition import get_services
from billing_app.db.enums import AccountKind, EndReason
from billing_app.states import formatting
from billing_app.states.balance import percent_of
from billing_app.states.session import SessionState
from billing_app.states.staff.listing import Listing, Place, Table
from billing_app.states.staff.page import StaffPage
from billing_app.states.staff.views import CustomerLine

CUSTOMERS = "customers"
QUERY, KIND, PLAN, STATE = "query", "kind", "plan", "state"
PAST_DUE, BLOCKED = "past_due", "blocked"
KINDS = {AccountKind.USER: "Personal account", AccountKind.ORGANIZATION: "Organization"}
STATUSES = {
    "trialing": "On trial",
    "active": "Active",
    "past_due": "Past due",
    "unpaid": "Unpaid",
    "incomplete": "Incomplete",
    "paused": "Paused",
}


class StaffCustomersState(Listing, StaffPage, SessionState):
    """The rows of the open page."""

    refresh_polls = 10
    tables: ClassVar[dict[str, Table]] = {
        CUSTOMERS: Table(By(CustomerSort.MADE, descending=True), frozenset({CustomerSort.WORD}))
    }

    rows: rx.Field[list[CustomerLine]] = rx.field(default_factory=list)

    _is_searching: bool = False

    async def _read(self, staff: StaffActor) -> None:
        self._choose_order()

        async def read(by: By[CustomerSort], **page: Any) -> CustomerPage:
            return await search_customers(
                get_services().database,
                staff,
                self._where(sort_of(by)),
                now=datetime.now(UTC),
                seconds=get_services().settings.search_seconds,
                **page,
            )

        customers = await self._list(CUSTOMERS, read)
        self._show(rows=[customer_line(row) for row in customers])

    def _choose_order(self) -> None:
        """By word while searching, else by age, unless the reader chose an order."""
        is_searching = self._text(CUSTOMERS, QUERY) is not None
        if is_searching is not self._is_searching:
            self._is_searching = is_searching
            order = Place(CustomerSort.WORD.value)
            usual = Place(CustomerSort.MADE.value, descending=True)
            self._put(CUSTOMERS, order if is_searching else usual)

    def _where(self, sort: Sort) -> CustomerFilter:
        query, state = self._text(CUSTOMERS, QUERY) or "", self._text(CUSTOMERS, STATE)
        return CustomerFilter(
            query=query,
            kind=self._word(CUSTOMERS, KIND, AccountKind),
            plan=self._word(CUSTOMERS, PLAN, PlanFilter),
            past_due=True if state == PAST_DUE else None,
            blocked=True if state == BLOCKED else None,
            days=self._days(CUSTOMERS),
            sort=sort,
        )


def customer_line(row: CustomerRow) -> CustomerLine:
    """An account as a list shows it."""
    status, tone = customer_status(row)
    taken = row.executions_used + row.executions_held
    percent = 100 * taken / row.executions if row.executions else 0.0
    last = row.last_plan
    has_ended = last is not None and last.ended_because is not None
    is_counted = row.plan_name is not None or has_ended
    left = formatting.number(row.executions_remaining)
    total = formatting.number(last.executions if last and has_ended else row.executions)
    return CustomerLine(
        account_id=row.account_id,
        name=row.name or row.user_id or row.organization_id,
        email=row.email,
        kind=KINDS[row.kind],
        plan=row.plan_name or (last.name if last else ""),
        remaining=left if is_counted else "",
        executions=total if is_counted else "",
        remaining_text=f"{left} of {total} left" if is_counted else "",
        left_percent=percent_of(row.executions_remaining, row.executions),
        meter_tone="spent" if has_ended else _meter_tone(percent),
        status=status,
        tone=tone,
        since=formatting.day(row.created_at),
    )


def customer_status(row: CustomerRow) -> tuple[str, str]:
    """The status to show, and its tone."""
    if row.blocked_at is not None:
        return "Blocked", "bad"
    if row.past_due_since is not None:
        return "Past due", "bad"
    if row.disputed_since is not None:
        return "Disputed", "bad"
    if row.plan_name is None:
        return _status_without_plan(row)
    if row.subscription_status is not None:
        return STATUSES.get(row.subscription_status, "Subscription"), "good"
    return ("Trial", "accent") if row.plan_type == "trial" else ("Paid", "good")


def _status_without_plan(row: CustomerRow) -> tuple[str, str]:
    """Why no plan can be used."""
    last = row.last_plan
    if last is None:
        return "No plan", "warning"
    if row.goes_beyond:
        return "On overage", "warning"
    if last.ended_because is None:
        return "Paused" if last.is_paused else "Suspended", "warning"
    return ("Used up", "bad") if last.ended_because is EndReason.DEPLETED else ("Ended", "warning")


def _meter_tone(percent: float) -> str:
    if percent >= 100:
        return "spent"
    return "warning" if percent >= LOW_PERCENT else ""

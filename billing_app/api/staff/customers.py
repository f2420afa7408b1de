"""Customers for staff over HTTP: search, and the parts of an account's page."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from billing_app.api.parameters import NO_CONTROL, Limit
from billing_app.api.routing import JsonRoute
from billing_app.api.staff.callers import ADMIN_PREFIX, PROBLEMS, ReasonBody, StaffCall
from billing_app.api.staff.page_params import (
    Cursor,
    DaysNow,
    PageParams,
    Text,
    page_body,
    sorted_by,
)
from billing_app.api.usage import DayParameter, days_of
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.billing.lists.sorting import By, Order
from billing_app.billing.plans import service as plans
from billing_app.billing.plans.service import CurrentPlan, PlanQuery, PlanSort, PlanState
from billing_app.billing.staff.access import browser_sessions, portal_sessions
from billing_app.billing.staff.access.browser_sessions import SessionSort
from billing_app.billing.staff.access.portal_sessions import PortalSessionSort
from billing_app.billing.staff.audit import audit_reading
from billing_app.billing.staff.audit.audit_reading import EntryQuery, EntrySort
from billing_app.billing.staff.customers import account, customers
from billing_app.billing.staff.customers.account import (
    AccountIdentity,
    KeySort,
    PersonSort,
    SubscriptionSort,
)
from billing_app.billing.staff.customers.disputes import Dispute
from billing_app.billing.staff.customers.reservations import ReservationQuery, ReservationSort
from billing_app.billing.staff.customers.search import (
    MAX_QUERY_LENGTH,
    MAX_WORDS,
    CustomerFilter,
    CustomerSort,
    PlanFilter,
    sort_of,
)
from billing_app.billing.staff.operations import provider_events
from billing_app.billing.staff.operations.provider_events import EventQuery, EventSort
from billing_app.billing.subscriptions.invoices import InvoiceQuery, InvoiceSort
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import EventFilter, GroupBy, LedgerSort
from billing_app.db.enums import (
    AccountKind,
    EventKind,
    InvoiceStatus,
    PlanSource,
    ReservationStatus,
    Role,
    WebhookState,
)

router = APIRouter(
    route_class=JsonRoute,
    prefix=f"{ADMIN_PREFIX}/customers",
    tags=["staff: customers"],
    responses=PROBLEMS,
)


class SignOut(ReasonBody):
    user_id: Annotated[str, Field(min_length=1, max_length=255, pattern=NO_CONTROL)]


class EndPortalSessions(ReasonBody):
    person_id: Annotated[str, Field(min_length=1, max_length=255, pattern=NO_CONTROL)]


@router.get("")
async def search(
    call: StaffCall,
    days: DaysNow,
    query: Annotated[
        str,
        Query(
            description=f"At most {MAX_WORDS} words",
            json_schema_extra={"maxLength": MAX_QUERY_LENGTH},
        ),
    ] = "",
    kind: AccountKind | None = None,
    plan: PlanFilter | None = None,
    past_due: bool | None = None,
    blocked: bool | None = None,
    sort: CustomerSort | None = None,
    order: Order | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Search by the start of any word of a name, email address, organization, Stripe or account id.

    A page may be short and still have a cursor to continue with; `examined` counts the accounts
    searched. Sorted by the matching word when there is a query, else newest first.
    """
    falls = order is Order.DESCENDING or (order is None and sort is not CustomerSort.WORD)
    where = CustomerFilter(
        query=query,
        kind=kind,
        plan=plan,
        past_due=past_due,
        blocked=blocked,
        days=days,
        sort=sort_of(By(sort, falls)) if sort else None,
    )
    page = await customers.search_customers(
        call.database, call.actor, where, now=call.now, limit=limit, cursor=cursor
    )
    return page_body(page) | {"examined": page.examined}


@router.get("/{account_id}")
async def identity(account_id: str, call: StaffCall) -> AccountIdentity:
    """The account's holder and what it holds."""
    return await account.read_identity(
        call.database, call.services.links, call.actor, account_id, call.now
    )


@router.get("/{account_id}/disputes")
async def list_disputes(account_id: str, call: StaffCall) -> list[Dispute]:
    """Open disputes, oldest first."""
    return await call.services.disputes.read(call.actor, account_id, call.now)


@router.get("/{account_id}/balance")
async def balance(account_id: str, call: StaffCall) -> CurrentPlan:
    """The current plan, the account's totals and its queue."""
    return await plans.read_current(call.database, call.actor, account_id, call.now)


@router.get("/{account_id}/plans")
async def list_plans(
    account_id: str,
    call: StaffCall,
    page: Annotated[PageParams[PlanSort], sorted_by(PlanSort.QUEUE)],
    state: PlanState | None = None,
    source: PlanSource | None = None,
) -> dict[str, Any]:
    """All plans, newest first by default."""
    return page_body(
        await plans.read_history(
            call.database, call.actor, account_id, PlanQuery(state, source), now=call.now, **page
        )
    )


@router.get("/{account_id}/usage")
async def daily_usage(
    account_id: str,
    call: StaffCall,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
    group_by: GroupBy = GroupBy.DAY,
) -> dict[str, Any]:
    """Daily usage, the last 30 days by default."""
    days = days_of(first, last, call.now.date())
    rows = await usage.read_daily(
        call.database, call.actor, account_id, days=days, group_by=group_by
    )
    return {"items": rows}


@router.get("/{account_id}/events")
async def ledger(
    account_id: str,
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[LedgerSort], sorted_by(LedgerSort.AT)],
    kind: EventKind | None = None,
    workflow: Text = None,
    user_id: Text = None,
) -> dict[str, Any]:
    """Execution events, newest first by default."""
    first, last = (days.first, days.last) if days else (None, None)
    where = EventFilter(kind, workflow, user_id, first, last)
    return page_body(
        await usage.list_events(call.database, call.actor, account_id, where=where, **page)
    )


@router.get("/{account_id}/reservations")
async def reservations(
    account_id: str,
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[ReservationSort], sorted_by(ReservationSort.STATUS)],
    status: ReservationStatus | None = None,
    workflow: Text = None,
    user_id: Text = None,
) -> dict[str, Any]:
    """Reservations, by default held ones first, then newest first."""
    return page_body(
        await account.list_reservations(
            call.database,
            call.actor,
            account_id,
            ReservationQuery(status=status, workflow=workflow, user_id=user_id, days=days),
            now=call.now,
            **page,
        )
    )


@router.get("/{account_id}/subscriptions")
async def subscriptions(
    account_id: str,
    call: StaffCall,
    sort: SubscriptionSort = SubscriptionSort.BEGAN,
    order: Order = Order.DESCENDING,
) -> dict[str, Any]:
    """Live and ended subscriptions, each with a link to Stripe."""
    rows = await account.list_subscriptions(
        call.database, call.services.links, call.actor, account_id, by=By.of(sort, order)
    )
    return {"items": rows}


@router.get("/{account_id}/invoices")
async def invoices(
    account_id: str,
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[InvoiceSort], sorted_by(InvoiceSort.ISSUED)],
    status: InvoiceStatus | None = None,
) -> dict[str, Any]:
    """Invoices, newest first by default, each with a link to Stripe."""
    return page_body(
        await account.list_account_invoices(
            call.database,
            call.services.links,
            call.actor,
            account_id,
            InvoiceQuery(status, days),
            **page,
        )
    )


@router.get("/{account_id}/webhooks")
async def received(
    account_id: str,
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[EventSort], sorted_by(EventSort.RECEIVED)],
    state: WebhookState | None = None,
    event_type: Annotated[Text, Query(alias="type")] = None,
) -> dict[str, Any]:
    """Webhook events about the account's customer, newest first by default."""
    where = EventQuery(state=state, type=event_type, account_id=account_id, days=days)
    return page_body(
        await provider_events.list_received(
            call.database, call.services.links, call.actor, where, **page
        )
    )


@router.get("/{account_id}/keys")
async def keys(
    account_id: str,
    call: StaffCall,
    page: Annotated[PageParams[KeySort], sorted_by(KeySort.MADE)],
    revoked: bool | None = None,
) -> dict[str, Any]:
    """Service keys of the account's organization, newest first by default."""
    return page_body(
        await account.list_account_keys(
            call.database, call.actor, account_id, revoked=revoked, **page
        )
    )


@router.get("/{account_id}/people")
async def people(
    account_id: str,
    call: StaffCall,
    page: Annotated[PageParams[PersonSort], sorted_by(PersonSort.ID, Order.ASCENDING)],
    role: Role | None = None,
) -> dict[str, Any]:
    """The members who can sign in for the account."""
    return page_body(
        await account.list_people(call.database, call.actor, account_id, role=role, **page)
    )


@router.get("/{account_id}/sessions")
async def list_sessions(
    account_id: str,
    call: StaffCall,
    page: Annotated[PageParams[SessionSort], sorted_by(SessionSort.SINCE)],
    live: bool | None = None,
) -> dict[str, Any]:
    """Browser sessions of the account's members, newest first by default."""
    return page_body(
        await browser_sessions.list_account_sessions(
            call.database, call.actor, account_id, now=call.now, live=live, **page
        )
    )


@router.post("/{account_id}/sign-out")
async def sign_out(account_id: str, body: SignOut, call: StaffCall) -> dict[str, int]:
    """End every session of one of the account's members."""
    ended = await browser_sessions.sign_out_person(
        call.database,
        call.actor,
        account_id,
        user_id=body.user_id,
        reason=body.reason,
        now=call.now,
    )
    return {"sessions_ended": ended}


@router.get("/{account_id}/portal-sessions")
async def list_portal_sessions(
    account_id: str,
    call: StaffCall,
    page: Annotated[PageParams[PortalSessionSort], sorted_by(PortalSessionSort.SINCE)],
    live: bool | None = None,
) -> dict[str, Any]:
    """Sessions that portal links opened for the account, newest first by default."""
    return page_body(
        await portal_sessions.list_portal_sessions(
            call.database, call.actor, account_id, now=call.now, live=live, **page
        )
    )


@router.post("/{account_id}/portal-sessions/end")
async def end_portal_sessions(
    account_id: str, body: EndPortalSessions, call: StaffCall
) -> dict[str, int]:
    """End every portal session of a person for the account."""
    ended = await portal_sessions.end_portal_sessions(
        call.database,
        call.actor,
        account_id,
        person_id=body.person_id,
        reason=body.reason,
        now=call.now,
    )
    return {"sessions_ended": ended}


@router.get("/{account_id}/audit")
async def audit(
    account_id: str,
    call: StaffCall,
    days: DaysNow,
    page: Annotated[PageParams[EntrySort], sorted_by(EntrySort.AT)],
    who: Annotated[Text, Query(alias="actor")] = None,
    action: Text = None,
) -> dict[str, Any]:
    """Staff actions on the account, newest first by default."""
    where = EntryQuery(actor_id=who, action=action, account_id=account_id, days=days)
    return page_body(await audit_reading.list_entries(call.database, call.actor, where, **page))

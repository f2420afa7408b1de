"""Customers in staff's list: a row for each account, with what it holds now."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import Actor
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page, check_limit
from billing_app.billing.plans.usable import queue_order
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.customers.search import (
    IS_USABLE,
    CustomerFilter,
    Found,
    find_accounts,
)
from billing_app.db.engine import Database
from billing_app.db.enums import (
    AccountKind,
    EndReason,
    InvoiceStatus,
    PlanSource,
    PlanType,
    SubscriptionStatus,
)


@dataclass(frozen=True, slots=True)
class LastPlan:
    """The last plan of an account without a usable one. `ended_because` None: it has not ended, but
    is paused or suspended."""

    name: str
    executions: int
    is_paused: bool
    ended_because: EndReason | None


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """An account in a list. `name` is the person's or the organization's, "" for a user that a
    service named.

    The figures count the plans that are usable now, without overage. `plan_name` and `plan_type`
    are of the plan that is used next; None: no plan is usable, and `last_plan` is the last one,
    None when none has started. `goes_beyond`: overage may be used. `disputed_since`: a bank took
    back a plan's payment, and has not decided yet.
    """

    account_id: str
    kind: AccountKind
    name: str
    email: str
    organization_id: str
    user_id: str | None
    customer_id: str | None
    plan_name: str | None
    plan_type: PlanType | None
    executions: int
    executions_used: int
    executions_held: int
    goes_beyond: bool
    last_plan: LastPlan | None
    subscription_status: SubscriptionStatus | None
    past_due_since: datetime | None
    disputed_since: datetime | None
    blocked_at: datetime | None
    created_at: datetime

    @property
    def executions_remaining(self) -> int:
        return self.executions - self.executions_used - self.executions_held


SEARCH_SECONDS: Final = 1.0
IS_BOUGHT: Final = f"plan.source <> '{PlanSource.OVERAGE}'"
HAS_ENDED: Final = "(plan.ended_at IS NOT NULL OR coalesce(plan.ends_at <= :now, false))"
QUEUE_ORDER: Final = queue_order("plan")
# Accounts and plans are read by statements of their own: on a cluster they are on other nodes.
ROWS: Final = """
SELECT account.id, account.kind, account.organization_id, account.user_id, account.blocked_at,
       account.created_at, customer.customer_id,
       CASE account.kind WHEN 'user' THEN holder.name ELSE firm.name END AS name,
       coalesce(holder.email, '') AS email, owed.status, owed.past_due_since
FROM accounts AS account
JOIN organizations AS firm ON firm.id = account.organization_id
LEFT JOIN users AS holder ON holder.id = account.user_id
LEFT JOIN provider_customers AS customer ON customer.account_id = account.id
LEFT JOIN LATERAL (
    SELECT status, past_due_since FROM subscriptions AS subscription
    WHERE subscription.account_id = account.id AND subscription.ended_at IS NULL
    ORDER BY number DESC LIMIT 1
) AS owed ON true
WHERE account.id = ANY(:ids)
"""
HELD: Final = f"""
SELECT plan.account_id,
       coalesce(sum(plan.executions) FILTER (WHERE {IS_BOUGHT}), 0)::bigint AS executions,
       coalesce(sum(plan.used) FILTER (WHERE {IS_BOUGHT}), 0)::bigint AS used,
       coalesce(sum(plan.held) FILTER (WHERE {IS_BOUGHT}), 0)::bigint AS held,
       (array_agg(plan.name ORDER BY {QUEUE_ORDER}) FILTER (WHERE {IS_BOUGHT}))[1] AS plan_name,
       (array_agg(plan.type ORDER BY {QUEUE_ORDER}) FILTER (WHERE {IS_BOUGHT}))[1] AS plan_type,
       coalesce(bool_or(plan.executions > plan.used + plan.held)
           FILTER (WHERE NOT {IS_BOUGHT}), false) AS goes_beyond
FROM plans AS plan
WHERE plan.account_id = ANY(:ids) AND {IS_USABLE}
GROUP BY plan.account_id
"""  # noqa: S608
LAST: Final = f"""
SELECT DISTINCT ON (plan.account_id) plan.account_id, plan.name, plan.executions,
       plan.paused_at IS NOT NULL AS is_paused,
       CASE WHEN plan.ended_at IS NULL AND plan.ends_at <= :now THEN '{EndReason.PERIOD_ENDED}'
           ELSE plan.ended_because END AS ended_because
FROM plans AS plan
WHERE plan.account_id = ANY(:ids) AND {IS_BOUGHT} AND plan.starts_at <= :now
    AND (plan.source <> '{PlanSource.BRIDGE}' OR plan.began_at IS NOT NULL)
ORDER BY plan.account_id, {HAS_ENDED},
         CASE WHEN {HAS_ENDED} THEN coalesce(plan.ended_at, plan.ends_at) END DESC,
         CASE WHEN {HAS_ENDED} THEN plan.sequence END DESC, {QUEUE_ORDER}
"""  # noqa: S608
SUSPENDED: Final = """
SELECT plan.account_id, plan.source_reference, plan.suspended_at FROM plans AS plan
WHERE plan.account_id = ANY(:ids) AND plan.suspended_at <= :now
    AND plan.source_reference IS NOT NULL
"""
PAID: Final = f"""
SELECT account_id, provider_id FROM invoices
WHERE account_id = ANY(:ids) AND provider_id = ANY(:references)
    AND status = '{InvoiceStatus.PAID}'
"""  # noqa: S608
MAX_REFERENCE: Final = 255
REFERRED: Final = """
SELECT account_id FROM subscriptions WHERE provider_id = :reference
UNION
SELECT account_id FROM invoices WHERE provider_id = :reference OR number = upper(:reference)
UNION
SELECT customer.account_id FROM webhook_events AS event
JOIN provider_customers AS customer ON customer.customer_id = event.customer_id
WHERE event.id = :reference AND event.customer_id <> ''
ORDER BY account_id LIMIT 20
"""
NAMES: Final = """
SELECT account.id,
       CASE account.kind WHEN 'user'
           THEN coalesce(nullif(holder.name, ''), holder.email, account.user_id)
           ELSE coalesce(nullif(firm.name, ''), firm.id) END AS name
FROM accounts AS account
JOIN organizations AS firm ON firm.id = account.organization_id
LEFT JOIN users AS holder ON holder.id = account.user_id
WHERE account.id = ANY(:ids)
"""


@dataclass(frozen=True, slots=True)
class CustomerPage(Page[CustomerRow]):
    """`examined`: accounts that were searched without filling the page; 0 when it is full, or when
    there are no more."""

    examined: int


async def search_customers(
    database: Database,
    actor: Actor,
    where: CustomerFilter,
    *,
    now: datetime,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
    seconds: float | None = None,
) -> CustomerPage:
    """Accounts in the order of `where`.

    It searches until the page is full, or for `seconds` (SEARCH_SECONDS): then the page is short,
    and its cursor continues the search. Raises ForbiddenError, InvalidInputError.
    """
    require(actor, Action.READ)
    check_limit(limit)
    async with database.reading() as session:
        named = await _named(session, where.query.strip()) if cursor is None else []
        if named:
            return CustomerPage(await read_customers(session, named, now), None, 0)
        until = time.monotonic() + (SEARCH_SECONDS if seconds is None else seconds)
        matches = await _search(session, where, now=now, limit=limit, cursor=cursor, until=until)
        rows = await read_customers(session, matches.account_ids, now)
    return CustomerPage(rows, matches.next_cursor, matches.examined)


async def _named(session: AsyncSession, reference: str) -> list[int]:
    """Accounts of a subscription, an invoice or an event, here or at the provider, by its id or
    number; none for other queries."""
    if not reference or " " in reference or len(reference) > MAX_REFERENCE or "\0" in reference:
        return []
    for prefix in (ids.EVENT, ids.PLAN, ids.RESERVATION):
        pair = ids.decode(prefix, reference)
        if pair is not None:
            return [pair[0]]
    connection = await session.connection()
    result = await connection.execute(text(REFERRED), {"reference": reference})
    return [row.account_id for row in result.all()]


async def _search(
    session: AsyncSession,
    where: CustomerFilter,
    *,
    now: datetime,
    limit: int,
    cursor: str | None,
    until: float,
) -> Found:
    """As many steps of the search as there is time for, at least one."""
    account_ids: list[int] = []
    examined = 0
    while True:
        left = limit - len(account_ids)
        step = await find_accounts(session, where, now=now, limit=left, cursor=cursor)
        account_ids += step.account_ids
        examined, cursor = examined + step.examined, step.next_cursor
        if cursor is None or not step.examined or len(account_ids) == limit:
            return Found(account_ids, cursor, 0)
        if time.monotonic() >= until:
            return Found(account_ids, cursor, examined)


async def read_customers(
    session: AsyncSession, account_ids: list[int], now: datetime
) -> list[CustomerRow]:
    """A row for each of the accounts that exists, in their order."""
    values = {"ids": account_ids, "now": now}
    accounts = {row.id: row for row in await _all(session, ROWS, values)}
    held = {row.account_id: row for row in await _all(session, HELD, values)}
    without = [each for each in accounts if each not in held or held[each].plan_name is None]
    last = {row.account_id: row for row in await _last(session, without, now)}
    disputed = await _disputed(session, values)
    return [
        _row(accounts[each], held.get(each), last.get(each), disputed.get(each))
        for each in account_ids
        if each in accounts
    ]


async def _last(session: AsyncSession, account_ids: list[int], now: datetime) -> list[Any]:
    return await _all(session, LAST, {"ids": account_ids, "now": now}) if account_ids else []


async def _disputed(session: AsyncSession, values: dict[str, Any]) -> dict[int, datetime]:
    """Since when the first plan of an account is suspended whose invoice is paid."""
    suspended = await _all(session, SUSPENDED, values)
    if not suspended:
        return {}
    references = [row.source_reference for row in suspended]
    paid = await _all(session, PAID, values | {"references": references})
    found = {(row.account_id, row.provider_id) for row in paid}
    since: dict[int, datetime] = {}
    for account_id, reference, at in suspended:
        if (account_id, reference) in found:
            since[account_id] = min(at, since.get(account_id, at))
    return since


async def _all(session: AsyncSession, statement: str, values: dict[str, Any]) -> list[Any]:
    connection = await session.connection()
    return list((await connection.execute(text(statement), values)).all())


async def read_names(
    database: Database, actor: Actor, account_ids: Iterable[str | None]
) -> dict[str, str]:
    """Names by account id: the organization's or the person's, else their address, else the id that
    a service gave. None and unknown ids are left out. Raises ForbiddenError."""
    require(actor, Action.READ)
    decoded = {ids.decode_account(account_id) for account_id in account_ids if account_id}
    numbers = [number for number in decoded if number is not None]
    if not numbers:
        return {}
    async with database.reading() as session:
        connection = await session.connection()
        result = await connection.execute(text(NAMES), {"ids": numbers})
        return {ids.encode_account(row.id): row.name for row in result.all()}


def _row(row: Any, held: Any, last: Any, disputed_since: datetime | None) -> CustomerRow:
    """`held` and `last` None: no plan is usable, no plan has started."""
    return CustomerRow(
        account_id=ids.encode_account(row.id),
        kind=AccountKind(row.kind),
        name=row.name,
        email=row.email,
        organization_id=row.organization_id,
        user_id=row.user_id,
        customer_id=row.customer_id,
        plan_name=held and held.plan_name,
        plan_type=PlanType(held.plan_type) if held and held.plan_type else None,
        executions=held.executions if held else 0,
        executions_used=held.used if held else 0,
        executions_held=held.held if held else 0,
        goes_beyond=held is not None and held.goes_beyond,
        last_plan=_last_plan(last),
        subscription_status=SubscriptionStatus(row.status) if row.status else None,
        past_due_since=row.past_due_since,
        disputed_since=disputed_since,
        blocked_at=row.blocked_at,
        created_at=row.created_at,
    )


def _last_plan(row: Any) -> LastPlan | None:
    if row is None:
        return None
    because = EndReason(row.ended_because) if row.ended_because else None
    return LastPlan(row.name, row.executions, row.is_paused, because)

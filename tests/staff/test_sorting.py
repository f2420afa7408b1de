"""Every list of the staff in every order: all pages together have each row once, in order."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import httpx
import pytest

from billing_app.billing import ids, plans, usage
from billing_app.billing.actors import StaffActor
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.paging import Page, encode_cursor
from billing_app.billing.sorting import By
from billing_app.billing.staff import (
    account,
    audit_log,
    customers,
    events,
    jobs,
    members,
    metrics,
    offers,
    reconciliations,
    reservations,
    search,
    sessions,
)
from billing_app.billing.staff.permissions import RANKS, Action
from billing_app.billing.subscriptions import invoices
from billing_app.billing.usage import Days
from billing_app.composition import Services, build_services
from billing_app.db.words import (
    AccountKind,
    EventKind,
    Interval,
    InvoiceStatus,
    PlanSource,
    ReservationStatus,
    Role,
    StaffRole,
    WebhookState,
)
from billing_app.jobs.staff import DbosJobs
from billing_app.jobs.webhooks import client
from billing_app.settings import Settings
from tests.api.server import ApiServer
from tests.conftest import create_database
from tests.factories import organization, staff_key
from tests.staff.rows import Rows, account_names, add_jobs, fill, names

SUPPORT = StaffActor("usr_support", "Sam", StaffRole.SUPPORT)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAYS = Days(date(2026, 3, 2), date(2026, 3, 3))
LIMITS = (1, 3, 7, 200)


@dataclass
class Desk:
    """The services on a full database."""

    services: Services
    rows: Rows
    jobs: DbosJobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.services, name)

    @property
    def account_id(self) -> str:
        return self.rows.holder.account_id

    @property
    def of_account(self) -> str:
        return f"WHERE account_id = {self.rows.account}"


Read = Callable[..., Awaitable[Page[Any]]]


@dataclass
class List:
    """`name` is what a row is told by, `wanted` has all names; `value` is what a row has to be
    sorted by. `filters`: what is passed on, and which rows then stay."""

    sorts: type[StrEnum]
    read: Callable[[Desk], Read]
    name: Callable[[Any], Any]
    wanted: Callable[[Desk], set[str]]
    value: Callable[[Any, Any], Any]
    filters: tuple[tuple[dict[str, Any], Callable[[Any], bool]], ...] = ()


def field(**by: str) -> Callable[[Any, Any], Any]:
    """The value of a sort is that of a field of the row, the sort's own name unless told."""

    def value(row: Any, sort: StrEnum) -> Any:
        for part in by.get(sort.value, sort.value).split("."):
            row = getattr(row, part)
        return row

    return value


def of(call: Any, *more: Callable[[Desk], Any], **fixed: Any) -> Callable[[Desk], Read]:
    """Calls a service as support, with what the desk gives."""

    def bind(desk: Desk) -> Read:
        args = [each(desk) for each in more]
        return lambda **page: call(desk.database, *args, **fixed, **page)

    return bind


ACCOUNT = (lambda _: SUPPORT, lambda desk: desk.account_id)
LINKED = (lambda desk: desk.links, *ACCOUNT)


def _within(moment: datetime) -> bool:
    return DAYS.first <= moment.date() <= DAYS.last


def ids_of(kind: str, query: str) -> Callable[[Desk], set[str]]:
    def wanted(desk: Desk) -> set[str]:
        found = names(desk.rows.url, f"{query} {desk.of_account}")
        return {ids.encode(kind, desk.rows.account, int(number)) for number in found}

    return wanted


LISTS: dict[str, List] = {
    "audit": List(
        audit_log.EntrySort,
        of(audit_log.list_entries, lambda _: SUPPORT),
        lambda row: row.id,
        lambda desk: {
            audit_log.encode_entry(int(number))
            for number in names(desk.rows.url, "SELECT id FROM audit_entries")
        },
        field(),
        (
            ({"where": audit_log.EntryQuery(days=DAYS)}, lambda row: _within(row.at)),
            (
                {"where": audit_log.EntryQuery("usr_a", Action.GRANT, days=DAYS)},
                lambda row: (
                    row.actor_id == "usr_a" and row.action == Action.GRANT and _within(row.at)
                ),
            ),
        ),
    ),
    "webhooks": List(
        events.EventSort,
        of(events.list_received, lambda desk: desk.links, lambda _: SUPPORT),
        lambda row: row.id,
        lambda desk: names(desk.rows.url, "SELECT id FROM webhook_events"),
        field(received="received_at"),
        (
            ({"where": events.EventQuery(days=DAYS)}, lambda row: _within(row.received_at)),
            (
                {"where": events.EventQuery(state=WebhookState.DEAD)},
                lambda row: row.state is WebhookState.DEAD,
            ),
            (
                {"where": events.EventQuery(type="invoice.", state=WebhookState.FAILED)},
                lambda row: row.type.startswith("invoice.") and row.state is WebhookState.FAILED,
            ),
            ({"where": events.EventQuery(type="invoice.paid")}, lambda r: r.type == "invoice.paid"),
        ),
    ),
    "reconciliations": List(
        reconciliations.ReconciliationSort,
        of(reconciliations.list_reconciliations, lambda _: SUPPORT),
        lambda row: row.began_at.hour,
        lambda desk: names(
            desk.rows.url, "SELECT extract(hour FROM began_at)::int FROM reconciliations"
        ),
        field(began="began_at"),
        (
            (
                {"dry_run": True, "differs": True},
                lambda row: row.dry_run and row.differences > 0,
            ),
            ({"differs": False}, lambda row: row.differences == 0),
        ),
    ),
    "differences": List(
        reconciliations.DifferenceSort,
        of(reconciliations.list_differences, lambda _: SUPPORT),
        lambda row: row.provider_id,
        lambda _: {f"in_{n}" for n in range(13)},
        lambda row, sort: (
            int(row.provider_id.removeprefix("in_"))
            if sort is reconciliations.DifferenceSort.FOUND
            else field(account="account_id")(row, sort)
        ),
        (
            (
                {"where": reconciliations.DifferenceQuery(healed=True, what="invoice")},
                lambda row: row.healed and row.what == "invoice",
            ),
        ),
    ),
    "jobs": List(
        jobs.JobSort,
        lambda desk: lambda **page: jobs.list_jobs(desk.jobs, SUPPORT, **page),
        lambda row: row.id,
        lambda _: {f"job {n:02}" for n in range(19)},
        field(created="created_at"),
        (
            (
                {"where": jobs.JobQuery(jobs.JobState.FAILED, "sync", DAYS)},
                lambda row: row.state is jobs.JobState.FAILED and _within(row.created_at),
            ),
            ({"where": jobs.JobQuery(name="other")}, lambda _: False),
        ),
    ),
    "sessions": List(
        sessions.SessionSort,
        of(sessions.list_account_sessions, *ACCOUNT, now=NOW),
        lambda row: (row.user_id, row.created_at, row.expires_at),
        lambda _: set(),
        field(since="created_at", ends="expires_at", person="name"),
        (
            ({"live": True}, lambda row: row.is_live),
            ({"live": False}, lambda row: not row.is_live),
        ),
    ),
    "people": List(
        account.PersonSort,
        of(account.list_people, *ACCOUNT),
        lambda row: row.user_id,
        lambda _: {f"usr_{n:02}" for n in range(11)},
        field(id="user_id"),
        (({"role": Role.OWNER}, lambda row: row.role is Role.OWNER),),
    ),
    "members": List(
        members.MemberSort,
        of(members.search_members, lambda _: SUPPORT),
        lambda row: row.user_id,
        lambda _: {f"usr_{n:02}" for n in range(11)},
        lambda row, sort: (
            RANKS[row.role]
            if sort is members.MemberSort.ROLE
            else field(since="added_at")(row, sort)
        ),
        (
            ({"role": StaffRole.ADMIN}, lambda row: row.role is StaffRole.ADMIN),
            ({"query": " AMB"}, lambda row: row.name == "amber"),
            ({"query": "p1@"}, lambda row: row.email == "p1@example.com"),
            ({"query": "%"}, lambda _: False),
        ),
    ),
    "keys": List(
        account.KeySort,
        of(account.list_account_keys, *ACCOUNT),
        lambda row: row.id,
        lambda desk: names(desk.rows.url, "SELECT id FROM api_keys"),
        field(made="id"),
        (
            ({"revoked": True}, lambda row: row.revoked_at is not None),
            ({"revoked": False}, lambda row: row.revoked_at is None),
        ),
    ),
    "reservations": List(
        reservations.ReservationSort,
        of(account.list_reservations, *ACCOUNT, now=NOW),
        lambda row: row.id,
        ids_of(ids.RESERVATION, "SELECT number FROM reservations"),
        lambda row, sort: (
            (row.status is ReservationStatus.HELD, row.created_at)
            if sort is reservations.ReservationSort.STATUS
            else row.created_at
        ),
        (
            (
                {"where": reservations.ReservationQuery(status=ReservationStatus.EXPIRED)},
                lambda row: row.status is ReservationStatus.EXPIRED,
            ),
            (
                {"where": reservations.ReservationQuery(None, "index", "usr_a", DAYS)},
                lambda row: (
                    row.workflow == "index" and row.user_id == "usr_a" and _within(row.created_at)
                ),
            ),
        ),
    ),
    "invoices": List(
        invoices.InvoiceSort,
        of(account.list_account_invoices, *LINKED),
        lambda row: row.invoice.id,
        lambda desk: names(
            desk.rows.url, "SELECT provider_id FROM invoices WHERE status <> 'draft'"
        ),
        field(
            issued="invoice.issued_at",
            number="invoice.number",
            amount="invoice.amount_due_minor",
            status="invoice.status",
        ),
        (
            (
                {"where": invoices.InvoiceQuery(InvoiceStatus.PAID, DAYS)},
                lambda row: (
                    row.invoice.status is InvoiceStatus.PAID and _within(row.invoice.issued_at)
                ),
            ),
        ),
    ),
    "ledger": List(
        usage.LedgerSort,
        of(usage.list_events, *ACCOUNT),
        lambda row: row.id,
        ids_of(ids.EVENT, "SELECT number FROM execution_events"),
        field(at="number"),
        (
            (
                {"where": usage.EventFilter(EventKind.COMMIT, "", None, DAYS)},
                lambda row: (
                    row.kind is EventKind.COMMIT and row.workflow == "" and _within(row.occurred_at)
                ),
            ),
        ),
    ),
    "plans": List(
        plans.PlanSort,
        of(plans.read_history, *ACCOUNT, now=NOW),
        lambda row: row.id,
        ids_of(ids.PLAN, "SELECT sequence FROM plans"),
        field(queue="sequence", begins="begins_at"),
        (
            (
                {"where": plans.PlanQuery(plans.PlanState.ENDED, PlanSource.CONTRACT)},
                lambda row: (
                    row.state is plans.PlanState.ENDED and row.source is PlanSource.CONTRACT
                ),
            ),
        ),
    ),
    "offers": List(
        offers.OfferSort,
        of(offers.list_staff_offers, lambda _: SUPPORT, now=NOW),
        lambda row: row.code,
        lambda _: {f"offer-{n}" for n in range(9)},
        field(
            name="draft.fields.terms.name",
            price="draft.fields.terms.price_minor",
            executions="draft.fields.terms.executions",
        ),
        (
            (
                {"where": offers.OfferQuery("", offers.OfferState.PUBLISHED, Interval.YEAR)},
                lambda row: (
                    row.state is offers.OfferState.PUBLISHED
                    and row.draft.fields.terms.interval is Interval.YEAR
                ),
            ),
            ({"where": offers.OfferQuery("FER-3")}, lambda row: row.code == "offer-3"),
        ),
    ),
    "versions": List(
        offers.VersionSort,
        of(offers.list_versions, lambda _: SUPPORT, lambda _: "offer-1", now=NOW),
        lambda row: row.version,
        lambda _: {str(number) for number in range(1, 10)},
        field(price="terms.price_minor", executions="terms.executions", published="published_at"),
        (
            ({"held": True}, lambda row: row.accounts > 0),
            ({"held": False}, lambda row: not row.accounts),
        ),
    ),
    "holders": List(
        offers.HolderSort,
        of(
            offers.list_accounts_on,
            lambda _: SUPPORT,
            lambda _: "offer-1",
            lambda _: 1,
            now=NOW,
        ),
        lambda row: row.account_id,
        lambda desk: account_names(
            desk.rows.url,
            "SELECT account_id FROM plans WHERE offer_version_id IS NOT NULL UNION"
            " SELECT account_id FROM subscriptions WHERE ended_at IS NULL",
        ),
        field(account="account_id"),
        (
            (
                {"where": offers.HolderQuery(AccountKind.ORGANIZATION, past_due=True)},
                lambda row: row.past_due_since is not None,
            ),
            (
                {"where": offers.HolderQuery(past_due=False)},
                lambda row: row.past_due_since is None,
            ),
            ({"where": offers.HolderQuery(AccountKind.USER)}, lambda _: False),
        ),
    ),
    "near limit": List(
        metrics.NearSort,
        of(metrics.list_near_limit, lambda _: SUPPORT, now=NOW),
        lambda row: row.account_id,
        lambda desk: account_names(desk.rows.url, "SELECT account_id FROM accounts_near_limit"),
        lambda *_: 0,
    ),
}


@pytest.fixture(scope="module")
async def desk(settings: Settings, server_url: str, database_template: str) -> AsyncIterator[Desk]:
    url = create_database(server_url, "sorting", database_template)
    rows, asking = fill(url), client(url)
    asking._sys_db.run_migrations()
    add_jobs(rows)
    services = build_services(settings, url)
    yield Desk(services, rows, DbosJobs(asking, services.database))
    await services.close()


async def pages(read: Read, limit: int, **more: Any) -> list[Any]:
    items: list[Any] = []
    cursor = None
    for _ in range(1_000):
        page = await read(limit=limit, cursor=cursor, **more)
        assert len(page.items) <= limit
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items
        assert page.items
    raise AssertionError("the pages do not end")


CASES = [
    pytest.param(LISTS[name], sort, id=f"{name}-{sort}")
    for name in LISTS
    for sort in LISTS[name].sorts
]


@pytest.mark.parametrize(("of_list", "sort"), CASES)
async def test_each_row_once_in_order(desk: Desk, of_list: List, sort: StrEnum) -> None:
    read, wanted = of_list.read(desk), of_list.wanted(desk)
    orders: list[list[Any]] = []
    for descending in (False, True):
        by = By(sort, descending)
        whole = await pages(read, 200, by=by)
        found = [of_list.name(row) for row in whole]
        assert len(found) > 6
        if wanted:
            assert {str(name) for name in found} == wanted
            assert len(found) == len(wanted)
        values = [of_list.value(row, sort) for row in whole]
        assert values == sorted(values, reverse=descending)
        for limit in LIMITS:
            assert [of_list.name(row) for row in await pages(read, limit, by=by)] == found
        orders.append(found)
    assert orders[0] == orders[1][::-1]


@pytest.mark.parametrize("of_list", [pytest.param(LISTS[name], id=name) for name in LISTS])
async def test_filters_with_every_order(desk: Desk, of_list: List) -> None:
    read = of_list.read(desk)
    for sort, descending in itertools.product(of_list.sorts, (False, True)):
        by = By(sort, descending)
        whole = await pages(read, 200, by=by)
        for filters, stays in of_list.filters:
            left = [of_list.name(row) for row in whole if stays(row)]
            assert len(left) < len(whole)
            found = await pages(read, 2, by=by, **filters)
            assert [of_list.name(row) for row in found] == left, (filters, by)


@pytest.mark.parametrize("of_list", [pytest.param(LISTS[name], id=name) for name in LISTS])
async def test_cursors_that_no_order_gave(desk: Desk, of_list: List) -> None:
    read, sorts = of_list.read(desk), list(of_list.sorts)
    page = await read(by=By(sorts[0], descending=True), limit=2)
    wrong = ["x", "é", encode_cursor([]), encode_cursor([sorts[0], True]), encode_cursor({})]
    wrong += [encode_cursor([sorts[0], True, value, value]) for value in (10**30, None, "\0", [])]
    for cursor in wrong:
        with pytest.raises(InvalidInputError):
            await read(by=By(sorts[0], descending=True), limit=2, cursor=cursor)
    others = [By(sort, descending=True) for sort in sorts[1:]]
    if of_list.sorts is not usage.LedgerSort:
        others.append(By(sorts[0]))
    for other in others:
        with pytest.raises(InvalidInputError):
            await read(by=other, limit=2, cursor=page.next_cursor)


async def test_subscriptions_of_an_account(desk: Desk) -> None:
    for sort, descending in itertools.product(account.SubscriptionSort, (False, True)):
        found = await account.list_subscriptions(
            desk.database, desk.links, SUPPORT, desk.account_id, by=By(sort, descending)
        )
        assert {row.provider_id for row in found} == {f"sub_own_{n}" for n in range(1, 8)}
        value = field(began="provider_id", period="period_end")
        values = [value(row, sort) for row in found]
        assert values == sorted(values, reverse=descending)


@pytest.mark.parametrize("query", ["", "acme", "amber"])
@pytest.mark.parametrize("days", [None, Days(date(2026, 1, 1), date(2026, 1, 2))])
async def test_customers(desk: Desk, query: str, days: Days | None) -> None:
    orders: dict[search.CustomerSort, list[list[str]]] = {}
    for sort, descending in itertools.product(search.CustomerSort, (False, True)):
        where = search.CustomerFilter(query, days=days, sort=search.sort_of(By(sort, descending)))

        async def read(where: search.CustomerFilter = where, **page: Any) -> Page[Any]:
            return await customers.search_customers(desk.database, SUPPORT, where, now=NOW, **page)

        whole = [row.account_id for row in await pages(read, 200)]
        assert [row.account_id for row in await pages(read, 3)] == whole
        assert (len(whole) == 0) is (days is not None)
        assert len(set(whole)) == len(whole)
        orders.setdefault(sort, []).append(whole)
    for rising, falling in orders.values():
        if query or not rising:
            assert rising == falling[::-1]


def test_over_http(staff_server: ApiServer, staff_url: str) -> None:
    """Each list under /billing/admin takes the orders that OpenAPI names, and no others."""
    headers = {"Authorization": f"Bearer {staff_key(staff_url, StaffRole.SUPPORT)}"}
    base = f"{staff_server.url}/billing/admin"
    document = httpx.get(f"{staff_server.url}/billing/openapi.json", timeout=30).json()
    holder, found = organization(staff_url, 5), 0
    names = {"account_id": holder.account_id, "code": "growth", "version": "1"}
    with httpx.Client(base_url=base, headers=headers, timeout=30) as http:
        for path, methods in document["paths"].items():
            sorts = sorts_of(document, methods.get("get", {}))
            if not path.startswith("/billing/admin") or not sorts:
                continue
            address = path.removeprefix("/billing/admin").format_map(names)
            found += 1
            for sort, order in itertools.product(sorts, ("asc", "desc")):
                answer = http.get(address, params={"sort": sort, "order": order})
                assert answer.status_code in (200, 404, 503), (address, answer.text)
            wrong = [("sort", "id; DROP TABLE users"), ("sort", "password_hash"), ("sort", "")]
            for name, value in (*wrong, ("order", "up"), ("order", "DESC"), ("cursor", "x")):
                if name == "cursor" and path.endswith("/subscriptions"):
                    continue
                answer = http.get(address, params={name: value})
                if answer.status_code != 404 or name != "cursor":
                    assert answer.status_code in (422, 503), (address, name, answer.text)
                    assert answer.headers["content-type"] == "application/problem+json"
        days = http.get("/audit", params={"from": "2026-02-30"})
        assert days.status_code == 422
        backwards = http.get("/webhooks", params={"from": "2026-03-02", "to": "2026-03-01"})
        assert backwards.status_code == 422
    assert found >= 19


def sorts_of(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """The words of an operation's parameter `sort`, as its schema names them."""
    for parameter in operation.get("parameters", []):
        if parameter["name"] == "sort":
            schema = parameter["schema"]
            schema = next(iter(schema.get("anyOf") or schema.get("allOf") or [schema]))
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            return schema.get("enum") or [schema["const"]]
    return []

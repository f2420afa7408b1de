"""Every list of the staff in every order: all pages together have each row once, in order."""

import itertools
from collections.abc import AsyncIterator
from datetime import date
from enum import StrEnum
from typing import Any

import httpx
import pytest

from billing_app.billing.errors import InvalidInputError
from billing_app.billing.lists.paging import Page, encode_cursor
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.customers import account, customers, search
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.service import Days
from billing_app.composition import build_services
from billing_app.db.enums import StaffRole
from billing_app.jobs.staff import DbosJobs
from billing_app.jobs.webhooks import client
from billing_app.settings import Settings
from tests.api.server import ApiServer
from tests.databases import create_database
from tests.factories import organization, staff_key
from tests.staff.list_cases import Desk, List, Read, field
from tests.staff.list_registry import LISTS, NOW, SUPPORT
from tests.staff.rows import add_jobs, fill

LIMITS = (1, 3, 7, 200)


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
async def test_forged_cursors_are_refused(desk: Desk, of_list: List) -> None:
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

"""What a list of the staff is to its tests: how its pages are read, its rows told and sorted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from billing_app.billing import ids
from billing_app.billing.lists.paging import Page
from billing_app.composition import Services
from billing_app.jobs.staff import DbosJobs
from tests.staff.rows import Rows, names


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


def ids_of(kind: str, query: str) -> Callable[[Desk], set[str]]:
    def wanted(desk: Desk) -> set[str]:
        found = names(desk.rows.url, f"{query} {desk.of_account}")
        return {ids.encode(kind, desk.rows.account, int(number)) for number in found}

    return wanted

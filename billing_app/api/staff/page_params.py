"""The parameters that every staff list takes besides its filters: days, order and page."""

from enum import StrEnum
from typing import Annotated, Any, Generic, TypedDict

from fastapi import Depends, Query

from billing_app.api.callers import Now
from billing_app.api.parameters import NEXT_CURSOR, NO_CONTROL, Limit
from billing_app.api.usage import DayParameter, days_of
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import By, Order, Sort
from billing_app.billing.usage.service import Days

Cursor = Annotated[str | None, Query(max_length=2_000, description=NEXT_CURSOR)]
Text = Annotated[str | None, Query(max_length=255, pattern=NO_CONTROL)]


async def _days(
    now: Now,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
) -> Days | None:
    """None without either; `to` alone means the 30 days before it, `from` alone all days since."""
    return None if first is None and last is None else days_of(first, last, now.date())


DaysNow = Annotated[Days | None, Depends(_days)]


class PageParams(TypedDict, Generic[Sort]):
    """The page and the order, as the lists of the billing service take them."""

    by: By[Sort]
    limit: int
    cursor: str | None


def sorted_by(usual: StrEnum, usual_order: Order = Order.DESCENDING) -> Any:
    """Reads PageParams from the query; `usual` is the default sort."""
    sorts = type(usual)

    async def read(
        sort: sorts = usual,  # pyright: ignore[reportInvalidTypeForm]
        order: Order = usual_order,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageParams[Any]:
        return {"by": By.of(sort, order), "limit": limit, "cursor": cursor}

    return Depends(read)


def page_body(page: Page[Any]) -> dict[str, Any]:
    return {"items": page.items, "next_cursor": page.next_cursor}

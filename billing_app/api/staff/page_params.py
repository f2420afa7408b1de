"""What every list of the staff takes over HTTP besides its filters: days, an order and a page."""

from enum import StrEnum
from typing import Annotated, Any, Generic, TypedDict

from fastapi import Depends, Query

from billing_app.api.callers import Now
from billing_app.api.parameters import NO_CONTROL, Limit
from billing_app.api.usage import DayParameter, days_of
from billing_app.billing.lists.paging import DEFAULT_LIMIT, Page
from billing_app.billing.lists.sorting import By, Order, Sort
from billing_app.billing.usage.service import Days

Cursor = Annotated[str | None, Query(max_length=2_000)]
Text = Annotated[str | None, Query(max_length=255, pattern=NO_CONTROL)]


async def _days(
    now: Now,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
) -> Days | None:
    """None when neither is told; one alone: 30 days that end with it, or all since then."""
    return days_of(first, last, now.date()) if first or last else None


DaysNow = Annotated[Days | None, Depends(_days)]


class PageParams(TypedDict, Generic[Sort]):
    """Which page of a list in which order, as the lists of the billing service take it."""

    by: By[Sort]
    limit: int
    cursor: str | None


def asked(usual: StrEnum, usual_order: Order = Order.DESCENDING) -> Any:
    """Reads PageParams from the query: sorted by `usual` unless another of its kind is given."""
    sorts = type(usual)

    async def read(
        sort: sorts = usual,  # pyright: ignore[reportInvalidTypeForm]
        order: Order = usual_order,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageParams[Any]:
        return {"by": By.of(sort, order), "limit": limit, "cursor": cursor}

    return Depends(read)


def listed(page: Page[Any]) -> dict[str, Any]:
    return {"items": page.items, "next_cursor": page.next_cursor}

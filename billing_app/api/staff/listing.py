"""What every list of the staff takes over HTTP besides its filters: days, a page and its cursor."""

from typing import Annotated, Any

from fastapi import Depends, Query

from billing_app.api.callers import Now
from billing_app.api.usage import DayParameter, days_of
from billing_app.billing.paging import Page
from billing_app.billing.usage import Days

Limit = Annotated[int, Query()]
Cursor = Annotated[str | None, Query(max_length=2_000)]
Text = Annotated[str | None, Query(max_length=255, pattern=r"^[^\x00-\x1f]*$")]


async def _days(
    now: Now,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
) -> Days | None:
    """None when neither is told; one alone: 30 days that end with it, or all since then."""
    return days_of(first, last, now.date()) if first or last else None


DaysNow = Annotated[Days | None, Depends(_days)]


def listed(page: Page[Any]) -> dict[str, Any]:
    return {"items": page.items, "next_cursor": page.next_cursor}

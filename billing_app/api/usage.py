"""Usage over HTTP: totals, events and the CSV export."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from billing_app.api.callers import (
    AccountNow,
    ActorNow,
    Now,
    OrganizationId,
    ServicesNow,
    UserId,
)
from billing_app.api.parameters import NO_CONTROL, Cursor, Limit
from billing_app.api.read_turns import turn
from billing_app.billing.errors import InvalidInputError
from billing_app.billing.lists.paging import DEFAULT_LIMIT
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.kept_days import days_kept_from
from billing_app.billing.usage.service import (
    MAX_DAYS,
    Days,
    EventFilter,
    EventView,
    GroupBy,
    UsageRow,
)
from billing_app.db.enums import EventKind

router = APIRouter(prefix="/billing/usage", tags=["usage"])

DEFAULT_DAYS: Final = 30
COLUMNS: Final = (
    "event_id",
    "occurred_at",
    "kind",
    "executions",
    "workflow",
    "user_id",
    "idempotency_key",
    "plan_ids",
    "remaining_after",
    "refers_to",
    "reason",
)
MAX_RANGE: Final = f"`from` must not be after `to`; a range has at most {MAX_DAYS:,} days"
DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# Years from 1971 to 8999.
PUBLISHED_DAY: Final = r"^(19(7[1-9]|[89][0-9])|[2-8][0-9]{3})-[0-9]{2}-[0-9]{2}$"
CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Success", "content": {"text/csv": {"schema": {"type": "string"}}}}
}
BYTE_ORDER_MARK: Final = "\ufeff"
# A spreadsheet may part columns at another character than ours, so what stands behind any of them
# may start a cell (owasp.org/www-community/attacks/CSV_Injection).
FORMULA_START: Final = re.compile(
    r"""(^|[,;|\t\r\n"])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r'])"""
)

DayParameter = Annotated[
    str | None,
    Query(
        max_length=10,
        description=f"UTC day, inclusive. {MAX_RANGE}",
        json_schema_extra={"format": "date", "pattern": PUBLISHED_DAY},
    ),
]
Label = Annotated[str | None, Query(max_length=255, pattern=NO_CONTROL)]


@router.get("", response_model=dict[str, Any])
async def read_usage(
    services: ServicesNow,
    actor: ActorNow,
    account_id: AccountNow,
    now: Now,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
    group_by: GroupBy = GroupBy.DAY,
) -> Response:
    """Executions by day, workflow or user; the last 30 days by default.

    Usage before the day `kept_from` is past its retention and may be missing; null: all is kept.
    """
    days = days_of(first, last, now.date())
    rows = await usage.read_usage(
        services.database, actor, account_id, days=days, group_by=group_by
    )
    kept_from = days_kept_from(now, services.settings.daily_retention_months)
    body = encode_usage(account_id, days, group_by, rows, kept_from)
    return Response(body, media_type="application/json")


def encode_usage(
    account_id: str, days: Days, group_by: GroupBy, rows: list[UsageRow], kept_from: date | None
) -> bytes:
    """The answer. FastAPI's own encoder takes 5 ms for a year of days."""
    items: list[dict[str, Any]] = []
    used = refunded = denied = 0
    for row in rows:
        used += row.used
        refunded += row.refunded
        denied += sum(row.denied.values()) if row.denied else 0
        items.append(
            {
                group_by.value: row.group,
                "used": row.used,
                "refunded": row.refunded,
                "net": row.net,
                "denied": row.denied,
            }
        )
    answer = {
        "account_id": account_id,
        "from": days.first,
        "to": days.last,
        "group_by": group_by,
        "items": items,
        "totals": {
            "used": used,
            "refunded": refunded,
            "net": used - refunded,
            "denied": denied,
        },
        "kept_from": kept_from,
    }
    return msgspec.json.encode(answer)


async def _event_filter(
    services: ServicesNow,
    kind: EventKind | None = None,
    workflow: Label = None,
    organization_id: OrganizationId = None,
    user_id: UserId = None,
    first: Annotated[DayParameter, Query(alias="from")] = None,
    last: Annotated[DayParameter, Query(alias="to")] = None,
) -> EventFilter:
    """Filters of the list and its export. Without a day, that end of the range is open."""
    is_public = organization_id == services.terms.public_organization_id
    since = None if first is None else _day(first, "from")
    until = None if last is None else _day(last, "to")
    if since and until:
        Days(since, until)  # raises for an invalid range
    return EventFilter(
        kind=kind,
        workflow=workflow,
        user_id=None if is_public else user_id,
        first=since,
        last=until,
    )


EventsNow = Annotated[EventFilter, Depends(_event_filter)]


@router.get("/events")
async def list_events(
    services: ServicesNow,
    actor: ActorNow,
    account_id: AccountNow,
    where: EventsNow,
    now: Now,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Execution events, newest first."""
    page = await usage.list_events(
        services.database, actor, account_id, where=where, limit=limit, cursor=cursor, now=now
    )
    return {"items": [_item(event) for event in page.items], "next_cursor": page.next_cursor}


class Separator(StrEnum):
    """What parts the columns of a CSV: Excel expects what its language settings say."""

    COMMA = "comma"
    SEMICOLON = "semicolon"
    TAB = "tab"


SEPARATORS: Final = {Separator.COMMA: ",", Separator.SEMICOLON: ";", Separator.TAB: "\t"}


@router.get("/export.csv", response_class=StreamingResponse, responses=CSV)
async def export(
    services: ServicesNow,
    actor: ActorNow,
    account_id: AccountNow,
    now: Now,
    where: EventsNow,
    separator: Annotated[Separator, Query(description="What parts the columns")] = Separator.COMMA,
    byte_order_mark: Annotated[
        bool, Query(description="Start with U+FEFF, by which Excel recognizes UTF-8")
    ] = False,
) -> StreamingResponse:
    """The same events as streamed CSV, newest first."""
    blocks = usage.export_events(services.database, actor, account_id, where)
    first_block = await anext(blocks)
    first = [str(where.first)] if where.first else []
    name = "-".join(["executions", *first, str(where.last or now.date())])
    return StreamingResponse(
        _csv(first_block, blocks, SEPARATORS[separator], has_mark=byte_order_mark),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def days_of(first: str | None, last: str | None, today: date) -> Days:
    """Raises InvalidInputError for anything but a day."""
    end = today if last is None else _day(last, "to")
    start = end - timedelta(days=DEFAULT_DAYS - 1) if first is None else _day(first, "from")
    return Days(start, end)


def _day(text: str, field: str) -> date:
    try:
        day = date.fromisoformat(text if DAY.fullmatch(text) else "")
    except ValueError:
        raise InvalidInputError(f"{field} must be a day like 2026-01-31.", field=field) from None
    if not 1970 < day.year < 9000:
        raise InvalidInputError(f"{field} is out of range.", field=field)
    return day


def _item(event: EventView) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "kind": event.kind,
        "executions": event.executions,
        "workflow": event.workflow or None,
        "user_id": event.user_id or None,
        "idempotency_key": event.idempotency_key or None,
        "plan_ids": event.plan_ids,
        "executions_remaining": event.remaining_after,
        "refers_to": event.refers_to,
        "reason": event.reason or None,
        "occurred_at": event.occurred_at,
    }


async def _csv(
    first_block: list[EventView],
    blocks: AsyncIterator[list[EventView]],
    separator: str,
    *,
    has_mark: bool,
) -> AsyncIterator[str]:
    yield (BYTE_ORDER_MARK if has_mark else "") + _lines([COLUMNS], separator)
    yield _lines([_row(event) for event in first_block], separator)
    while True:
        async with turn():
            block = await anext(blocks, None)
            lines = _lines([_row(event) for event in block or []], separator)
        if block is None:
            return
        yield lines


def _row(event: EventView) -> tuple[object, ...]:
    return (
        event.id,
        event.occurred_at.isoformat(),
        event.kind,
        event.executions,
        _as_text(event.workflow),
        _as_text(event.user_id),
        _as_text(event.idempotency_key),
        " ".join(event.plan_ids),
        event.remaining_after,
        event.refers_to or "",
        _as_text(event.reason),
    )


def _as_text(value: str) -> str:
    """An apostrophe keeps spreadsheets from evaluating text as a formula, wherever they part it."""
    return FORMULA_START.sub(r"\1'", value)


def _lines(rows: list[tuple[object, ...]] | list[tuple[str, ...]], separator: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator).writerows(rows)
    return buffer.getvalue()

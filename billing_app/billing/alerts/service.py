"""Alerts as people and services read them: an account's list, and a person's bell."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import col, select

from billing_app.billing import ids
from billing_app.billing.actors import Actor, UserActor
from billing_app.billing.alerts.access import authorize_alerts
from billing_app.billing.alerts.wording import headline, sentence
from billing_app.billing.lists.paging import (
    DEFAULT_LIMIT,
    Page,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from billing_app.db.engine import Database
from billing_app.db.enums import AlertChannel, AlertKind
from billing_app.db.tables import Alert, AlertDelivery

KEPT_DAYS: Final = 90
MAX_BELL: Final = 50
MAX_MARKED: Final = 1_000

MARK: Final = text(f"""
UPDATE alert_deliveries SET read_at = :now
WHERE user_id = :user AND channel = '{AlertChannel.APP}' AND read_at IS NULL
""")  # noqa: S608
MARK_SOME: Final = text(f"""
{MARK.text} AND (account_id, number) IN (
    SELECT * FROM unnest(CAST(:accounts AS bigint[]), CAST(:numbers AS bigint[])))
""")  # noqa: S608
UNREAD: Final = text(f"""
SELECT count(*) FROM alert_deliveries
WHERE user_id = :user AND channel = '{AlertChannel.APP}' AND read_at IS NULL
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class AlertView:
    """`rule` is the rule's key; `figures` by kind. `cleared_at`: the balance has risen above the
    threshold. `read_at`: by the person who asks; None for services."""

    id: str
    account_id: str
    kind: AlertKind
    rule: str
    headline: str
    detail: str
    figures: dict[str, Any]
    raised_at: datetime
    cleared_at: datetime | None
    read_at: datetime | None


async def list_alerts(
    database: Database,
    actor: Actor,
    account_id: str,
    *,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[AlertView]:
    """Newest first. Raises AccountNotFoundError, ScopeMissingError, InvalidInputError."""
    check_limit(limit)
    before = decode_cursor(cursor, int) if cursor is not None else ids.MAX_NUMBER
    async with database.reading() as session:
        account = await authorize_alerts(session, actor, account_id, reading=True)
        query = (
            select(Alert)
            .where(Alert.account_id == account.id, col(Alert.number) < before)
            .order_by(col(Alert.number).desc())
            .limit(limit + 1)
        )
        rows = list((await session.exec(query)).all())
        read: dict[int, datetime | None] = {}
        if isinstance(actor, UserActor) and rows:
            marks = (
                select(AlertDelivery.number, AlertDelivery.read_at)
                .where(AlertDelivery.account_id == account.id)
                .where(AlertDelivery.user_id == actor.user_id)
                .where(AlertDelivery.channel == AlertChannel.APP)
                .where(col(AlertDelivery.number).in_([row.number for row in rows]))
            )
            read.update((await session.exec(marks)).all())
    page = rows[:limit]
    following = encode_cursor(page[-1].number) if len(rows) > limit else None
    return Page([view_of(row, read.get(row.number)) for row in page], following)


async def list_bell(
    database: Database, actor: UserActor, *, limit: int = MAX_BELL
) -> list[AlertView]:
    """The person's newest alerts, of all of their accounts."""
    query = (
        select(AlertDelivery)
        .where(AlertDelivery.user_id == actor.user_id)
        .where(AlertDelivery.channel == AlertChannel.APP)
        .order_by(col(AlertDelivery.created_at).desc(), col(AlertDelivery.number).desc())
        .limit(min(limit, MAX_BELL))
    )
    async with database.reading() as session:
        deliveries = (await session.exec(query)).all()
        wanted = {(each.account_id, each.number): each for each in deliveries}
        of_accounts = (
            select(Alert)
            .where(col(Alert.account_id).in_({each.account_id for each in deliveries}))
            .where(col(Alert.number).in_({each.number for each in deliveries}))
        )
        rows = {(each.account_id, each.number): each for each in await session.exec(of_accounts)}
    return [view_of(rows[key], each.read_at) for key, each in wanted.items() if key in rows]


async def count_unread(database: Database, actor: UserActor) -> int:
    async with database.asking() as session:
        connection = await session.connection()
        return int(await connection.scalar(UNREAD, {"user": actor.user_id}) or 0)


async def mark_read(
    database: Database, actor: UserActor, now: datetime, alert_ids: list[str] | None = None
) -> None:
    """Mark the person's alerts as read; None: all of them. Others' are left alone."""
    values: dict[str, Any] = {"user": actor.user_id, "now": now}
    statement = MARK
    if alert_ids is not None:
        pairs = [pair for each in alert_ids[:MAX_MARKED] if (pair := ids.decode(ids.ALERT, each))]
        values |= {"accounts": [each[0] for each in pairs], "numbers": [each[1] for each in pairs]}
        statement = MARK_SOME
    async with database.transaction() as session:
        await (await session.connection()).execute(statement, values)


def view_of(row: Alert, read_at: datetime | None = None) -> AlertView:
    kind = AlertKind(row.kind)
    return AlertView(
        id=ids.encode(ids.ALERT, row.account_id, row.number),
        account_id=ids.encode_account(row.account_id),
        kind=kind,
        rule=row.rule,
        headline=headline(kind, row.figures),
        detail=sentence(kind, row.figures),
        figures=row.figures,
        raised_at=row.raised_at,
        cleared_at=row.cleared_at,
        read_at=read_at,
    )


def kept_since(now: datetime) -> datetime:
    return now - timedelta(days=KEPT_DAYS)

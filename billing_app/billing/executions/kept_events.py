"""Which events of an account are still kept: those of removed partitions live on as sums."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import EventRemovedError
from billing_app.billing.executions.driver import Connection, array
from billing_app.billing.executions.state import EPOCH, MICROSECOND
from billing_app.billing.executions.statements import Statements

KEPT_FROM: Final = text("SELECT max(before) FROM carried_forward WHERE account_id = :account")


async def kept_from(session: AsyncSession, account_number: int) -> datetime | None:
    """The account's events of before this moment were removed; None: none were."""
    connection = await session.connection()
    before = await connection.scalar(KEPT_FROM, {"account": account_number})
    return None if before is None else EPOCH + before * MICROSECOND


async def require_kept(session: AsyncSession, account_number: int, since: datetime) -> None:
    """Raises EventRemovedError when events of the account since then were removed."""
    first = await kept_from(session, account_number)
    if first is not None and since < first:
        raise EventRemovedError(kept_from=first)


async def kept_numbers(
    connection: Connection, sql: Statements, account_numbers: Iterable[int]
) -> dict[int, int]:
    """The lowest number of events that are kept, of those accounts of which any were removed."""
    numbers = sorted(account_numbers)
    rows = await connection.fetch(sql.kept_from, array(numbers), *sql.accounts(numbers))
    return {row[0]: row[1] for row in rows}

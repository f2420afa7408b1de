"""Whether anything about an account changed, as one cheap question.

The version is derived from PostgreSQL's own row versions (`xmin`), so no writer has to raise it
and none can forget to. It reads the account's few rows and none of its daily usage: whatever
writes that writes a plan in the same transaction, because a plan's `used` is the sum of its
events (invariant 2). A denial writes no plan, but denials are only ever added.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import TextClause, text

from billing_app.billing.accounts import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.db.engine import Database

# A row of a day that is over is still written within this time.
DAYS_WRITTEN: Final = timedelta(days=1)
BY_ROW_VERSION: Final = (
    "plans",
    "subscriptions",
    "invoices",
    "checkouts",
    "overage_limits",
    "top_ups",
)
BY_SUM: Final = "daily_denials"
WITH_PLANS: Final = "daily_usage"


def _row_versions(table: str, key: str = "account_id") -> str:
    """Two sums are equal only if the rows are: what was written since then has an `xmin` that no
    row had before."""
    summed = f"SELECT sum(hashtextextended(xmin::text, 0)) FROM {table} WHERE {key} = :account"  # noqa: S608
    return f"coalesce(({summed})::text, '-')"


def _statement() -> TextClause:
    denials = f"SELECT sum(denied) FROM {BY_SUM} WHERE account_id = :account AND day >= :since"  # noqa: S608
    parts = (
        "CAST(:since AS date)::text",
        *(_row_versions(table) for table in BY_ROW_VERSION),
        _row_versions("accounts", "id"),
        f"coalesce(({denials})::text, '-')",
    )
    return text(f"SELECT concat_ws(' ', {', '.join(parts)})")


VERSION: Final = _statement()


async def read_account_version(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> str:
    """Differs from an earlier one if plans, usage, denials, limits or payments of the account
    were written in between. What changes only with time (a reservation that expires) does not
    show.

    Raises AccountNotFoundError.
    """
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        values = {"account": account.id, "since": (now - DAYS_WRITTEN).date()}
        connection = await session.connection()
        return str((await connection.execute(VERSION, values)).scalar_one())

"""Whether anything about an account changed, as one cheap question.

The version is derived from PostgreSQL's own row versions (`xmin`), so no writer has to raise it
and none can forget to. It reads the account's few rows and none of its daily usage: whatever
writes that writes a plan in the same transaction, because a plan's `used` is the sum of its
events (invariant 2). A denial writes no plan, but denials are only ever added.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import TextClause, text

from billing_app.billing import ids
from billing_app.billing.accounts.service import may_read, require_reading
from billing_app.billing.actors import Actor, UserActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.db.engine import Database
from billing_app.db.enums import AlertChannel
from billing_app.db.tables import Account

# A row of a day that is over is still written within this time; clocks differ by less.
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
# Of the person who asks, in whichever account.
UNREAD: Final = f"""
    SELECT concat(count(*), ':', max(number)) FROM alert_deliveries
    WHERE user_id = :viewer AND channel = '{AlertChannel.APP}' AND read_at IS NULL"""  # noqa: S608


def _row_versions(table: str) -> str:
    """Two sums are equal only if the rows are: what was written since then has an `xmin` that no
    row had before."""
    summed = f"SELECT sum(hashtextextended(xmin::text, 0)) FROM {table} WHERE account_id = :account"  # noqa: S608
    return f"coalesce(({summed})::text, '-')"


def _statement() -> TextClause:
    """Who may see the account and its version, in one question. Days have two ends, or PostgreSQL
    would plan for many of them, each time anew."""
    denials = (
        f"SELECT sum(denied) FROM {BY_SUM} WHERE account_id = :account"  # noqa: S608
        " AND day BETWEEN :since AND :until"
    )
    parts = (
        "CAST(:since AS date)::text",
        "accounts.xmin::text",
        *(_row_versions(table) for table in BY_ROW_VERSION),
        f"coalesce(({denials})::text, '-')",
        f"({UNREAD})",
    )
    return text(f"""
        SELECT kind, organization_id, user_id, EXISTS (
            SELECT FROM memberships AS m
            WHERE m.organization_id = accounts.organization_id AND m.user_id = :viewer
        ), concat_ws(' ', {", ".join(parts)})
        FROM accounts WHERE id = :account""")  # noqa: S608


QUESTION: Final = _statement()


async def read_account_version(
    database: Database, actor: Actor, account_id: str, now: datetime
) -> str:
    """Differs from an earlier one if plans, usage, denials, limits or payments of the account
    were written in between, or the person has other unread alerts. What changes only with time (a
    reservation that expires) does not show.

    Raises AccountNotFoundError.
    """
    require_reading(actor)
    number = ids.decode_account(account_id)
    values = {
        "account": number,
        "viewer": actor.user_id if isinstance(actor, UserActor) else "",
        "since": (now - DAYS_WRITTEN).date(),
        "until": (now + DAYS_WRITTEN).date(),
    }
    async with database.asking() as session:
        connection = await session.connection()
        row = (await connection.execute(QUESTION, values)).one_or_none()
    if row is None:
        raise AccountNotFoundError
    kind, organization_id, user_id, is_member, version = row
    account = Account(
        id=number or 0,
        kind=kind,
        organization_id=organization_id,
        user_id=user_id,
        created_at=now,
    )
    if not may_read(actor, account, is_member=is_member):
        raise AccountNotFoundError
    return str(version)

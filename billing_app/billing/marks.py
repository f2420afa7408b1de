"""Whether anything about an account changed, as one cheap question.

The mark is made of PostgreSQL's own row versions (`xmin`), so that no writer has to keep it.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from billing_app.billing.accounts.service import authorize_reading
from billing_app.billing.actors import Actor
from billing_app.db.engine import Database

# What is written of a day once it is over comes within this.
LATELY: Final = timedelta(days=1)
OF_ACCOUNT: Final = (
    "plans",
    "subscriptions",
    "invoices",
    "checkouts",
    "overage_limits",
    "top_ups",
)
BY_DAY: Final = ("daily_usage", "daily_denials")


def _versions(table: str, where: str = "") -> str:
    found = f"SELECT md5(string_agg(xmin::text, ',' ORDER BY xmin::text)) FROM {table}"  # noqa: S608
    return f"coalesce(({found} WHERE account_id = :account{where}), '-')"


PARTS: Final = ", ".join(
    [
        *(_versions(table) for table in OF_ACCOUNT),
        *(_versions(table, " AND day >= :since") for table in BY_DAY),
        "(SELECT xmin::text FROM accounts WHERE id = :account)",
    ]
)
MARK: Final = f"SELECT concat_ws(' ', {PARTS})"


async def read_mark(database: Database, actor: Actor, account_id: str, now: datetime) -> str:
    """Differs from an earlier one when plans, use, refusals, limits or payments of the account
    were written meanwhile. What only time changes (a hold that ends) does not show.

    Raises AccountNotFoundError.
    """
    async with database.reading() as session:
        account = await authorize_reading(session, actor, account_id)
        values = {"account": account.id, "since": (now - LATELY).date()}
        connection = await session.connection()
        return str((await connection.execute(text(MARK), values)).scalar_one())

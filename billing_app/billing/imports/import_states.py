"""How far the import of an account is: rows beside the keys under which services add plans."""

from datetime import datetime
from typing import Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.db.tables import GrantedPlan

KEY_PREFIX: Final = "import:"
# What the row of a subscription has in the place of an answer; the key is its id.
BEGUN: Final = b"begun"
DONE: Final = b"done"


async def imported_at(session: AsyncSession, account_id: int) -> datetime | None:
    """When a subscription of the account was taken over; None: none was."""
    query = select(func.max(col(GrantedPlan.created_at))).where(
        GrantedPlan.account_id == account_id,
        col(GrantedPlan.key).startswith(KEY_PREFIX),
        col(GrantedPlan.answer).in_([BEGUN, DONE]),
    )
    return (await session.exec(query)).one()

"""Whether an account is a person's own: they hold it, or are a member of its organization."""

from typing import Final

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

IS_OWN: Final = """
SELECT 1 FROM accounts AS a WHERE a.id = {account} AND (
    a.user_id = {person} OR a.kind = 'organization' AND EXISTS (
        SELECT FROM memberships AS m
        WHERE m.organization_id = a.organization_id AND m.user_id = {person}))
"""
OWN: Final = text(IS_OWN.format(account=":account", person=":person"))


async def is_own(session: AsyncSession, account_id: int, person_id: str) -> bool:
    values = {"account": account_id, "person": person_id}
    return (await (await session.connection()).execute(OWN, values)).first() is not None

"""Sessions that portal links open: who came, for which account, until when."""

from datetime import datetime
from typing import Final

from sqlalchemy import update
from sqlmodel import col, select

from billing_app.billing.actors import PortalActor
from billing_app.billing.identity.sessions import hash_token
from billing_app.db.engine import Database
from billing_app.db.enums import Role
from billing_app.db.tables import PortalSession

# Tells their cookies from those of people who signed in here.
PORTAL: Final = "ptl_"


def is_portal_token(token: str) -> bool:
    return token.startswith(PORTAL)


async def authenticate_portal(database: Database, token: str, now: datetime) -> PortalActor | None:
    """The person of a live session, or None."""
    query = select(PortalSession).where(
        PortalSession.token_hash == hash_token(token),
        col(PortalSession.revoked_at).is_(None),
        col(PortalSession.expires_at) > now,
    )
    async with database.asking() as session:
        row = (await session.exec(query)).first()
    if row is None:
        return None
    return PortalActor(
        person_id=row.person_id,
        name=row.person_name,
        email=row.person_email,
        account_number=row.account_id,
        role=Role(row.role),
        return_url=row.return_url,
    )


async def sign_out_portal(database: Database, token: str, now: datetime) -> None:
    """End this session, unless it has already ended."""
    statement = (
        update(PortalSession)
        .where(col(PortalSession.token_hash) == hash_token(token))
        .where(col(PortalSession.revoked_at).is_(None))
        .values(revoked_at=now)
    )
    async with database.transaction() as session:
        await (await session.connection()).execute(statement)

"""Browsers that a person has signed in with: they are not held up while others guess.

The cookie holds a token and says nothing else; the database stores only its hash.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, func, select

from billing_app.billing.identity.sessions import hash_token
from billing_app.db.engine import Database
from billing_app.db.tables import KnownBrowser, User

BROWSER_DAYS: Final = 365


async def is_known(database: Database, token: str, email: str, now: datetime) -> bool:
    """Whether the person with this address has signed in with the browser."""
    address = email.strip().lower().replace("\0", " ")  # PostgreSQL accepts no NUL
    query = (
        select(KnownBrowser)
        .join(User, col(User.id) == KnownBrowser.user_id)
        .where(KnownBrowser.token_hash == hash_token(token), func.lower(User.email) == address)
        .where(KnownBrowser.expires_at > now)
    )
    async with database.reading() as session:
        return (await session.exec(query)).first() is not None


async def remember(
    database: Database, token: str, user_id: str, now: datetime
) -> tuple[str, datetime]:
    """From now on the browser is known to be the person's; returns the token for its cookie, and
    when it expires. A token that is not ours is replaced, so that nobody can plant one."""
    expires_at = now + timedelta(days=BROWSER_DAYS)
    known = select(KnownBrowser).where(KnownBrowser.token_hash == hash_token(token))
    async with database.transaction() as session:
        if (await session.exec(known.limit(1))).first() is None:
            token = secrets.token_urlsafe(32)
        row = insert(KnownBrowser).values(
            token_hash=hash_token(token), user_id=user_id, expires_at=expires_at
        )
        await session.exec(
            row.on_conflict_do_update(
                index_elements=["token_hash", "user_id"], set_={"expires_at": expires_at}
            )
        )
    return token, expires_at

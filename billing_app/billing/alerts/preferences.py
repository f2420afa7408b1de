"""What a person is mailed about, and unsubscribing with one click (RFC 8058)."""

import binascii
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import UserActor
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind, MailTopic
from billing_app.db.tables import AlertPreferences, User

Topic = AlertKind | MailTopic
"""Alerts and other mail share some: those have the same value."""


@dataclass(frozen=True, slots=True)
class MailPreferences:
    """`wants_mail` False: only what is required comes by mail. `muted`: topics that do not."""

    wants_mail: bool = True
    muted: frozenset[Topic] = frozenset()

    def wants(self, topic: Topic) -> bool:
        return self.wants_mail and topic not in self.muted


async def read_preferences(database: Database, actor: UserActor) -> MailPreferences:
    async with database.reading() as session:
        return preferences_of(await session.get(AlertPreferences, actor.user_id))


async def set_preferences(
    database: Database,
    actor: UserActor,
    *,
    wants_mail: bool,
    muted: Collection[Topic] = (),
    now: datetime,
) -> MailPreferences:
    async with database.transaction() as session:
        row = await ensure_row(session, actor.user_id, now)
        row.wants_mail, row.updated_at = wants_mail, now
        row.muted_kinds = sorted({str(topic) for topic in muted})
        session.add(row)
    return preferences_of(row)


async def unsubscribe(database: Database, token: str, now: datetime) -> bool:
    """No more mail that is not required for the person that the token names; False: it is not one
    of ours. Repeating it changes nothing."""
    user_id = _user_of(token)
    if user_id is None:
        return False
    async with database.transaction() as session:
        row = await session.get(AlertPreferences, user_id, with_for_update=True)
        if row is None or not hmac.compare_digest(token, unsubscribe_token(row)):
            return False
        row.wants_mail, row.updated_at = False, now
        session.add(row)
    return True


async def email_of_token(database: Database, token: str) -> str | None:
    """Whose mail the token stops; None: it is not one of ours. Changes nothing."""
    user_id = _user_of(token)
    if user_id is None:
        return None
    async with database.reading() as session:
        row, user = await session.get(AlertPreferences, user_id), await session.get(User, user_id)
    if row is None or user is None or not hmac.compare_digest(token, unsubscribe_token(row)):
        return None
    return user.email


def unsubscribe_token(row: AlertPreferences) -> str:
    """It stays valid: a mail may be read years later."""
    user = urlsafe_b64encode(row.user_id.encode()).decode().rstrip("=")
    return f"{user}.{hmac.digest(row.unsubscribe_key, row.user_id.encode(), 'sha256').hex()}"


async def ensure_row(session: AsyncSession, user_id: str, now: datetime) -> AlertPreferences:
    """The person's row, locked."""
    statement = (
        insert(AlertPreferences)
        .values(user_id=user_id, unsubscribe_key=secrets.token_bytes(32), updated_at=now)
        .on_conflict_do_nothing()
    )
    await (await session.connection()).execute(statement)
    return await session.get_one(AlertPreferences, user_id, with_for_update=True)


def preferences_of(row: AlertPreferences | None) -> MailPreferences:
    if row is None:
        return MailPreferences()
    found = [_topic(kind) for kind in row.muted_kinds]
    return MailPreferences(row.wants_mail, frozenset(topic for topic in found if topic))


def _topic(name: str) -> Topic | None:
    if name in set(AlertKind):
        return AlertKind(name)
    return MailTopic(name) if name in set(MailTopic) else None


def _user_of(token: str) -> str | None:
    encoded = token.partition(".")[0]
    try:
        user = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError):
        return None
    return user if token.isascii() and user and "\0" not in user else None

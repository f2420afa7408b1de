"""Choosing a new password: with the old one, or with a link that was mailed.

Either way every other browser is signed out, and all links that were mailed are over.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import col, delete, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import UserActor
from billing_app.billing.errors import ConflictError, NotAuthenticatedError
from billing_app.billing.mail import Mail, Mailer
from billing_app.billing.passwords import hash_password, is_password
from billing_app.billing.sessions import hash_token
from billing_app.db.engine import Database
from billing_app.db.tables import PasswordReset, Session, User
from billing_app.routes import FORGOT_PASSWORD, PASSWORD_RESETS

LINK_MINUTES: Final = 60

LINK_TEXT: Final = """\
Somebody, probably you, asked for a new password for {email} at {site}.

Choose it here, within {minutes} minutes:
{link}

If it was not you, do nothing: your password stays as it is.
"""
CHANGED_TEXT: Final = """\
The password for {email} at {site} was changed on {at:%d %B %Y at %H:%M} UTC. Every other browser was signed out.

If it was not you, choose a new one now:
{link}
"""  # noqa: E501 - a mail's lines are broken by who reads it


class PasswordLinkOverError(ConflictError):
    """The link was used, is older than an hour, or was never made."""

    code = "password_link_over"
    title = "This link is over"


class WrongPasswordError(NotAuthenticatedError):
    code = "wrong_password"
    title = "The password is wrong"


async def mail_link(
    database: Database, mailer: Mailer, *, email: str, site: str, now: datetime
) -> None:
    """Mail a link to whoever signs in with this address; to nobody when there is none.

    `site` is the public URL. Raises what `mailer` raises: then no link was made known.
    """
    query = select(User.id, User.email).where(func.lower(User.email) == email.lower())
    async with database.reading() as session:
        found = (await session.exec(query)).first()
    if found is None or found[1] is None:
        return
    user_id, address = found
    token = secrets.token_urlsafe(32)
    row = PasswordReset(
        token_hash=hash_token(token),
        user_id=user_id,
        created_at=now,
        expires_at=now + timedelta(minutes=LINK_MINUTES),
    )
    async with database.transaction() as session:
        session.add(row)
    text = LINK_TEXT.format(
        email=address,
        site=site,
        minutes=LINK_MINUTES,
        link=f"{site}{PASSWORD_RESETS}/{token}",
    )
    await mailer.send(Mail(address, "Choose a new password", text))


async def is_open(database: Database, token: str, now: datetime) -> bool:
    """Whether a link can still be used."""
    query = select(PasswordReset.user_id).where(
        PasswordReset.token_hash == hash_token(token), PasswordReset.expires_at > now
    )
    async with database.reading() as session:
        return (await session.exec(query)).first() is not None


async def reset_password(database: Database, token: str, *, password: str, now: datetime) -> str:
    """Set the password of the person a link was mailed to; returns their user id.

    Raises InvalidInputError, PasswordLinkOverError.
    """
    if not await is_open(database, token, now):
        raise PasswordLinkOverError
    password_hash = await hash_password(password)
    take = (
        delete(PasswordReset)
        .where(col(PasswordReset.token_hash) == hash_token(token))
        .where(col(PasswordReset.expires_at) > now)
        .returning(col(PasswordReset.user_id))
    )
    async with database.transaction() as session:
        user_id = (await session.exec(take)).scalar_one_or_none()
        if user_id is None:
            raise PasswordLinkOverError
        await session.exec(
            update(User).where(col(User.id) == user_id).values(password_hash=password_hash)
        )
        await _end_all_else(session, user_id, now)
    return user_id


async def change_password(
    database: Database, actor: UserActor, *, current: str, password: str, token: str, now: datetime
) -> None:
    """Set the actor's own password; the session of `token` stays.

    Raises WrongPasswordError, InvalidInputError.
    """
    async with database.reading() as session:
        user = await session.get_one(User, actor.user_id)
    if not await is_password(current, user.password_hash):
        raise WrongPasswordError
    new = await hash_password(password)
    # Who changed it at the same time knew the old one as well: the first of them wins.
    change = (
        update(User)
        .where(col(User.id) == user.id, col(User.password_hash) == user.password_hash)
        .values(password_hash=new)
    )
    async with database.transaction() as session:
        if (await session.exec(change)).rowcount != 1:
            raise WrongPasswordError
        await _end_all_else(session, user.id, now, kept=hash_token(token))


async def mail_change(
    database: Database, mailer: Mailer, *, user_id: str, site: str, changed_at: datetime
) -> None:
    """Tell a person that their password was changed. Raises what `mailer` raises."""
    async with database.reading() as session:
        user = await session.get(User, user_id)
    if user is None or user.email is None:
        return
    text = CHANGED_TEXT.format(
        email=user.email, site=site, at=changed_at, link=f"{site}{FORGOT_PASSWORD}"
    )
    await mailer.send(Mail(user.email, "Your password was changed", text))


async def _end_all_else(
    session: AsyncSession, user_id: str, now: datetime, *, kept: bytes = b""
) -> None:
    """Sign the person out of every browser but the one of `kept`, and end their links."""
    await session.exec(
        update(Session)
        .where(col(Session.user_id) == user_id, col(Session.token_hash) != kept)
        .where(col(Session.revoked_at).is_(None))
        .values(revoked_at=now)
    )
    await session.exec(delete(PasswordReset).where(col(PasswordReset.user_id) == user_id))

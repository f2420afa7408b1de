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
from billing_app.billing.identity.password_hashing import hash_password, is_password
from billing_app.billing.identity.sessions import SignedIn, clean_email, hash_token, new_session
from billing_app.billing.mail import Mail, Mailer, Post
from billing_app.db.engine import Database
from billing_app.db.tables import PasswordReset, Session, User
from billing_app.routes import FORGOT_PASSWORD, PASSWORD_RESETS

LINK_MINUTES: Final = 60

LINK_TEXT: Final = """\
Someone, probably you, requested a new password for {email} at {site}.

Choose it within {minutes} minutes:
{link}

If this was not you, ignore this mail: your password stays the same.
"""
CHANGED_TEXT: Final = """\
The password for {email} at {site} was changed on {at:%d %B %Y at %H:%M} UTC. Every other browser was signed out.

If this was not you, choose a new password now:
{link}
"""  # noqa: E501 - mail clients wrap the lines


class PasswordLinkOverError(ConflictError):
    """The link was used, is older than an hour, or was never made."""

    code = "password_link_over"
    title = "This link is over"


class WrongPasswordError(NotAuthenticatedError):
    code = "wrong_password"
    title = "The password is wrong"


async def ask_for_link(database: Database, post: Post, *, email: str) -> None:
    """Have a link mailed to this address. Takes as long when nobody has it.

    Raises InvalidInputError, and what `post` raises.
    """
    address = clean_email(email)
    async with database.transaction() as session:
        await post.password_link(session, address)


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


async def find_link(database: Database, token: str, now: datetime) -> str | None:
    """What a page may know of an open link; None: it is over."""
    link = hash_token(token)
    return link.hex() if await _user_of(database, link, now) else None


async def whose_link(database: Database, link: str, now: datetime) -> str | None:
    """The address of whoever sets their password with it, told to who was led to the page."""
    try:
        user = await _user_of(database, bytes.fromhex(link), now)
    except ValueError:
        return None
    return user.email if user else None


async def reset_password(
    database: Database,
    post: Post | None,
    *,
    token: str,
    password: str,
    user_agent: str,
    session_days: int,
    now: datetime,
) -> SignedIn:
    """Set the password of the person a link was mailed to, and sign them in.

    Raises InvalidInputError, PasswordLinkOverError.
    """
    link = hash_token(token)
    user = await _user_of(database, link, now)
    if user is None:
        raise PasswordLinkOverError
    password_hash = await hash_password(password)
    signed_in, row = new_session(user.id, user_agent, session_days, now)
    async with database.transaction() as session:
        locked = await _lock(session, user.id)
        if await session.get(PasswordReset, link) is None:
            raise PasswordLinkOverError
        await _set_password(session, post, locked, password_hash, now)
        session.add(row)
    return signed_in


async def change_password(
    database: Database,
    post: Post | None,
    actor: UserActor,
    *,
    current: str,
    password: str,
    token: str,
    now: datetime,
) -> None:
    """Set the actor's own password; the session of `token` stays.

    Raises WrongPasswordError, InvalidInputError.
    """
    async with database.reading() as session:
        user = await session.get_one(User, actor.user_id)
    if not await is_password(current, user.password_hash):
        raise WrongPasswordError
    password_hash = await hash_password(password)
    async with database.transaction() as session:
        locked = await _lock(session, user.id)
        if locked.password_hash != user.password_hash:
            raise WrongPasswordError
        await _set_password(session, post, locked, password_hash, now, kept=hash_token(token))


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


async def _user_of(database: Database, link: bytes, now: datetime) -> User | None:
    query = (
        select(User)
        .join(PasswordReset, col(PasswordReset.user_id) == User.id)
        .where(PasswordReset.token_hash == link, PasswordReset.expires_at > now)
    )
    async with database.reading() as session:
        return (await session.exec(query)).first()


async def _lock(session: AsyncSession, user_id: str) -> User:
    """Whoever signs in, resets or changes meanwhile waits, and looks again."""
    query = select(User).where(User.id == user_id).with_for_update()
    return (await session.exec(query)).one()


async def _set_password(
    session: AsyncSession,
    post: Post | None,
    user: User,
    password_hash: str,
    now: datetime,
    *,
    kept: bytes = b"",
) -> None:
    """Sign the person out of every browser but the one of `kept`, end their links, tell them."""
    user.password_hash = password_hash
    session.add(user)
    await session.exec(
        update(Session)
        .where(col(Session.user_id) == user.id, col(Session.token_hash) != kept)
        .where(col(Session.revoked_at).is_(None))
        .values(revoked_at=now)
    )
    await session.exec(delete(PasswordReset).where(col(PasswordReset.user_id) == user.id))
    if post is not None:
        await post.password_changed(session, user.id, now)

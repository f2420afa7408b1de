"""Password reset by a mailed link, and password change with the current password.

Either way all other browsers are signed out and all mailed links expire, also those that would
change the e-mail address.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_
from sqlmodel import col, delete, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.actors import UserActor
from billing_app.billing.errors import ConflictError, NotAuthenticatedError
from billing_app.billing.identity.password_hashing import is_password
from billing_app.billing.identity.password_strength import hash_new_password
from billing_app.billing.identity.session_expiry import revoke_sessions
from billing_app.billing.identity.sessions import SignedIn, clean_email, hash_token, new_session
from billing_app.billing.mail import Letter, Mailer, MailQueue, required_mail
from billing_app.db.engine import Database
from billing_app.db.tables import EmailChange, PasswordReset, Session, User
from billing_app.routes import FORGOT_PASSWORD, PASSWORD_RESETS

LINK_MINUTES: Final = 60


class PasswordLinkOverError(ConflictError):
    """The link was used, has expired or never existed."""

    code = "password_link_over"
    title = "This link has expired. Ask for a new one."


class WrongPasswordError(NotAuthenticatedError):
    code = "wrong_password"
    title = "Wrong password"


async def request_link(database: Database, mail_queue: MailQueue, *, email: str) -> None:
    """Queue a reset link for this address. Takes the same time when no user has it.

    Raises InvalidInputError, and what `mail_queue` raises.
    """
    address = clean_email(email)
    async with database.transaction() as session:
        await mail_queue.password_link(session, address)


async def mail_link(
    database: Database, mailer: Mailer, *, email: str, site: str, now: datetime
) -> None:
    """Mail a reset link to the user with this address, if there is one.

    `site` is the public URL. Raises what `mailer` raises; then the link was not sent.
    """
    query = select(User.id, User.email).where(func.lower(User.email) == email.lower())
    async with database.reading() as session:
        user = (await session.exec(query)).first()
    if user is None or user[1] is None:
        return
    user_id, address = user
    token = secrets.token_urlsafe(32)
    row = PasswordReset(
        token_hash=hash_token(token),
        user_id=user_id,
        created_at=now,
        expires_at=now + timedelta(minutes=LINK_MINUTES),
    )
    # An address that was changed meanwhile gets no link.
    unchanged = select(User.id).where(User.id == user_id, User.email == address)
    async with database.transaction() as session:
        if (await session.exec(unchanged.with_for_update(read=True))).first() is None:
            return
        session.add(row)
    letter = Letter(
        headline="Choose a new password",
        paragraphs=(
            f"Someone, probably you, requested a new password for {address} at {site}.",
            f"The link works once, within {LINK_MINUTES} minutes.",
        ),
        button="Choose a new password",
        url=f"{site}{PASSWORD_RESETS}/{token}",
        notes=("If this was not you, ignore this email. Your password stays the same.",),
    )
    await mailer.send(required_mail(address, letter.headline, letter, site=site))


async def find_link(database: Database, token: str, now: datetime) -> str | None:
    """The link's hash, for the page that chooses the password; None: the link has expired."""
    link = hash_token(token)
    return link.hex() if await _user_of(database, link, now) else None


async def email_of_link(database: Database, link: str, now: datetime) -> str | None:
    """The e-mail address of the user whose password the link resets."""
    try:
        user = await _user_of(database, bytes.fromhex(link), now)
    except ValueError:
        return None
    return user.email if user else None


async def reset_password(
    database: Database,
    mail_queue: MailQueue | None,
    *,
    token: str,
    password: str,
    user_agent: str,
    session_days: int,
    now: datetime,
) -> SignedIn:
    """Set the password of the user to whom the link was mailed, and sign them in.

    Raises InvalidInputError, PasswordLinkOverError.
    """
    link = hash_token(token)
    user = await _user_of(database, link, now)
    if user is None:
        raise PasswordLinkOverError
    password_hash = await _hash_chosen(password, user)
    signed_in, row = new_session(user.id, user_agent, session_days, now)
    async with database.transaction() as session:
        locked = await _lock(session, user.id)
        if await session.get(PasswordReset, link) is None:
            raise PasswordLinkOverError
        # The link was mailed to their address.
        locked.email_confirmed_at = locked.email_confirmed_at or now
        await _set_password(session, mail_queue, locked, password_hash, now)
        session.add(row)
    return signed_in


async def change_password(
    database: Database,
    mail_queue: MailQueue | None,
    actor: UserActor,
    *,
    current: str,
    password: str,
    token: str,
    now: datetime,
) -> None:
    """Set the actor's own password; the session of `token` stays signed in.

    Raises WrongPasswordError, InvalidInputError.
    """
    async with database.reading() as session:
        user = await session.get_one(User, actor.user_id)
    if not await is_password(current, user.password_hash):
        raise WrongPasswordError
    password_hash = await _hash_chosen(password, user)
    async with database.transaction() as session:
        locked = await _lock(session, user.id)
        if locked.password_hash != user.password_hash:
            raise WrongPasswordError
        await _set_password(session, mail_queue, locked, password_hash, now, kept=hash_token(token))


async def mail_change(
    database: Database, mailer: Mailer, *, user_id: str, site: str, changed_at: datetime
) -> None:
    """Mail a notice that the password was changed. Raises what `mailer` raises."""
    async with database.reading() as session:
        user = await session.get(User, user_id)
    if user is None or user.email is None:
        return
    letter = Letter(
        headline="Your password was changed",
        paragraphs=(
            (
                f"The password for {user.email} at {site} was changed on"
                f" {changed_at:%d %B %Y at %H:%M} UTC. All other browsers were signed out."
            ),
            "If this was not you, choose a new password now.",
        ),
        button="Choose a new password",
        url=f"{site}{FORGOT_PASSWORD}",
    )
    await mailer.send(required_mail(user.email, letter.headline, letter, site=site))


async def _hash_chosen(password: str, user: User) -> str:
    return await hash_new_password(password, name=user.name, email=user.email or "")


async def _user_of(database: Database, link: bytes, now: datetime) -> User | None:
    query = (
        select(User)
        .join(PasswordReset, col(PasswordReset.user_id) == User.id)
        .where(PasswordReset.token_hash == link, PasswordReset.expires_at > now)
    )
    async with database.reading() as session:
        return (await session.exec(query)).first()


async def _lock(session: AsyncSession, user_id: str) -> User:
    """Concurrent sign-ins, resets and changes wait for the lock and then check again."""
    query = select(User).where(User.id == user_id).with_for_update()
    return (await session.exec(query)).one()


async def _set_password(
    session: AsyncSession,
    mail_queue: MailQueue | None,
    user: User,
    password_hash: str,
    now: datetime,
    *,
    kept: bytes = b"",
) -> None:
    """Sign out all browsers except the one of `kept`, delete all links, and send a notice."""
    user.password_hash = password_hash
    session.add(user)
    others = and_(col(Session.user_id) == user.id, col(Session.token_hash) != kept)
    await revoke_sessions(session, others, now)
    await session.exec(delete(PasswordReset).where(col(PasswordReset.user_id) == user.id))
    await session.exec(delete(EmailChange).where(col(EmailChange.user_id) == user.id))
    if mail_queue is not None:
        await mail_queue.password_changed(session, user.id, now)

"""A person's name, changed at once, and their e-mail address, changed by a mailed link.

The new address gets the link; the old one is told once it was changed. Until then it stays the
person's address, and nobody learns whether somebody else has the new one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts import billing_details
from billing_app.billing.accounts.billing_details import DetailsQueue
from billing_app.billing.accounts.names import checked_name
from billing_app.billing.accounts.service import ReadOnlyError
from billing_app.billing.actors import PersonActor, UserActor
from billing_app.billing.errors import EmailTakenError, InvalidInputError
from billing_app.billing.identity import email_links
from billing_app.billing.identity.email_links import (
    EmailLinkExpiredError,
    MailNotSetUpError,
    PendingEmail,
    live_change,
    of_person,
    pending_email,
    request_link,
)
from billing_app.billing.identity.password_hashing import is_password
from billing_app.billing.identity.password_resets import WrongPasswordError
from billing_app.billing.identity.session_expiry import revoke_sessions
from billing_app.billing.identity.sessions import clean_email, hash_token
from billing_app.billing.mail import Letter, Mailer, MailQueue, required_mail
from billing_app.billing.staff.audit.audit_writing import CustomerAction, CustomerChange, record_own
from billing_app.db.engine import Database
from billing_app.db.tables import Account, EmailChange, PasswordReset, Session, User

CHANGED_SUBJECT: Final = "Your email address was changed"


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in; `pending`: the new address that waits for its confirmation.
    `must_confirm`: they were asked to confirm the address that they have, and have not yet."""

    name: str
    email: str
    pending: PendingEmail | None
    must_confirm: bool = False


async def read_person(database: Database, actor: PersonActor, now: datetime) -> Person:
    """Raises ReadOnlyError for staff who view an account."""
    person = _require_person(actor)
    async with database.reading() as session:
        pending = await pending_email(session, of_person(person.user_id), now)
        user = await session.get_one(User, person.user_id)
    if pending is not None and pending.email == user.email:
        pending = None
    return Person(person.name, person.email, pending, _must_confirm(user))


async def welcome_again(
    database: Database, mail_queue: MailQueue | None, actor: PersonActor, now: datetime
) -> bool:
    """Queue another link that confirms the actor's address; False: it is confirmed. Raises
    MailNotSetUpError, ReadOnlyError."""
    person = _require_person(actor)
    if mail_queue is None:
        raise MailNotSetUpError
    async with database.transaction() as session:
        user = await _lock(session, person.user_id)
        if user.email is None or not _must_confirm(user):
            return False
        await email_links.request_welcome(
            session, mail_queue, now, user_id=user.id, email=user.email
        )
    return True


async def change_name(
    database: Database,
    details_queue: DetailsQueue | None,
    actor: PersonActor,
    *,
    name: str,
    now: datetime,
) -> None:
    """Set the actor's own name. Raises InvalidInputError, ReadOnlyError."""
    person, name = _require_person(actor), checked_name(name)
    async with database.transaction() as session:
        user = await _lock(session, person.user_id)
        if user.name == name:
            return
        before, user.name = user.name, name
        session.add(user)
        await session.flush()
        change = CustomerChange(CustomerAction.CHANGE_NAME, "name", before, name)
        await _record(session, person, change, now)
        await billing_details.queue_all_of(session, details_queue, user.id)


async def request_email_change(
    database: Database,
    mail_queue: MailQueue | None,
    actor: PersonActor,
    *,
    email: str,
    password: str,
    token: str,
    now: datetime,
) -> None:
    """Queue a link to the new address; `token` is of the session that asks.

    The same whether or not somebody else has the address. Raises InvalidInputError,
    WrongPasswordError, MailNotSetUpError, ReadOnlyError.
    """
    person, address = _require_person(actor), clean_email(email)
    if mail_queue is None:
        raise MailNotSetUpError
    async with database.reading() as session:
        user = await session.get_one(User, person.user_id)
    if not await is_password(password, user.password_hash):
        raise WrongPasswordError
    if address == user.email:
        raise InvalidInputError("This is your email address already.", field="email")
    async with database.transaction() as session:
        locked = await _lock(session, user.id)
        if locked.password_hash != user.password_hash:
            raise WrongPasswordError
        await request_link(
            session,
            mail_queue,
            now,
            user_id=user.id,
            email=address,
            requested_by=user.id,
            session_hash=hash_token(token),
        )


async def send_link_again(
    database: Database, mail_queue: MailQueue | None, actor: PersonActor, now: datetime
) -> None:
    """Raises EmailLinkExpiredError when no address waits, MailNotSetUpError, ReadOnlyError."""
    person = _require_person(actor)
    if mail_queue is None:
        raise MailNotSetUpError
    async with database.transaction() as session:
        await email_links.send_again(session, mail_queue, of_person(person.user_id), now)


async def withdraw_email_change(database: Database, actor: PersonActor) -> None:
    """Void the link, if there is one. Raises ReadOnlyError."""
    person = _require_person(actor)
    async with database.transaction() as session:
        await session.exec(delete(EmailChange).where(of_person(person.user_id)))


async def confirm(
    database: Database,
    mail_queue: MailQueue | None,
    details_queue: DetailsQueue | None,
    *,
    token: str,
    session_token: str,
    now: datetime,
) -> None:
    """Make the change that a mailed link confirms, or note that the address they have is theirs;
    `session_token` is of the browser, or "".

    A person's other sessions end; those that asked and that confirm stay. Raises
    EmailLinkExpiredError, EmailTakenError.
    """
    link = hash_token(token)
    async with database.reading() as session:
        found = await live_change(session, link, now)
    if found is None:
        raise EmailLinkExpiredError
    async with database.transaction() as session:
        user = await _lock(session, found.user_id) if found.user_id else None
        change = await live_change(session, link, now, for_update=True)
        if change is None:
            raise EmailLinkExpiredError
        await session.delete(change)
        if user is None:
            await billing_details.confirm_email(session, details_queue, change, now)
            return
        if change.email == user.email:
            user.email_confirmed_at = now
            session.add(user)
            return
        old = await _set_email(session, user, change, hash_token(session_token), now)
        await billing_details.queue_all_of(session, details_queue, user.id)
        if mail_queue is not None:
            await mail_queue.email_changed(session, old, now)


async def mail_change(mailer: Mailer, *, email: str, site: str, changed_at: datetime) -> None:
    """Tell the old address. Raises what `mailer` raises."""
    letter = Letter(
        headline=CHANGED_SUBJECT,
        paragraphs=(
            (
                f"The email address of your account at {site} was changed on"
                f" {changed_at:%d %B %Y at %H:%M} UTC. You can no longer sign in with {email}."
            ),
            "If this was not you, contact support right away.",
        ),
    )
    await mailer.send(required_mail(email, letter.headline, letter, site=site))


def _must_confirm(user: User) -> bool:
    return user.confirmation_asked_at is not None and user.email_confirmed_at is None


async def _set_email(
    session: AsyncSession, user: User, change: EmailChange, here: bytes, now: datetime
) -> str:
    """Set the address, end other sessions and void password reset links; returns the old one."""
    old = user.email or ""
    user.email, user.email_confirmed_at = change.email, now
    session.add(user)
    try:
        await session.flush()
    except IntegrityError:
        raise EmailTakenError from None
    kept = [here] if change.session_hash is None else [here, change.session_hash]
    others = and_(col(Session.user_id) == user.id, col(Session.token_hash).not_in(kept))
    await revoke_sessions(session, others, now)
    await session.exec(delete(PasswordReset).where(col(PasswordReset.user_id) == user.id))
    person = UserActor(user.id, user.name, old)
    made = CustomerChange(CustomerAction.CHANGE_EMAIL, "email", old, user.email)
    await _record(session, person, made, now)
    return old


async def _record(
    session: AsyncSession, person: UserActor, change: CustomerChange, now: datetime
) -> None:
    """Under the person's own account, if they have one."""
    query = select(Account.id).where(Account.user_id == person.user_id)
    account_id = (await session.exec(query)).first()
    await record_own(session, person, account_id, change, now)


async def _lock(session: AsyncSession, user_id: str) -> User:
    query = select(User).where(User.id == user_id).with_for_update()
    return (await session.exec(query)).one()


def _require_person(actor: PersonActor) -> UserActor:
    if not isinstance(actor, UserActor):
        raise ReadOnlyError
    return actor

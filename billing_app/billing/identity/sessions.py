"""Sign-up, sign-in and sign-out. The database stores only the hash of the cookie's token."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import UserActor
from billing_app.billing.errors import EmailTakenError, InvalidInputError, NotAuthenticatedError
from billing_app.billing.identity.email_links import request_welcome
from billing_app.billing.identity.password_hashing import is_password
from billing_app.billing.identity.password_strength import hash_new_password
from billing_app.billing.identity.session_expiry import is_live, revoke_sessions
from billing_app.billing.identity.tokens import hash_token
from billing_app.billing.mail import MailQueue
from billing_app.billing.plans import trial_uses, trials
from billing_app.billing.plans.inserting import add_plan
from billing_app.billing.plans.trials import TrialTerms
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role, TrialUseKind
from billing_app.db.tables import Account, Membership, Session, User

# No characters with a special meaning in mail (RFC 5322 specials, RFC 2047 encoded words): such an
# address could be read as a different one.
# The same for JSON Schema, without what its dialects differ in: `=?` in an address is refused, too.
PUBLISHED_EMAIL: Final = r"^ *{c}{{1,64}}@{c}{{1,255}}\.{d}{{2,63}} *$".format(
    c=r"[^@\s\x00-\x1f\x7f()<>\[\],;:\\\"]", d=r"[^@\s\x00-\x1f\x7f()<>\[\],;:\\\".]"
)
EMAIL: Final = re.compile(
    r"(?!.*=\?){c}{{1,64}}@{c}{{1,255}}\.(?:(?!\.){c}){{2,63}}".format(
        c=r"[^@\s\x00-\x1f()<>\[\],;:\\\"]"
    )
)
MAX_EMAIL_LENGTH: Final = 320
WRONG: Final = "The email address or password is wrong."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`token` goes into the cookie and is stored nowhere."""

    token: str
    user_id: str
    expires_at: datetime


async def sign_up(
    database: Database,
    *,
    email: str,
    password: str,
    name: str,
    terms: TrialTerms,
    now: datetime,
    mail_queue: MailQueue | None = None,
) -> str:
    """Create a user of the public organization, with a trial plan unless they had one; returns the
    user's id. With a `mail_queue` they are asked by mail to confirm their address.

    Raises InvalidInputError, EmailTakenError.
    """
    email = clean_email(email)
    if len(name) > 255 or "\0" in name:
        raise InvalidInputError(
            "A name can have at most 255 characters and must not contain NUL.", field="name"
        )
    user = User(
        id=ids.new_id("usr_"),
        name=name.strip(),
        email=email,
        password_hash=await hash_new_password(password, name=name, email=email),
        created_at=now,
        confirmation_asked_at=None if mail_queue is None else now,
    )
    try:
        async with database.transaction() as session:
            session.add(user)
            await session.flush()
            await give_trial(session, user, terms, now)
            if mail_queue is not None:
                await request_welcome(session, mail_queue, now, user_id=user.id, email=email)
    except IntegrityError:
        raise EmailTakenError from None
    return user.id


async def sign_in(
    database: Database,
    *,
    email: str,
    password: str,
    user_agent: str,
    session_days: int,
    now: datetime,
) -> SignedIn:
    """Raises NotAuthenticatedError, the same for an unknown address and a wrong password."""
    address = email.strip().lower().replace("\0", " ")  # PostgreSQL accepts no NUL
    query = select(User).where(func.lower(User.email) == address)
    async with database.reading() as session:
        user = (await session.exec(query)).first()
    if not await is_password(password, user.password_hash if user else None) or user is None:
        raise NotAuthenticatedError(WRONG)
    # A password change in the meantime signs out everyone who knew the old password.
    unchanged = (
        select(User.id)
        .where(User.id == user.id, User.password_hash == user.password_hash)
        .with_for_update(read=True)
    )
    signed_in, row = new_session(user.id, user_agent, session_days, now)
    async with database.transaction() as session:
        if (await session.exec(unchanged)).first() is None:
            raise NotAuthenticatedError(WRONG)
        session.add(row)
    return signed_in


def new_session(
    user_id: str, user_agent: str, session_days: int, now: datetime
) -> tuple[SignedIn, Session]:
    """A session for a person who has been authenticated; the caller stores the row."""
    token = secrets.token_urlsafe(32)
    row = Session(
        token_hash=hash_token(token),
        user_id=user_id,
        created_at=now,
        expires_at=now + timedelta(days=session_days),
        user_agent=user_agent[:255],
    )
    return SignedIn(token=token, user_id=user_id, expires_at=row.expires_at), row


async def authenticate(database: Database, token: str, now: datetime) -> UserActor | None:
    """The person who owns this live session, or None."""
    query = (
        select(User)
        .join(Session, col(Session.user_id) == User.id)
        .where(Session.token_hash == hash_token(token), is_live(now))
    )
    async with database.reading() as session:
        user = (await session.exec(query)).first()
    return UserActor(user.id, user.name, user.email or "") if user else None


async def sign_out(database: Database, token: str, now: datetime) -> None:
    """End this session, unless it has already ended."""
    async with database.transaction() as session:
        await revoke_sessions(session, col(Session.token_hash) == hash_token(token), now)


async def sign_out_everywhere(database: Database, actor: UserActor, now: datetime) -> None:
    """End all sessions of the person."""
    async with database.transaction() as session:
        await revoke_sessions(session, col(Session.user_id) == actor.user_id, now)


def clean_email(email: str, *, field: str = "email") -> str:
    """Raises InvalidInputError."""
    email = email.strip()
    if len(email) > MAX_EMAIL_LENGTH or not EMAIL.fullmatch(email):
        raise InvalidInputError("This is not a valid email address.", field=field)
    return email


async def give_trial(session: AsyncSession, user: User, terms: TrialTerms, now: datetime) -> None:
    """Create the user's account, membership and trial plan; the caller owns the transaction.

    Whoever has had a trial under the same address, or one like it, gets the account alone.
    """
    account = Account(
        id=ids.new_account_number(),
        kind=AccountKind.USER,
        organization_id=terms.public_organization_id,
        user_id=user.id,
        created_at=now,
    )
    session.add(account)
    session.add(
        Membership(
            organization_id=terms.public_organization_id,
            user_id=user.id,
            role=Role.MEMBER,
            created_at=now,
        )
    )
    await session.flush()
    if user.email and terms.one_per_person:
        person = trial_uses.person_of(user.email)
        if not await trial_uses.take(session, TrialUseKind.EMAIL, person, account.id, now):
            return
    await add_plan(session, trials.trial_plan(account.id, terms, now))

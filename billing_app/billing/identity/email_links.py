"""Links that confirm an e-mail address, mailed to that address: they work once, for an hour; the
one that welcomes somebody who signed up, for a week.

A person's own address and an account's billing email are confirmed in the same way. Each has one
request at most: a newer one voids the older link.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import ConflictError
from billing_app.billing.identity.tokens import hash_token
from billing_app.billing.mail import PRODUCT, Letter, Mailer, MailQueue, required_mail
from billing_app.db.engine import Database
from billing_app.db.tables import EmailChange, User
from billing_app.routes import EMAIL_LINKS, SIGN_IN

LINK_MINUTES: Final = 60
WELCOME_LINK_DAYS: Final = 7
LINK_SUBJECT: Final = "Confirm your email address"
TAKEN_SUBJECT: Final = "Your email address is already in use"
WELCOME_SUBJECT: Final = f"Welcome to {PRODUCT}: confirm your email address"


class EmailLinkExpiredError(ConflictError):
    """The link was used, was withdrawn, has expired or never existed."""

    code = "email_link_expired"
    title = "This link has expired. Ask for a new one."


class MailNotSetUpError(ConflictError):
    code = "mail_not_set_up"
    title = "This site cannot send email yet"


@dataclass(frozen=True, slots=True)
class PendingEmail:
    """An address that waits for its confirmation."""

    email: str
    expires_at: datetime


def of_person(user_id: str) -> ColumnElement[bool]:
    return col(EmailChange.user_id) == user_id


def of_account(account_id: int) -> ColumnElement[bool]:
    return col(EmailChange.account_id) == account_id


async def pending_email(
    session: AsyncSession, subject: ColumnElement[bool], now: datetime
) -> PendingEmail | None:
    """`subject`: `of_person` or `of_account`."""
    query = select(EmailChange).where(subject, col(EmailChange.expires_at) > now)
    row = (await session.exec(query)).first()
    return PendingEmail(row.email, row.expires_at) if row else None


async def request_link(
    session: AsyncSession,
    mail_queue: MailQueue,
    now: datetime,
    *,
    email: str,
    requested_by: str,
    user_id: str | None = None,
    account_id: int | None = None,
    session_hash: bytes | None = None,
) -> None:
    """Queue a link to `email`, for a person or an account, in the caller's transaction; see
    EmailChange."""
    change_id = await _add_request(
        session,
        now,
        email=email,
        requested_by=requested_by,
        user_id=user_id,
        account_id=account_id,
        session_hash=session_hash,
    )
    await mail_queue.email_link(session, change_id)


async def request_welcome(
    session: AsyncSession, mail_queue: MailQueue, now: datetime, *, user_id: str, email: str
) -> None:
    """Queue the mail that welcomes a person and confirms the address that they have. They are not
    kept waiting when it cannot be queued."""
    change_id = await _add_request(session, now, email=email, requested_by=user_id, user_id=user_id)
    await mail_queue.welcome(session, change_id)


async def _add_request(
    session: AsyncSession,
    now: datetime,
    *,
    email: str,
    requested_by: str,
    user_id: str | None = None,
    account_id: int | None = None,
    session_hash: bytes | None = None,
) -> str:
    """Put it in the place of an earlier one; returns its id."""
    subject = "user_id" if account_id is None else "account_id"
    change_id = ids.new_id("eml_")
    row: dict[str, Any] = {
        "id": change_id,
        "user_id": user_id,
        "account_id": account_id,
        "email": email,
        "requested_by": requested_by,
        "session_hash": session_hash,
        "token_hash": None,
        "created_at": now,
        "expires_at": now + timedelta(minutes=LINK_MINUTES),
    }
    statement = insert(EmailChange).values(row)
    await (await session.connection()).execute(
        statement.on_conflict_do_update(index_elements=[subject], set_=row)
    )
    return change_id


async def send_again(
    session: AsyncSession, mail_queue: MailQueue, subject: ColumnElement[bool], now: datetime
) -> None:
    """Queue a new link for the address that waits. Raises EmailLinkExpiredError when none does."""
    query = select(EmailChange).where(subject, col(EmailChange.expires_at) > now)
    row = (await session.exec(query.with_for_update())).first()
    if row is None:
        raise EmailLinkExpiredError
    await request_link(
        session,
        mail_queue,
        now,
        email=row.email,
        requested_by=row.requested_by,
        user_id=row.user_id,
        account_id=row.account_id,
        session_hash=row.session_hash,
    )


async def mail_link(
    database: Database, mailer: Mailer, *, change_id: str, site: str, now: datetime
) -> None:
    """Mail the link of a request, unless a newer one took its place. Whoever owns an address that
    somebody else wants is told so instead.

    `site` is the public URL. Raises what `mailer` raises; then the link was not sent.
    """
    async with database.reading() as session:
        row = await session.get(EmailChange, change_id)
        is_taken = row is not None and await _is_taken(session, row)
        is_own = row is not None and await is_own_address(session, row)
    if row is None:
        return
    if is_taken:
        letter = _taken_letter(row.email, site)
        await mailer.send(required_mail(row.email, TAKEN_SUBJECT, letter, site=site))
        return
    token = secrets.token_urlsafe(32)
    lasts = timedelta(days=WELCOME_LINK_DAYS) if is_own else timedelta(minutes=LINK_MINUTES)
    expires_at = now + lasts
    values = {"token_hash": hash_token(token), "expires_at": expires_at}
    made = update(EmailChange).where(col(EmailChange.id) == change_id).values(values)
    async with database.transaction() as session:
        if not (await (await session.connection()).execute(made)).rowcount:
            return
    link = f"{site}{EMAIL_LINKS}/{token}"
    letter = welcome_letter(site, link) if is_own else _change_letter(row, site, link)
    subject = WELCOME_SUBJECT if is_own else LINK_SUBJECT
    await mailer.send(required_mail(row.email, subject, letter, site=site))


def welcome_letter(site: str, link: str) -> Letter:
    return Letter(
        headline=f"Welcome to {PRODUCT}",
        paragraphs=(
            f"Your account at {site} is ready.",
            (
                "Please confirm that this is your email address, so that what we write about your"
                " plan, your payments and your sign-in reaches you."
            ),
        ),
        button="Confirm email address",
        url=link,
        notes=(
            (
                f"The link works once, within {WELCOME_LINK_DAYS} days. If you did not sign up,"
                " ignore this email: the address stays unconfirmed."
            ),
        ),
        preheader="Your account is ready. Please confirm your email address.",
    )


def _change_letter(row: EmailChange, site: str, link: str) -> Letter:
    what = (
        f"sign in at {site} with {row.email}"
        if row.user_id is not None
        else f"receive invoices and receipts from {site} at {row.email}"
    )
    return Letter(
        headline=LINK_SUBJECT,
        paragraphs=(
            f"Someone, probably you, wants to {what}.",
            f"The link works once, within {LINK_MINUTES} minutes.",
        ),
        button="Confirm email address",
        url=link,
        notes=("If this was not you, ignore this email. Nothing changes.",),
    )


def _taken_letter(email: str, site: str) -> Letter:
    return Letter(
        headline=TAKEN_SUBJECT,
        paragraphs=(
            f"Someone, probably you, wanted to use {email} for another account at {site}.",
            "You already have an account with this address, so nothing was changed.",
        ),
        button="Sign in",
        url=f"{site}{SIGN_IN}",
    )


async def find_link(database: Database, token: str, now: datetime) -> str | None:
    """The link's hash, for the page with the button; None: the link has expired."""
    link = hash_token(token)
    async with database.reading() as session:
        return link.hex() if await live_change(session, link, now) else None


async def email_of_link(database: Database, link: str, now: datetime) -> str | None:
    """The e-mail address that the link confirms."""
    try:
        token_hash = bytes.fromhex(link)
    except ValueError:
        return None
    async with database.reading() as session:
        change = await live_change(session, token_hash, now)
    return change.email if change else None


async def live_change(
    session: AsyncSession, link: bytes, now: datetime, *, for_update: bool = False
) -> EmailChange | None:
    """What a link confirms; None once it was used, voided or has expired."""
    query = select(EmailChange).where(
        col(EmailChange.token_hash) == link, col(EmailChange.expires_at) > now
    )
    return (await session.exec(query.with_for_update() if for_update else query)).first()


async def is_own_address(session: AsyncSession, row: EmailChange) -> bool:
    """Whether it confirms the address that the person has already."""
    if row.user_id is None:
        return False
    user = await session.get(User, row.user_id)
    return user is not None and user.email == row.email


async def _is_taken(session: AsyncSession, row: EmailChange) -> bool:
    if row.user_id is None:
        return False
    query = select(User.id).where(func.lower(User.email) == row.email.lower())
    return (await session.exec(query.where(User.id != row.user_id))).first() is not None

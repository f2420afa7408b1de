"""Notices are queued soon after they are written, and each is sent once."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.preferences import ensure_row, preferences_of, unsubscribe_token
from billing_app.billing.mail import Mail, Mailer, NoticeQueue, letter_mail
from billing_app.billing.notices.letters import letter_of
from billing_app.billing.notices.recipients import recipients_of
from billing_app.billing.notices.topics import TOPIC_OF
from billing_app.db.engine import Database
from billing_app.db.enums import NoticeKind
from billing_app.db.tables import Account, Notice, Organization
from billing_app.routes import ALERTS_PAGE, UNSUBSCRIBE

MAX_AT_ONCE: Final = 500
# What was not sent by then is queued again, until it is old news.
RESEND_AFTER: Final = timedelta(hours=1)
GIVE_UP_AFTER: Final = timedelta(days=3)
KEPT: Final = timedelta(days=90)
PURGE: Final = text("DELETE FROM notices WHERE created_at < :before")


async def queue_notices(database: Database, queue: NoticeQueue, now: datetime) -> int:
    """Queue what waits, and again what could not be sent; returns how many."""
    waits = col(Notice.queued_at).is_(None) | (col(Notice.queued_at) < now - RESEND_AFTER)
    query = (
        select(Notice)
        .where(col(Notice.sent_at).is_(None), col(Notice.created_at) > now - GIVE_UP_AFTER, waits)
        .order_by(col(Notice.created_at))
        .limit(MAX_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    async with database.transaction() as session:
        rows = (await session.exec(query)).all()
        for row in rows:
            again = f"{now:%Y-%m-%dT%H}" if row.queued_at is not None else ""
            row.queued_at = now
            session.add(row)
            await queue.notice(session, row.account_id, row.key, row.user_id, again)
    return len(rows)


async def mail_notice(
    database: Database,
    mailer: Mailer,
    *,
    account_id: int,
    key: str,
    user_id: str,
    site: str,
    now: datetime,
) -> None:
    """Send it, unless it was sent, or the person has left the account or does not want it any
    more. Raises what `mailer` raises."""
    async with database.transaction() as session:
        notice = await session.get(Notice, (account_id, key, user_id))
        if notice is None or notice.sent_at is not None:
            return
        account = await session.get_one(Account, account_id)
        people = {each.user_id: each for each in await recipients_of(session, account)}
        person = people.get(user_id)
        if person is None or not person.email:
            return
        preferences = await ensure_row(session, user_id, now)
        if not preferences_of(preferences).wants(TOPIC_OF[NoticeKind(notice.kind)]):
            return
        holder = await _holder(session, account)
        token = unsubscribe_token(preferences)
    await mailer.send(notice_mail(notice, holder, to=person.email, site=site, token=token))
    async with database.transaction() as session:
        sent = await session.get_one(Notice, (account_id, key, user_id), with_for_update=True)
        sent.sent_at = now
        session.add(sent)


def notice_mail(notice: Notice, holder: str, *, to: str, site: str, token: str) -> Mail:
    """`holder`: the organization, "" for a person's own account. `token`: unsubscribes."""
    letter = letter_of(NoticeKind(notice.kind), notice.figures, site)
    reason = f"you manage {holder}" if holder else "it is about your account"
    signed = replace(
        letter,
        rows=(("Organization", holder), *letter.rows) if holder else letter.rows,
        small_print=f"You get this because {reason}.",
        small_link=("Choose your emails", f"{site}{ALERTS_PAGE}"),
    )
    subject = f"{holder}: {letter.headline}" if holder else letter.headline
    return letter_mail(to, subject, signed, unsubscribe_url=f"{site}{UNSUBSCRIBE}/{token}")


async def purge_notices(database: Database, now: datetime) -> int:
    """Delete those of more than 90 days ago; returns how many."""
    async with database.transaction() as session:
        done = await (await session.connection()).execute(PURGE, {"before": now - KEPT})
    return done.rowcount


async def _holder(session: AsyncSession, account: Account) -> str:
    if account.user_id is not None:
        return ""
    return (await session.get_one(Organization, account.organization_id)).name

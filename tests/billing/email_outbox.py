"""Mailed links and what they confirm, for tests of names and addresses."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import UserActor
from billing_app.billing.identity import email_changes, email_links
from billing_app.billing.mail import Mail
from billing_app.composition import Services
from billing_app.db.tables import AuditEntry, User
from tests.factories import (
    connect,
    person,
    trial,
)

PASSWORD = "a creature of my own"
SITE = "https://billing.test"


@dataclass
class Outbox:
    """Stands in for the queues and the mail server: what was queued, and the mails it became."""

    services: Services
    mails: list[Mail] = field(default_factory=list[Mail])
    links: list[str] = field(default_factory=list[str])
    told: list[str] = field(default_factory=list[str])
    customers: list[int] = field(default_factory=list[int])

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)

    async def email_link(self, session: AsyncSession, change_id: str) -> None:
        del session
        self.links.append(change_id)

    async def welcome(self, session: AsyncSession, change_id: str) -> None:
        await self.email_link(session, change_id)

    async def invitation(self, session: AsyncSession, invitation_id: str) -> None:
        await self.email_link(session, invitation_id)

    async def email_changed(
        self, session: AsyncSession, old_email: str, changed_at: datetime
    ) -> None:
        del session, changed_at
        self.told.append(old_email)

    async def customer_details(self, session: AsyncSession, account_id: int) -> None:
        del session
        self.customers.append(account_id)

    async def password_link(self, session: AsyncSession, email: str) -> None:
        raise NotImplementedError

    async def password_changed(
        self, session: AsyncSession, user_id: str, changed_at: datetime
    ) -> None:
        raise NotImplementedError

    async def mail(self, change_id: str | None = None, now: datetime | None = None) -> str:
        """Mail the newest link, or that of a request; returns its token, "" without a link."""
        await email_links.mail_link(
            self.services.database,
            self,
            change_id=change_id or self.links[-1],
            site=SITE,
            now=now or datetime.now(UTC),
        )
        _, _, token = self.mails[-1].text.partition("/billing/email-links/")
        return token.partition("\n")[0]

    async def confirm(self, token: str, session: str = "", now: datetime | None = None) -> None:
        await email_changes.confirm(
            self.services.database,
            self,
            self,
            token=token,
            session_token=session,
            now=now or datetime.now(UTC),
        )


def made_person(url: str, password_hash: str) -> UserActor:
    made = person(url)
    with connect(url) as connection:
        connection.execute(
            "UPDATE users SET password_hash = %s WHERE id = %s", [password_hash, made.user_id]
        )
    trial(url, made.user_id, 10)
    return made


def new_address() -> str:
    return f"{ids.new_id('new-')}@example.com"


async def ask(
    outbox: Outbox, who: UserActor, email: str, *, token: str = "", password: str = PASSWORD
) -> None:
    await email_changes.request_email_change(
        outbox.services.database,
        outbox,
        who,
        email=email,
        password=password,
        token=token,
        now=datetime.now(UTC),
    )


async def user_of(outbox: Outbox, who: UserActor) -> User:
    async with outbox.services.database.reading() as session:
        return await session.get_one(User, who.user_id)


async def entries_of(outbox: Outbox, who: UserActor) -> list[AuditEntry]:
    query = select(AuditEntry).where(AuditEntry.actor_id == who.user_id)
    async with outbox.services.database.reading() as session:
        return list((await session.exec(query.order_by(col(AuditEntry.id)))).all())


async def results_of(*calls: Awaitable[None]) -> list[str]:
    found = await asyncio.gather(*calls, return_exceptions=True)
    return sorted("" if each is None else type(each).__name__ for each in found)

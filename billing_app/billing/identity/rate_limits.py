"""Limits of sign-in, sign-up and mailed links, counted in the database for all processes.

Failed sign-ins delay further ones of the same person from the same address, or from the same
browser if the person has signed in there before. Nothing counts by person alone: whoever knows an
email address could keep its owner out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, Protocol

from sqlalchemy import text
from sqlmodel import col, delete, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import TooManyAttemptsError
from billing_app.db.engine import Database
from billing_app.db.tables import AttemptCounter

IPV6_PREFIX: Final = 64  # What one customer of a provider gets (RFC 6177, BCP 157).
NEW: Final = text("""
INSERT INTO attempt_counters (subject, times, expires_at)
SELECT subject, '{}', :now FROM unnest(CAST(:subjects AS bytea[])) AS subject
ON CONFLICT DO NOTHING
""")


class Limit(Protocol):
    """How long to wait, by the times of earlier attempts in order; `memory` is how long they
    matter, `most` how many."""

    @property
    def memory(self) -> timedelta: ...
    @property
    def most(self) -> int: ...
    def wait(self, times: Sequence[datetime], now: datetime) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Window:
    """At most `most` attempts in any span of `memory`."""

    most: int
    memory: timedelta

    def wait(self, times: Sequence[datetime], now: datetime) -> timedelta:
        if len(times) < self.most:
            return timedelta()
        return times[-self.most] + self.memory - now


@dataclass(frozen=True, slots=True)
class Delays:
    """`free` attempts, then a delay after each that doubles from `first` up to `longest`."""

    free: int
    first: timedelta
    longest: timedelta
    memory: timedelta

    @property
    def most(self) -> int:
        return self.free + math.ceil(math.log2(self.longest / self.first))

    def wait(self, times: Sequence[datetime], now: datetime) -> timedelta:
        if len(times) < self.free:
            return timedelta()
        delay = min(self.first * 2 ** (len(times) - self.free), self.longest)
        return max(times[-1] + delay - now, timedelta())


HOUR: Final = timedelta(hours=1)
SIGN_IN: Final = Delays(5, timedelta(seconds=15), timedelta(minutes=15), timedelta(days=1))
SIGN_IN_BY_ADDRESS: Final = Window(60, timedelta(minutes=5))
SIGN_UP_BY_ADDRESS: Final = Window(20, HOUR)
LINK_BY_PERSON: Final = Window(5, HOUR)
LINK_BY_ADDRESS: Final = Window(20, HOUR)
INVITATIONS_BY_PERSON: Final = Window(50, HOUR)


@dataclass(frozen=True, slots=True)
class Counted:
    """A name of a limit, and what it counts by."""

    limit: Limit
    name: str
    by: tuple[str, ...]

    @property
    def subject(self) -> bytes:
        return sha256("\0".join((self.name, *self.by)).encode()).digest()


class AttemptLimits:
    """Each check counts as an attempt, unless it raises TooManyAttemptsError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check_sign_in(self, email: str, address: str, browser: str, now: datetime) -> Counted:
        """`browser` is the token of a browser that this person has signed in with, or "". Returns
        what `forget` takes when the password was right."""
        if browser:
            counted = Counted(SIGN_IN, "sign-in-browser", (browser, email))
            await self._count([counted], now)
            return counted
        network = network_of(address)
        counted = Counted(SIGN_IN, "sign-in", (network, email))
        by_address = Counted(SIGN_IN_BY_ADDRESS, "sign-in-address", (network,))
        await self._count([counted, by_address], now)
        return counted

    async def check_password(self, user_id: str, now: datetime) -> Counted:
        """Of a signed-in person, who repeats their password. Returns what `forget` takes."""
        counted = Counted(SIGN_IN, "password", (user_id,))
        await self._count([counted], now)
        return counted

    async def forget(self, counted: Counted) -> None:
        """The password was right: the attempts so far no longer count."""
        statement = delete(AttemptCounter).where(col(AttemptCounter.subject) == counted.subject)
        async with self._database.transaction() as session:
            await session.exec(statement)

    async def check_sign_up(self, address: str, now: datetime) -> None:
        by_address = Counted(SIGN_UP_BY_ADDRESS, "sign-up", (network_of(address),))
        await self._count([by_address], now)

    async def check_password_link(self, email: str, address: str, now: datetime) -> None:
        """Whether or not a user has the address."""
        by_email = Counted(LINK_BY_PERSON, "password-link-email", (email,))
        by_address = Counted(LINK_BY_ADDRESS, "password-link-address", (network_of(address),))
        await self._count([by_email, by_address], now)

    async def check_email_link(self, user_id: str, email: str, address: str, now: datetime) -> None:
        """Of links that confirm a new e-mail address."""
        by_person = Counted(LINK_BY_PERSON, "email-link-person", (user_id,))
        by_email = Counted(LINK_BY_PERSON, "email-link-email", (email,))
        by_address = Counted(LINK_BY_ADDRESS, "email-link-address", (network_of(address),))
        await self._count([by_person, by_email, by_address], now)

    async def check_invitation(self, user_id: str, email: str, now: datetime) -> None:
        """Of invitations that a person sends: a whole team at once, but nobody again and again."""
        by_person = Counted(INVITATIONS_BY_PERSON, "invitation-person", (user_id,))
        by_email = Counted(LINK_BY_PERSON, "invitation-email", (email,))
        await self._count([by_person, by_email], now)

    async def _count(self, attempts: list[Counted], now: datetime) -> None:
        async with self._database.transaction() as session:
            rows = await _lock(session, attempts, now)
            waits: list[timedelta] = []
            for each, row in zip(attempts, rows, strict=True):
                since = now - each.limit.memory
                row.times = [at for at in row.times if at > since]
                waits.append(each.limit.wait(row.times, now))
                row.times = [*row.times, now][-each.limit.most :]
                row.expires_at = now + each.limit.memory
                session.add(row)
            if (longest := max(waits)) > timedelta():
                seconds = math.ceil(longest.total_seconds())
                raise TooManyAttemptsError(retry_after_seconds=seconds)


async def _lock(
    session: AsyncSession, attempts: list[Counted], now: datetime
) -> list[AttemptCounter]:
    """Their rows in order of `attempts`, locked in order of subject."""
    subjects = sorted(each.subject for each in attempts)
    await (await session.connection()).execute(NEW, {"subjects": subjects, "now": now})
    query = (
        select(AttemptCounter)
        .where(col(AttemptCounter.subject).in_(subjects))
        .order_by(col(AttemptCounter.subject))
        .with_for_update()
    )
    rows = {row.subject: row for row in (await session.exec(query)).all()}
    return [rows[each.subject] for each in attempts]


def network_of(address: str) -> str:
    """What one client can easily change is one: an IPv6 address counts by its network."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, IPV6_PREFIX), strict=False))

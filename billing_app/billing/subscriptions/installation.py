"""Whose provider account this database belongs to, and whether it is still where it was.

A copied or restored database would charge, report and credit a second time what its original does.
It differs from the original only outside of its tables: by the server's identifier and timeline
and by the database's oid, which no dump, restore or template carries over. Where they differ from
what was recorded, nothing is written to the provider until somebody adopts the database.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderAccount,
)
from billing_app.billing.subscriptions.provider_errors import (
    PaymentProviderUnavailableError,
)
from billing_app.db.engine import Database
from billing_app.db.tables import OfferPrice, ProviderCustomer, ProviderIdentity

ADOPT: Final = "python -m billing_app adopt"
ADOPT_ACCOUNT: Final = f"{ADOPT} --new-stripe-account"
OID: Final = "SELECT oid::bigint FROM pg_database WHERE datname = current_database()"
SYSTEM: Final = "SELECT system_identifier FROM pg_control_system()"
# Of the write-ahead log: a point-in-time recovery begins a new one, on whatever host.
TIMELINE: Final = """
SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint
"""
# Syntax, rights, not supported, not in this state: the server answered, but does not tell.
NOT_TOLD: Final = ("42", "0A", "55")

log = structlog.get_logger(__name__)


class ProviderNotAdoptedError(BillingError):
    """This database may not write to the provider's account. Nothing was sent.

    `str()` is one line for the operator, who alone can mend it; `detail` is for everyone else.
    `is_other_account`: the account or its mode differs from the database's; else it is a copy.
    """

    code = "provider_not_adopted"
    title = "Payments are paused on this installation"

    def __init__(self, advice: str, *, is_other_account: bool) -> None:
        super().__init__(
            "Payments are paused on this installation. Nothing was sent to the payment provider."
        )
        self.advice = advice
        self.is_other_account = is_other_account

    def __str__(self) -> str:
        return self.advice


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is. None: its server does not tell."""

    system_identifier: int | None
    timeline: int | None
    database_oid: int


@dataclass(slots=True)
class Installation:
    """`_read_account` asks the provider; its answer is asked for once in a process."""

    _database: Database
    _read_account: Callable[[], Awaitable[ProviderAccount]]
    _account: ProviderAccount | None = field(default=None)

    async def permit(self) -> str:
        """The mark for a write to the provider; belongs to its account from the first one on.

        Raises ProviderNotAdoptedError, and what the provider raises when it is first asked.
        """
        identity, place = await self.read()
        if identity is not None and is_copy(identity, place):
            raise copied()
        account = await self.account()
        if identity is None:
            identity = await self._begin(account, place, datetime.now(UTC))
        _require_same(identity, account)
        return identity.mark

    async def require_account(self) -> None:
        """Raises ProviderNotAdoptedError on another account or mode, and what the provider raises.
        A copy of the database passes."""
        identity, _ = await self.read()
        account = await self.account()
        if identity is not None:
            _require_same(identity, account)

    async def advice(self) -> str:
        """What the operator has to do before anything is written again; "" when nothing. Asks no
        provider."""
        identity, place = await self.read()
        if identity is None:
            return ""
        if self._account is not None and is_other(identity, self._account):
            return str(other_account(identity, self._account))
        return str(copied()) if is_copy(identity, place) else ""

    async def account(self) -> ProviderAccount:
        """The account of the key. Raises what the provider raises."""
        if self._account is None:
            self._account = await self._read_account()
        return self._account

    async def read(self) -> tuple[ProviderIdentity | None, Place]:
        """What was recorded, and where the database is now."""
        async with self._database.asking() as session:
            identity = await session.get(ProviderIdentity, 1)
            return identity, await read_place(session)

    async def _begin(
        self, account: ProviderAccount, place: Place, now: datetime
    ) -> ProviderIdentity:
        async with self._database.transaction() as session:
            mark = "" if await _is_older(session) else ids.new_id("")
            values = identity_values(account, place, now) | {"id": 1, "mark": mark}
            statement = insert(ProviderIdentity).values(**values)
            await (await session.connection()).execute(statement.on_conflict_do_nothing())
            identity = await session.get(ProviderIdentity, 1)
        assert identity is not None
        return identity


def identity_values(account: ProviderAccount, place: Place, now: datetime) -> dict[str, Any]:
    """What is recorded of an account and a place."""
    return {
        "provider_account_id": account.provider_id,
        "is_live": account.is_live,
        "system_identifier": place.system_identifier,
        "timeline": place.timeline,
        "database_oid": place.database_oid,
        "adopted_at": now,
    }


async def may_write(provider: PaymentProvider, job: str) -> bool:
    """Whether a job may begin; logs why not. It finds out itself when the provider is down."""
    try:
        await provider.require_writable()
    except ProviderNotAdoptedError as error:
        log.warning("job_skipped", job=job, code=error.code, advice=error.advice)
        return False
    except PaymentProviderUnavailableError:
        return True
    return True


async def own_marks(session: AsyncSession) -> frozenset[str]:
    """The marks of what this database, or one that it was copied from, created at the provider;
    with "", since what has no mark is older than marks."""
    identity = await session.get(ProviderIdentity, 1)
    return frozenset(["", identity.mark, *identity.earlier_marks] if identity else [""])


def is_copy(identity: ProviderIdentity, place: Place) -> bool:
    """Whether the database is elsewhere than recorded; what either side lacks tells nothing."""
    pairs = (
        (identity.system_identifier, place.system_identifier),
        (identity.timeline, place.timeline),
        (identity.database_oid, place.database_oid),
    )
    return any(then != now for then, now in pairs if None not in (then, now))


def is_other(identity: ProviderIdentity, account: ProviderAccount) -> bool:
    known = None not in (identity.provider_account_id, account.provider_id)
    differs = known and identity.provider_account_id != account.provider_id
    return differs or identity.is_live != account.is_live


def describe(account_id: str | None, *, is_live: bool) -> str:
    mode = "live mode" if is_live else "test mode"
    return f"{account_id or 'an account that its key may not read'} ({mode})"


def copied() -> ProviderNotAdoptedError:
    return ProviderNotAdoptedError(
        "This database is a copy or was restored: nothing is written to Stripe. If its original"
        f" no longer runs, go on with: {ADOPT}",
        is_other_account=False,
    )


def other_account(identity: ProviderIdentity, account: ProviderAccount) -> ProviderNotAdoptedError:
    ours = describe(identity.provider_account_id, is_live=identity.is_live)
    theirs = describe(account.provider_id, is_live=account.is_live)
    return ProviderNotAdoptedError(
        f"This database belongs to Stripe account {ours}, but STRIPE_SECRET_KEY is of {theirs}."
        f" Set the key of the former, or go on with the latter: {ADOPT_ACCOUNT}",
        is_other_account=True,
    )


def _require_same(identity: ProviderIdentity, account: ProviderAccount) -> None:
    if is_other(identity, account):
        raise other_account(identity, account)


async def _is_older(session: AsyncSession) -> bool:
    """Whether it used the provider before there were marks: its keys stay as they were, so that
    what is pending still matches."""
    for table in (ProviderCustomer, OfferPrice):
        if (await session.exec(select(table).limit(1))).first() is not None:
            return True
    return False


async def read_place(session: AsyncSession) -> Place:
    """Where the session's database is; the session commits each statement by itself."""
    oid = await _told(session, OID)
    assert oid is not None
    return Place(await _told(session, SYSTEM), await _told(session, TIMELINE), oid)


async def _told(session: AsyncSession, question: str) -> int | None:
    """None when the server does not tell; each statement is a transaction of its own."""
    connection = await session.connection()
    try:
        return (await connection.execute(text(question))).scalar_one()
    except DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        if not state.startswith(NOT_TOLD):
            raise
        return None

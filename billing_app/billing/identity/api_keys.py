"""Service keys: shown once, stored as a hash, and cached for a few seconds."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, cast

import structlog
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import col, or_, select, update

from billing_app.billing.accounts.names import checked_name
from billing_app.billing.actors import OperatorActor, ServiceActor, require_operator
from billing_app.billing.errors import (
    CannotDecideError,
    InvalidInputError,
    NotAuthenticatedError,
    OrganizationNotFoundError,
)
from billing_app.billing.identity.key_format import HINT_LENGTH, new_secret
from billing_app.db.engine import Database
from billing_app.db.enums import Scope, StaffRole
from billing_app.db.tables import Account, ApiKey

CACHE_SECONDS: Final = 3.0
MAX_CACHED: Final = 10_000
UNREACHABLE: Final = (OperationalError, PoolTimeoutError)
MAX_LISTED: Final = 200
USE_NOTED_EVERY: Final = timedelta(minutes=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NewKey:
    """`secret` is shown once and stored nowhere."""

    id: int
    secret: str


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as shown in lists; `hint` is its first characters."""

    id: int
    name: str
    hint: str
    scopes: list[str]
    organization_id: str | None
    staff_role: str | None
    revoked: bool
    expires_at: datetime | None


async def create_key(
    database: Database,
    actor: OperatorActor,
    *,
    name: str,
    scopes: frozenset[Scope],
    organization_id: str | None,
    now: datetime,
    expires_at: datetime | None = None,
    staff_role: StaffRole | None = None,
) -> NewKey:
    """Create a key for an organization, or for the platform when `organization_id` is None.

    A key with the scope `staff` belongs to the platform and has a role. Raises InvalidInputError,
    OrganizationNotFoundError.
    """
    require_operator(actor)
    name = checked_name(name)
    if not scopes:
        raise InvalidInputError("A key needs at least one scope.")
    if (Scope.STAFF in scopes) is not (staff_role is not None):
        raise InvalidInputError("Only a key with the scope staff has a role, and it needs one.")
    if staff_role is not None and organization_id is not None:
        raise InvalidInputError("A key with the scope staff cannot belong to an organization.")
    if expires_at is not None and expires_at <= now:
        raise InvalidInputError("The key would have expired already.", field="expires_at")
    secret = new_secret()
    row = ApiKey(
        name=name,
        key_hash=hash_key(secret),
        hint=secret[:HINT_LENGTH],
        scopes=sorted(scopes),
        organization_id=organization_id,
        staff_role=staff_role,
        created_at=now,
        expires_at=expires_at,
    )
    try:
        async with database.transaction() as session:
            session.add(row)
            await session.flush()
    except IntegrityError:
        raise OrganizationNotFoundError(organization_id=organization_id) from None
    assert row.id is not None
    return NewKey(id=row.id, secret=secret)


async def revoke_key(
    database: Database, actor: OperatorActor, *, key_id: int, now: datetime
) -> bool:
    """Revoke a key, within CACHE_SECONDS everywhere; False when there is no such live key."""
    require_operator(actor)
    async with database.transaction() as session:
        row = await session.get(ApiKey, key_id, with_for_update=True)
        if row is None or row.revoked_at is not None:
            return False
        row.revoked_at = now
        session.add(row)
    return True


async def list_keys(database: Database, actor: OperatorActor) -> list[KeyView]:
    """The newest MAX_LISTED keys, newest first."""
    require_operator(actor)
    query = select(ApiKey).order_by(col(ApiKey.id).desc()).limit(MAX_LISTED)
    async with database.reading() as session:
        rows = (await session.exec(query)).all()
    return [
        KeyView(
            id=row.id or 0,
            name=row.name,
            hint=row.hint,
            scopes=row.scopes,
            organization_id=row.organization_id,
            staff_role=row.staff_role,
            revoked=row.revoked_at is not None,
            expires_at=row.expires_at,
        )
        for row in rows
    ]


class KeyRing:
    """Authenticates service keys; reads each key from the database once in CACHE_SECONDS."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[str, tuple[float, ServiceActor | None]] = {}
        self._noting: set[asyncio.Task[None]] = set()

    def cached(self, secret: str) -> ServiceActor | None:
        """The actor when it is cached and fresh; never reads the database."""
        entry = self._cached.get(secret)
        return entry[1] if entry and entry[0] > time.monotonic() else None

    async def authenticate(self, secret: str, now: datetime) -> ServiceActor:
        """Raises NotAuthenticatedError when the key is unknown, revoked or expired, and
        CannotDecideError when the database cannot be reached."""
        entry = self._cached.get(secret)
        if entry is None or entry[0] <= time.monotonic():
            try:
                actor = await self.find(secret, now)
            except UNREACHABLE:
                raise CannotDecideError("The database is not reachable. Try again.") from None
            entry = (time.monotonic() + CACHE_SECONDS, actor)
            if len(self._cached) >= MAX_CACHED:
                self._cached.clear()
            self._cached[secret] = entry
        if entry[1] is None:
            raise NotAuthenticatedError("This API key is unknown, revoked or expired.")
        return entry[1]

    async def find(self, secret: str, now: datetime) -> ServiceActor | None:
        """The actor of a live key, read from the database, or None."""
        query = (
            select(ApiKey, col(Account.id))
            .join(Account, col(Account.user_id) == col(ApiKey.user_id), isouter=True)
            .where(ApiKey.key_hash == hash_key(secret))
            .where(col(ApiKey.revoked_at).is_(None))
        )
        async with self._database.reading() as session:
            found = (await session.exec(query)).first()
        if found is None:
            return None
        row: ApiKey = found[0]
        account_number = cast("int | None", found[1])
        is_orphan = row.user_id is not None and account_number is None
        if is_orphan or (row.expires_at is not None and row.expires_at <= now):
            return None
        assert row.id is not None
        self._note_use(row, now)
        return ServiceActor(
            row.id,
            frozenset(row.scopes),
            row.organization_id,
            name=row.name,
            staff_role=StaffRole(row.staff_role) if row.staff_role else None,
            account_number=account_number,
            user_id=row.user_id,
            workflow=row.workflow,
        )

    def _note_use(self, row: ApiKey, now: datetime) -> None:
        """Beside the request, once in a while: nobody waits for it."""
        if row.last_used_at is not None and row.last_used_at > now - USE_NOTED_EVERY:
            return
        task = asyncio.create_task(self._write_use(row.id, now), name="note use of a key")
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def _write_use(self, key_id: int | None, now: datetime) -> None:
        is_old = or_(
            col(ApiKey.last_used_at).is_(None), col(ApiKey.last_used_at) <= now - USE_NOTED_EVERY
        )
        statement = update(ApiKey).where(col(ApiKey.id) == key_id, is_old).values(last_used_at=now)
        try:
            async with self._database.transaction() as session:
                await session.exec(statement)
        except Exception as error:
            log.warning("key_use_not_noted", error=type(error).__name__)

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._noting:
            await asyncio.wait(self._noting)


def hash_key(secret: str) -> bytes:
    """A key has 256 random bits, so one round of SHA-256 is enough."""
    return sha256(secret.encode()).digest()

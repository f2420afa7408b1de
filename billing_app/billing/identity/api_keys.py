"""Service keys: shown once, stored as a hash, and cached for a few seconds."""

import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import col, select

from billing_app.billing.accounts.names import checked_name
from billing_app.billing.actors import OperatorActor, ServiceActor, require_operator
from billing_app.billing.errors import (
    CannotDecideError,
    InvalidInputError,
    NotAuthenticatedError,
    OrganizationNotFoundError,
)
from billing_app.db.engine import Database
from billing_app.db.enums import Scope, StaffRole
from billing_app.db.tables import ApiKey

KEY_PREFIX: Final = "bil_"
HINT_LENGTH: Final = 12
CACHE_SECONDS: Final = 3.0
MAX_CACHED: Final = 10_000
UNREACHABLE: Final = (OperationalError, PoolTimeoutError)
MAX_LISTED: Final = 200


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
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
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
        query = select(ApiKey).where(ApiKey.key_hash == hash_key(secret))
        query = query.where(col(ApiKey.revoked_at).is_(None))
        async with self._database.reading() as session:
            row = (await session.exec(query)).first()
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            return None
        assert row.id is not None
        role = StaffRole(row.staff_role) if row.staff_role else None
        return ServiceActor(
            row.id, frozenset(row.scopes), row.organization_id, name=row.name, staff_role=role
        )


def hash_key(secret: str) -> bytes:
    """A key has 256 random bits, so one round of SHA-256 is enough."""
    return sha256(secret.encode()).digest()

"""API keys that customers create for their own account: an organization's, or a person's.

Their holders are told a key once; only its hash is stored.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from unicodedata import category

from sqlalchemy import ColumnElement
from sqlmodel import col, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.accounts.names import CONTROLS_AND_HALVES, checked_name
from billing_app.billing.accounts.profiles import require_not_closed
from billing_app.billing.accounts.service import authorize_managing
from billing_app.billing.actors import Actor, UserActor, ViewingActor
from billing_app.billing.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from billing_app.billing.identity.api_keys import hash_key
from billing_app.billing.identity.key_format import HINT_LENGTH, new_secret, refuse_key
from billing_app.billing.lists.paging import Page, decode_cursor, encode_cursor
from billing_app.billing.staff.audit.audit_writing import CustomerAction, CustomerChange, record_own
from billing_app.db.engine import Database
from billing_app.db.enums import Scope
from billing_app.db.tables import Account, ApiKey

# What a customer may give: nothing that reaches beyond the account.
PERSONAL_SCOPES: Final = (Scope.EXECUTIONS, Scope.PLANS_READ)
ORGANIZATION_SCOPES: Final = (
    *PERSONAL_SCOPES,
    Scope.SUBSCRIPTIONS,
    Scope.ALERTS,
    Scope.WEBHOOKS,
)
USUAL_SCOPES: Final = frozenset(PERSONAL_SCOPES)
MAX_KEYS: Final = 100
MAX_WORKFLOW: Final = 255
MAX_DAYS: Final = 3650
OVERLAP: Final = timedelta(hours=24)
KEPT: Final = timedelta(days=30)
SHOWN: Final = 25


class KeyNotFoundError(NotFoundError):
    code = "api_key_not_found"
    title = "API key not found"


class TooManyKeysError(ConflictError):
    code = "too_many_api_keys"
    title = "Too many API keys"


@dataclass(frozen=True, slots=True)
class KeyFields:
    """`days` until it expires, None: never. `workflow` "": any."""

    name: str
    scopes: frozenset[Scope] = USUAL_SCOPES
    workflow: str = ""
    days: int | None = None


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key as its holders see it; `hint` is how it begins."""

    id: int
    name: str
    hint: str
    scopes: tuple[Scope, ...]
    workflow: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewOwnKey:
    """`secret` is shown once and stored nowhere."""

    key: OwnKey
    secret: str


async def list_own_keys(
    database: Database,
    actor: Actor,
    account_id: str,
    now: datetime,
    *,
    limit: int = SHOWN,
    cursor: str | None = None,
) -> Page[OwnKey]:
    """Keys of the account, newest first; those that ended longer ago than KEPT are left out.

    Raises what `_authorize` raises, and InvalidInputError for a cursor of another list.
    """
    async with database.reading() as session:
        account = await _authorize(session, actor, account_id, reading=True)
        since = now - KEPT
        query = (
            select(ApiKey)
            .where(*_of(account))
            .where(or_(col(ApiKey.revoked_at).is_(None), col(ApiKey.revoked_at) > since))
            .where(or_(col(ApiKey.expires_at).is_(None), col(ApiKey.expires_at) > since))
            .order_by(col(ApiKey.id).desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            query = query.where(col(ApiKey.id) < decode_cursor(cursor, int))
        rows = (await session.exec(query)).all()
    following = encode_cursor(rows[limit - 1].id or 0) if len(rows) > limit else None
    return Page([_view(row) for row in rows[:limit]], following)


async def create_own_key(
    database: Database, actor: Actor, account_id: str, fields: KeyFields, now: datetime
) -> NewOwnKey:
    """Raises InvalidInputError, TooManyKeysError, AccountClosedError, and what `_authorize`
    raises."""
    async with database.transaction() as session:
        account = await _authorize(session, actor, account_id)
        person = _person(actor)
        fields = _checked(account, fields)
        await session.get_one(Account, account.id, with_for_update=True)
        await require_not_closed(session, account.id)
        await _require_room(session, account, now)
        row = _row(account, person, fields, now)
        secret = await _insert(session, row)
        change = CustomerChange(CustomerAction.CREATE_KEY, "key", "", _called(row))
        await record_own(session, person, account.id, change, now)
        return NewOwnKey(_view(row), secret)


async def rotate_own_key(
    database: Database, actor: Actor, account_id: str, key_id: int, now: datetime
) -> NewOwnKey:
    """A new key in place of one that is valid for OVERLAP more, if it does not expire before.

    Raises KeyNotFoundError, TooManyKeysError, and what `_authorize` raises.
    """
    async with database.transaction() as session:
        account = await _authorize(session, actor, account_id)
        person = _person(actor)
        await session.get_one(Account, account.id, with_for_update=True)
        old = await _lock(session, account, key_id, now)
        await _require_room(session, account, now)
        lasts = old.expires_at - old.created_at if old.expires_at else None
        fields = KeyFields(old.name, frozenset(map(Scope, old.scopes)), old.workflow)
        row = _row(account, person, fields, now)
        row.expires_at = now + lasts if lasts else None
        ends = now + OVERLAP
        old.expires_at = min(old.expires_at or ends, ends)
        session.add(old)
        secret = await _insert(session, row)
        change = CustomerChange(CustomerAction.ROTATE_KEY, "key", _called(old), _called(row))
        await record_own(session, person, account.id, change, now)
        return NewOwnKey(_view(row), secret)


async def revoke_own_key(
    database: Database, actor: Actor, account_id: str, key_id: int, now: datetime
) -> None:
    """Every process refuses it within 5 seconds. Raises KeyNotFoundError, and what `_authorize`
    raises."""
    async with database.transaction() as session:
        account = await _authorize(session, actor, account_id)
        person = _person(actor)
        row = await _lock(session, account, key_id, now)
        row.revoked_at = now
        session.add(row)
        change = CustomerChange(CustomerAction.REVOKE_KEY, "key", _called(row), "")
        await record_own(session, person, account.id, change, now)


def scopes_for(*, is_personal: bool) -> tuple[Scope, ...]:
    """What keys of such an account can be allowed to do."""
    return PERSONAL_SCOPES if is_personal else ORGANIZATION_SCOPES


async def _authorize(
    session: AsyncSession, actor: Actor, account_id: str, *, reading: bool = False
) -> Account:
    """People who sign in here and may manage the account; staff who view it may look.

    A key creates no keys, and people of portal links are customers of a product that has its own.
    Raises AccountNotFoundError, ForbiddenError, ReadOnlyError.
    """
    is_looking = reading and isinstance(actor, ViewingActor)
    account = await authorize_managing(session, actor, account_id, reading=is_looking)
    if not isinstance(actor, (UserActor, ViewingActor)):
        raise ForbiddenError("Only people who sign in here can manage API keys.")
    return account


def _person(actor: Actor) -> UserActor:
    assert isinstance(actor, UserActor)  # others were refused
    return actor


def _checked(account: Account, fields: KeyFields) -> KeyFields:
    allowed = scopes_for(is_personal=account.user_id is not None)
    if not fields.scopes or not fields.scopes <= set(allowed):
        raise InvalidInputError("Choose what the key may do.", field="scopes")
    workflow = fields.workflow.strip()
    has_control = any(category(each) in CONTROLS_AND_HALVES for each in workflow)
    if len(workflow) > MAX_WORKFLOW or has_control:
        raise InvalidInputError(
            f"A workflow has at most {MAX_WORKFLOW} characters, and no control characters.",
            field="workflow",
        )
    refuse_key(workflow, field="workflow")
    if fields.days is not None and not 1 <= fields.days <= MAX_DAYS:
        raise InvalidInputError(f"Enter 1 to {MAX_DAYS:,} days.", field="days")
    return replace(fields, name=checked_name(fields.name), workflow=workflow)


def _of(account: Account) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (
        col(ApiKey.organization_id) == account.organization_id,
        col(ApiKey.user_id).is_(None)
        if account.user_id is None
        else col(ApiKey.user_id) == account.user_id,
    )


async def _require_room(session: AsyncSession, account: Account, now: datetime) -> None:
    """The account is locked."""
    query = (
        select(func.count())
        .select_from(ApiKey)
        .where(*_of(account))
        .where(col(ApiKey.revoked_at).is_(None))
        .where(or_(col(ApiKey.expires_at).is_(None), col(ApiKey.expires_at) > now))
    )
    if (await session.exec(query)).one() >= MAX_KEYS:
        raise TooManyKeysError(f"An account can have {MAX_KEYS} keys. Revoke one first.")


async def _lock(session: AsyncSession, account: Account, key_id: int, now: datetime) -> ApiKey:
    """A key that is valid. Raises KeyNotFoundError."""
    query = select(ApiKey).where(*_of(account), col(ApiKey.id) == key_id).with_for_update()
    row = (await session.exec(query)).first()
    if row is None or row.revoked_at is not None:
        raise KeyNotFoundError
    if row.expires_at is not None and row.expires_at <= now:
        raise KeyNotFoundError("This key has expired.")
    return row


def _row(account: Account, person: UserActor, fields: KeyFields, now: datetime) -> ApiKey:
    """Without its hash."""
    return ApiKey(
        name=fields.name,
        key_hash=b"",
        hint="",
        scopes=sorted(fields.scopes),
        organization_id=account.organization_id,
        user_id=account.user_id,
        workflow=fields.workflow,
        created_by=person.user_id,
        created_at=now,
        expires_at=now + timedelta(days=fields.days) if fields.days else None,
    )


async def _insert(session: AsyncSession, row: ApiKey) -> str:
    secret = new_secret()
    row.key_hash, row.hint = hash_key(secret), secret[:HINT_LENGTH]
    session.add(row)
    await session.flush()
    return secret


def _called(row: ApiKey) -> str:
    return f"{row.name} ({row.hint}…)"


def _view(row: ApiKey) -> OwnKey:
    assert row.id is not None
    return OwnKey(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=tuple(Scope(each) for each in row.scopes),
        workflow=row.workflow,
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )

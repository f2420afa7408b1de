"""Links with which a service sends its own people to our pages, signed in for one account.

A link opens one session, once, within minutes; the session ends after a day. The person gets no
sign-in and no membership here: what they may do is the role that the service gave the link.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from unicodedata import category
from urllib.parse import urlsplit

from sqlalchemy import update
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.names import CONTROLS_AND_HALVES
from billing_app.billing.accounts.portal_sessions import PORTAL
from billing_app.billing.accounts.service_keys import require_key, require_service
from billing_app.billing.actors import Actor
from billing_app.billing.errors import AccountNotFoundError, ConflictError, InvalidInputError
from billing_app.billing.identity.sessions import SignedIn, clean_email, hash_token
from billing_app.billing.staff.audit.audit_writing import ServiceAction, service_entry
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, AuditRole, Role, Scope
from billing_app.db.tables import Account, AuditEntry, PortalLink, PortalSession

SESSION_HOURS: Final = 24
DEFAULT_LINK_SECONDS: Final = 300
MIN_LINK_SECONDS: Final = 30
MAX_LINK_SECONDS: Final = 3_600
BY_LINK: Final = "Opened with a portal link."


class PortalLinkExpiredError(ConflictError):
    code = "portal_link_expired"
    title = "This link has expired"


@dataclass(frozen=True, slots=True)
class PortalPerson:
    """Somebody of the product, by the product's id."""

    id: str
    email: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class PortalRequest:
    """`page` is a path of ours; `return_url` is on one of the allowed origins."""

    person: PortalPerson
    role: Role
    return_url: str
    page: str
    expires_in_seconds: int = DEFAULT_LINK_SECONDS


@dataclass(frozen=True, slots=True)
class NewPortalLink:
    """`token` is in the link and stored nowhere."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OpenedPortal:
    signed_in: SignedIn
    page: str


def require_return_origin(url: str, origins: frozenset[str]) -> None:
    """Raises InvalidInputError unless the URL is on one of the origins."""
    try:
        parts = urlsplit(url)
        given = f"{parts.scheme}://{parts.netloc}"
    except ValueError:
        given = ""
    is_plain = not any(category(each)[0] in "CZ" for each in url) and "\\" not in url
    if given.lower() not in origins or not is_plain:
        raise InvalidInputError(
            "return_url must start with an origin of PORTAL_RETURN_ORIGINS.", field="return_url"
        )


async def create_link(
    database: Database, actor: Actor, account_id: str, request: PortalRequest, now: datetime
) -> NewPortalLink:
    """A link for a person of the product, with an entry in the audit log.

    Raises InvalidInputError, AccountNotFoundError, ForbiddenError, ScopeMissingError.
    """
    service = require_service(actor, Scope.ACCOUNTS)
    person = _checked_person(request.person)
    if not MIN_LINK_SECONDS <= request.expires_in_seconds <= MAX_LINK_SECONDS:
        raise InvalidInputError(
            f"expires_in_seconds must be from {MIN_LINK_SECONDS} to {MAX_LINK_SECONDS}.",
            field="expires_in_seconds",
        )
    token = secrets.token_urlsafe(32)
    expires_at = now + timedelta(seconds=request.expires_in_seconds)
    async with database.transaction() as session:
        account = await session.get(Account, ids.decode_account(account_id) or 0)
        if account is None:
            raise AccountNotFoundError
        require_key(actor, Scope.ACCOUNTS, account.organization_id)
        if account.kind == AccountKind.USER and request.role is not Role.OWNER:
            raise InvalidInputError(
                "The role of a user of the public organization is owner.", field="role"
            )
        link = PortalLink(
            token_hash=hash_token(token),
            account_id=account.id,
            person_id=person.id,
            person_name=person.name,
            person_email=person.email,
            role=request.role,
            page=request.page,
            return_url=request.return_url,
            created_at=now,
            expires_at=expires_at,
        )
        session.add(link)
        after = {"role": str(request.role), "until": expires_at.isoformat()}
        entry = service_entry(
            service,
            account.id,
            ServiceAction.CREATE_PORTAL_LINK,
            now,
            subject=person.id,
            after=after,
        )
        session.add(entry)
    return NewPortalLink(token, expires_at)


async def open_link(
    database: Database, token: str, *, user_agent: str, now: datetime
) -> OpenedPortal:
    """A session of its person, once. Raises PortalLinkExpiredError when the link was used, is too
    old or unknown."""
    session_token = PORTAL + secrets.token_urlsafe(32)
    async with database.transaction() as session:
        link = await _take(session, token, now)
        row = PortalSession(
            token_hash=hash_token(session_token),
            account_id=link.account_id,
            person_id=link.person_id,
            person_name=link.person_name,
            person_email=link.person_email,
            role=link.role,
            return_url=link.return_url,
            user_agent=user_agent[:255],
            created_at=now,
            expires_at=now + timedelta(hours=SESSION_HOURS),
        )
        session.add(row)
        session.add(_opened_entry(row, now))
    return OpenedPortal(SignedIn(session_token, link.person_id, row.expires_at), link.page)


async def _take(session: AsyncSession, token: str, now: datetime) -> PortalLink:
    """Of many at once, one gets it."""
    statement = (
        update(PortalLink)
        .where(col(PortalLink.token_hash) == hash_token(token))
        .where(col(PortalLink.used_at).is_(None), col(PortalLink.expires_at) > now)
        .values(used_at=now)
        .returning(col(PortalLink.token_hash))
    )
    if (await (await session.connection()).execute(statement)).first() is None:
        raise PortalLinkExpiredError
    return await session.get_one(PortalLink, hash_token(token))


def _opened_entry(row: PortalSession, now: datetime) -> AuditEntry:
    return AuditEntry(
        at=now,
        actor_id=row.person_id,
        actor_name=row.person_name or row.person_email[:255] or row.person_id,
        role=AuditRole.CUSTOMER,
        own_account=True,
        action=ServiceAction.OPEN_PORTAL,
        account_id=row.account_id,
        subject=row.person_id,
        reason=BY_LINK,
        before={},
        after={"role": row.role, "until": row.expires_at.isoformat()},
    )


def _checked_person(person: PortalPerson) -> PortalPerson:
    """Raises InvalidInputError."""
    if not 1 <= len(person.id) <= 255 or len(person.name) > 255:
        raise InvalidInputError(
            "person: id has 1 to 255 characters, name at most 255.", field="person"
        )
    if any(category(each) in CONTROLS_AND_HALVES for each in person.id + person.name):
        raise InvalidInputError("person must not contain control characters.", field="person")
    email = clean_email(person.email) if person.email else ""
    return PortalPerson(person.id, email, person.name.strip())

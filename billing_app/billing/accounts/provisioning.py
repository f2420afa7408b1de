"""Organizations and users that services make and keep up to date, under ids of their own.

However many ask for the same one at once, it is made once; all of them get the same account.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.billing_details import DetailsQueue, lock_own
from billing_app.billing.accounts.external_ids import check_new_id
from billing_app.billing.accounts.names import checked_name
from billing_app.billing.accounts.profiles import (
    check_metadata,
    lock_profile,
    require_not_closed,
)
from billing_app.billing.accounts.provisioned_views import (
    SORTING,
    OrganizationView,
    UserView,
    organization_account,
    organization_of,
    organization_view,
    organizations,
    user_account,
    user_view,
)
from billing_app.billing.accounts.service_keys import require_key, require_service
from billing_app.billing.accounts.starting_offers import start_offer
from billing_app.billing.actors import Actor, ServiceActor
from billing_app.billing.errors import OrganizationNotFoundError, UserNotFoundError
from billing_app.billing.identity.email_links import of_account
from billing_app.billing.identity.sessions import clean_email
from billing_app.billing.lists.paging import Page
from billing_app.billing.plans import trial_uses, trials
from billing_app.billing.plans.inserting import add_plan
from billing_app.billing.plans.trials import TrialTerms
from billing_app.billing.staff.audit.audit_writing import ServiceAction, service_entry
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, Role, Scope, TrialUseKind
from billing_app.db.tables import Account, EmailChange, Membership, Organization, User


@dataclass(frozen=True, slots=True)
class AccountFields:
    """What a service says of an account. None leaves a field as it is; `billing_email` "" takes
    it away. `offer` is what a new account begins with."""

    name: str | None = None
    billing_email: str | None = None
    offer: str | None = None
    metadata: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Provisioning:
    database: Database
    terms: TrialTerms

    async def put_organization(
        self,
        actor: Actor,
        organization_id: str,
        fields: AccountFields,
        *,
        details_queue: DetailsQueue | None,
        now: datetime,
    ) -> tuple[OrganizationView, bool]:
        """The organization as it is now, and whether it is new.

        Raises InvalidInputError, ScopeMissingError, ForbiddenError, OfferStartedError,
        TrialTakenError, AccountClosedError.
        """
        key = require_key(actor, Scope.ACCOUNTS, organization_id)
        fields = _checked(fields)
        async with self.database.transaction() as session:
            account, is_new = await self._organization(session, organization_id, fields, now)
            await require_not_closed(session, account.id)
            organization = await session.get_one(Organization, organization_id)
            before, organization.name = organization.name, fields.name or organization.name
            session.add(organization)
            change = _Change(key, account.id, is_new=is_new, now=now)
            await change.names(session, before, organization.name)
            await self._keep(session, change, fields, details_queue)
            return await organization_view(session, account.id), is_new

    async def put_user(
        self,
        actor: Actor,
        user_id: str,
        fields: AccountFields,
        *,
        details_queue: DetailsQueue | None,
        now: datetime,
    ) -> tuple[UserView, bool]:
        """The user of the public organization as they are now, and whether they are new. A new one
        gets the offer, or else a trial, unless somebody had one under the same billing email.

        Raises as `put_organization`.
        """
        key = require_key(actor, Scope.ACCOUNTS, self.terms.public_organization_id)
        fields = _checked(fields)
        async with self.database.transaction() as session:
            account, is_new = await self._user(session, user_id, fields, now)
            user = await session.get_one(User, user_id)
            before, user.name = user.name, user.name if fields.name is None else fields.name
            session.add(user)
            change = _Change(key, account.id, is_new=is_new, now=now)
            await change.names(session, before, user.name)
            await self._keep(session, change, fields, details_queue)
            return await user_view(session, account.id), is_new

    async def read_organization(self, actor: Actor, organization_id: str) -> OrganizationView:
        """Raises OrganizationNotFoundError, ScopeMissingError, ForbiddenError."""
        require_key(actor, Scope.ACCOUNTS, organization_id)
        async with self.database.reading() as session:
            account = await organization_account(session, organization_id)
            if account is None:
                raise OrganizationNotFoundError(organization_id=organization_id)
            return await organization_view(session, account.id)

    async def read_user(self, actor: Actor, user_id: str) -> UserView:
        """Raises UserNotFoundError, ScopeMissingError, ForbiddenError."""
        require_key(actor, Scope.ACCOUNTS, self.terms.public_organization_id)
        async with self.database.reading() as session:
            account = await user_account(session, user_id)
            if account is None:
                raise UserNotFoundError(user_id=user_id)
            return await user_view(session, account.id)

    async def list_organizations(
        self, actor: Actor, *, limit: int, cursor: str | None
    ) -> Page[OrganizationView]:
        """Newest first; a key of one organization sees that one. Raises InvalidInputError,
        ScopeMissingError, ForbiddenError."""
        key = require_service(actor, Scope.ACCOUNTS)
        span = SORTING.span(None, limit=limit, cursor=cursor)
        query = organizations()
        if key.organization_id is not None:
            query = query.where(col(Account.organization_id) == key.organization_id)
        async with self.database.reading() as session:
            rows, following = await span.fetch(session, query)
        return Page([organization_of(row) for row in rows], following)

    async def _organization(
        self, session: AsyncSession, organization_id: str, fields: AccountFields, now: datetime
    ) -> tuple[Account, bool]:
        """The account, locked, and whether it was made now."""
        known = await organization_account(session, organization_id, lock=True)
        if known is not None:
            return known, False
        public = self.terms.public_organization_id
        check_new_id(organization_id, field="organization_id", public_organization_id=public)
        row = {"id": organization_id, "name": fields.name, "created_at": now}
        await _insert(session, Organization, row)
        made = {"kind": AccountKind.ORGANIZATION, "organization_id": organization_id}
        is_new = await _insert_account(session, made, now)
        account = await organization_account(session, organization_id, lock=True)
        assert account is not None
        return account, is_new

    async def _user(
        self, session: AsyncSession, user_id: str, fields: AccountFields, now: datetime
    ) -> tuple[Account, bool]:
        known = await user_account(session, user_id, lock=True)
        if known is not None:
            return known, False
        public = self.terms.public_organization_id
        check_new_id(user_id, field="user_id", public_organization_id=public)
        # In the order of the hot path, which may enrol the same person now.
        await _insert(session, User, {"id": user_id, "name": fields.name or "", "created_at": now})
        member = {"organization_id": public, "user_id": user_id, "role": Role.MEMBER}
        await _insert(session, Membership, member | {"created_at": now})
        made = {"kind": AccountKind.USER, "organization_id": public, "user_id": user_id}
        is_new = await _insert_account(session, made, now)
        account = await user_account(session, user_id, lock=True)
        assert account is not None
        if is_new and fields.offer is None:
            await self._give_trial(session, account.id, fields.billing_email, now)
        return account, is_new

    async def _give_trial(
        self, session: AsyncSession, account_id: int, email: str | None, now: datetime
    ) -> None:
        if email and self.terms.one_per_person:
            person = trial_uses.person_of(email)
            if not await trial_uses.take(session, TrialUseKind.EMAIL, person, account_id, now):
                return
        await add_plan(session, trials.trial_plan(account_id, self.terms, now))

    async def _keep(
        self,
        session: AsyncSession,
        change: "_Change",
        fields: AccountFields,
        details_queue: DetailsQueue | None,
    ) -> None:
        """The offer, metadata and billing email; the provider hears of what it shows."""
        profile = await lock_profile(session, change.account_id)
        if fields.metadata is not None:
            profile.own_metadata = fields.metadata
            session.add(profile)
        if fields.offer is not None:
            await start_offer(session, profile, fields.offer, change.now)
        if fields.billing_email is not None:
            await change.billing_email(session, fields.billing_email or None)
        await session.flush()
        if change.figures and not change.is_new:
            await change.record(session)
            if details_queue is not None:
                await details_queue.customer_details(session, change.account_id)


class _Change:
    """What a request changes of a known account's details, for the audit log."""

    def __init__(self, key: ServiceActor, account_id: int, *, is_new: bool, now: datetime) -> None:
        self.account_id = account_id
        self.is_new = is_new
        self.now = now
        self.figures: dict[str, tuple[str, str]] = {}
        self._key = key

    async def names(self, session: AsyncSession, before: str, after: str) -> None:
        if before != after:
            self.figures["name"] = (before, after)
            await session.flush()

    async def billing_email(self, session: AsyncSession, email: str | None) -> None:
        """The service answers for the address: it is used at once, and a link to another is
        void."""
        own = await lock_own(session, self.account_id)
        if own.email == email:
            return
        self.figures["billing_email"] = (own.email or "", email or "")
        own.email = email
        session.add(own)
        await (await session.connection()).execute(
            delete(EmailChange).where(of_account(self.account_id))
        )

    async def record(self, session: AsyncSession) -> None:
        entry = service_entry(
            self._key,
            self.account_id,
            ServiceAction.UPDATE_ACCOUNT,
            self.now,
            before={name: before for name, (before, _) in self.figures.items()},
            after={name: after for name, (_, after) in self.figures.items()},
        )
        session.add(entry)
        await session.flush()


def _checked(fields: AccountFields) -> AccountFields:
    """Raises InvalidInputError."""
    if fields.metadata is not None:
        check_metadata(fields.metadata)
    return replace(
        fields,
        name=None if fields.name is None else checked_name(fields.name),
        billing_email=fields.billing_email
        and clean_email(fields.billing_email, field="billing_email"),
    )


async def _insert(session: AsyncSession, table: Any, row: dict[str, Any]) -> None:
    statement = insert(table).values(row).on_conflict_do_nothing()
    await (await session.connection()).execute(statement)


async def _insert_account(session: AsyncSession, row: dict[str, Any], now: datetime) -> bool:
    """False: there is one, also one whose transaction was under way."""
    values = row | {"id": ids.new_account_number(), "created_at": now}
    statement = insert(Account).values(values).on_conflict_do_nothing().returning(col(Account.id))
    return (await (await session.connection()).execute(statement)).first() is not None

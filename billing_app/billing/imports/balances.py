"""Imports accounts with balances, each in a transaction of its own: all of a row, or nothing.

A row is known by its account's external id and its key: importing it again changes nothing.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from billing_app.billing import ids
from billing_app.billing.accounts.external_ids import check_new_id
from billing_app.billing.accounts.service import PUBLIC_NAME
from billing_app.billing.actors import Actor, StaffActor, require_operator
from billing_app.billing.errors import (
    AccountClosedError,
    BillingError,
    CannotDecideError,
    ConflictError,
    InvalidInputError,
)
from billing_app.billing.executions import store
from billing_app.billing.executions.directory import Directory
from billing_app.billing.executions.group_commit import LOST_CONNECTION, TRANSIENT
from billing_app.billing.executions.requests import Adjust
from billing_app.billing.executions.service import Ledger
from billing_app.billing.imports.csv_rows import BalanceRow
from billing_app.billing.imports.import_states import KEY_PREFIX
from billing_app.billing.offers.catalogue import OfferView, find_offer
from billing_app.billing.plans.trials import TrialTerms
from billing_app.billing.quantities import counted
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import AuditRecord, ServiceAction, entry_of
from billing_app.billing.staff.repairs.drivers import LedgerTransaction, RehearsedError, answer_of
from billing_app.billing.subscriptions.proration import PERIODS
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, PlanSource, PlanType, Role
from billing_app.db.tables.plans import PACK_PRIORITY, QUEUE_PRIORITY
from billing_app.db.urls import for_asyncpg

NAME: Final = "Imported executions"
USED_BEFORE: Final = "Used before the import"
ACCOUNT: Final = f"""
SELECT id, blocked_at FROM accounts
WHERE organization_id = $1 AND kind = '{AccountKind.ORGANIZATION}' FOR UPDATE
"""  # noqa: S608
ACCOUNT_OF_USER: Final = f"""
SELECT id, blocked_at FROM accounts
WHERE user_id = $1 AND kind = '{AccountKind.USER}' FOR UPDATE
"""  # noqa: S608
NEW_USER: Final = """
INSERT INTO users (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
NEW_MEMBERSHIP: Final = f"""
INSERT INTO memberships (organization_id, user_id, role, created_at)
VALUES ($1, $2, '{Role.MEMBER}', $3) ON CONFLICT DO NOTHING
"""  # noqa: S608
NEW_ACCOUNT_OF_USER: Final = f"""
INSERT INTO accounts (id, kind, organization_id, user_id, created_at)
VALUES ($1, '{AccountKind.USER}', $2, $3, $4) ON CONFLICT DO NOTHING
"""  # noqa: S608
NEW_ORGANIZATION: Final = """
INSERT INTO organizations (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
NEW_ACCOUNT: Final = f"""
INSERT INTO accounts (id, kind, organization_id, created_at)
VALUES ($1, '{AccountKind.ORGANIZATION}', $2, $3) ON CONFLICT DO NOTHING
"""  # noqa: S608
NEW_EMAIL: Final = """
INSERT INTO billing_details (account_id, email) VALUES ($1, $2) ON CONFLICT DO NOTHING
"""
PROFILE: Final = """
SELECT offer_version_id, closed_at FROM account_profiles WHERE account_id = $1 FOR UPDATE
"""
KNOWN: Final = "SELECT request_hash FROM granted_plans WHERE account_id = $1 AND key = $2"
NEW_KEY: Final = """
INSERT INTO granted_plans (account_id, key, request_hash, answer, created_at)
VALUES ($1, $2, $3, $4, $5)
"""
LAST_PLAN: Final = "SELECT max(sequence) AS last FROM plans WHERE account_id = $1"
NEW_PLAN: Final = f"""
INSERT INTO plans (account_id, sequence, type, name, source, priority, offer_version_id,
                   executions, used, held, starts_at, ends_at, blocked_at, created_at)
VALUES ($1, $2, '{PlanType.PAID}', $3, '{PlanSource.CONTRACT}', $4, $5, $6, 0, 0, $7, $8, $9, $7)
"""  # noqa: S608
FREE_OFFER: Final = """
INSERT INTO account_profiles (account_id, offer_version_id, offer_since, refills_at)
VALUES ($1, $2, $3, $3)
ON CONFLICT (account_id) DO UPDATE
SET offer_version_id = excluded.offer_version_id, offer_since = excluded.offer_since,
    refills_at = excluded.refills_at
"""


class Imported(StrEnum):
    """What became of a row: the account is new, it had been there, or all was known."""

    CREATED = "created"
    ADDED = "added"
    KNOWN = "known"


@dataclass(slots=True)
class BalanceImporter:
    """Imports rows, one after another. With `dry_run` each is rolled back."""

    database: Database
    terms: TrialTerms
    connection: Any
    directory: Directory
    staff: StaffActor
    reason: str
    dry_run: bool
    _offers: dict[str, OfferView | BillingError] = field(
        default_factory=dict[str, OfferView | BillingError], init=False
    )
    _rehearsed: set[str] = field(default_factory=set[str], init=False)

    async def row(self, row: BalanceRow, now: datetime) -> Imported:
        """Raises BillingError for a row that cannot be imported, of which nothing is kept;
        CannotDecideError when the database does not respond."""
        offer = await self._offer(row.offer) if row.offer else None
        results: list[Imported] = []
        try:
            with suppress(RehearsedError):
                async with self.connection.transaction():
                    await store.find_shards(self.connection, self.directory)
                    ledger = Ledger(self.connection, self.directory)
                    results.append(await self._import(ledger, row, offer, now))
                    if self.dry_run:
                        raise RehearsedError
        except (*LOST_CONNECTION, *TRANSIENT, asyncpg.LockNotAvailableError):
            raise CannotDecideError(
                "The database did not respond. Run the command again: it goes on."
            ) from None
        return self._as_if_kept(row, results[0]) if self.dry_run else results[0]

    def _as_if_kept(self, row: BalanceRow, result: Imported) -> Imported:
        """An earlier line made the account, and was rolled back."""
        name = f"{row.kind} {row.external_id}"
        if result is Imported.CREATED and name in self._rehearsed:
            return Imported.ADDED if row.has_balance else Imported.KNOWN
        self._rehearsed.add(name)
        return result

    async def _offer(self, code: str) -> OfferView:
        known = self._offers.get(code)
        if known is None:
            try:
                async with self.database.reading() as session:
                    known = await find_offer(session, code)
            except BillingError as error:
                known = error
            self._offers[code] = known
        if isinstance(known, BillingError):
            raise known
        return known

    async def _import(
        self, ledger: Ledger, row: BalanceRow, offer: OfferView | None, now: datetime
    ) -> Imported:
        account_id, blocked_at, is_new = await self._account(row, now)
        if not row.has_balance:
            return Imported.CREATED if is_new else Imported.KNOWN
        key = f"{KEY_PREFIX}{row.key}"
        known = await self.connection.fetch(KNOWN, account_id, key)
        if known and bytes(known[0]["request_hash"]) != row.fingerprint():
            raise ConflictError(
                "was imported with other values; give a further balance its own key"
            )
        if known:
            return Imported.KNOWN
        balance = _balance(row, offer, now)
        await self._begin_free_offer(account_id, offer, balance.ends_at)
        last = (await self.connection.fetch(LAST_PLAN, account_id))[0]["last"]
        plan = (account_id, (last or 0) + 1)
        await self.connection.execute(
            NEW_PLAN,
            *plan,
            balance.name,
            balance.priority,
            offer.version_id if offer else None,
            balance.executions,
            now,
            balance.ends_at,
            blocked_at,
        )
        if row.used:
            used = Adjust(account_id, [(plan[1], row.used)], USED_BEFORE)
            answer_of((await ledger.decide([used]))[0])
        await self.connection.execute(NEW_KEY, account_id, key, row.fingerprint(), b"{}", now)
        await self._record(ledger, plan, balance, row.used, now)
        return Imported.CREATED if is_new else Imported.ADDED

    async def _account(self, row: BalanceRow, now: datetime) -> tuple[int, datetime | None, bool]:
        """The account's number, locked, its block, and whether it was made now."""
        statement = ACCOUNT_OF_USER if row.kind is AccountKind.USER else ACCOUNT
        rows = await self.connection.fetch(statement, row.external_id)
        if rows:
            profile = await self.connection.fetch(PROFILE, rows[0]["id"])
            if profile and profile[0]["closed_at"] is not None:
                raise AccountClosedError
            return rows[0]["id"], rows[0]["blocked_at"], False
        public = self.terms.public_organization_id
        check_new_id(row.external_id, field="external_id", public_organization_id=public)
        number = ids.new_account_number()
        await self._add_account(number, row, now)
        rows = await self.connection.fetch(statement, row.external_id)
        is_new = rows[0]["id"] == number
        if is_new and row.email:
            await self.connection.execute(NEW_EMAIL, number, row.email)
        return rows[0]["id"], rows[0]["blocked_at"], is_new

    async def _add_account(self, number: int, row: BalanceRow, now: datetime) -> None:
        """Unless another process does meanwhile. A user comes in the order of the hot path, which
        may enrol the same person now; the balance is instead of a trial."""
        execute, public = self.connection.execute, self.terms.public_organization_id
        if row.kind is AccountKind.ORGANIZATION:
            await execute(NEW_ORGANIZATION, row.external_id, row.name or row.external_id, now)
            await execute(NEW_ACCOUNT, number, row.external_id, now)
            return
        await execute(NEW_ORGANIZATION, public, PUBLIC_NAME, now)
        await execute(NEW_USER, row.external_id, row.name, now)
        await execute(NEW_MEMBERSHIP, public, row.external_id, now)
        await execute(NEW_ACCOUNT_OF_USER, number, public, row.external_id, now)

    async def _begin_free_offer(
        self, account_id: int, offer: OfferView | None, ends_at: datetime | None
    ) -> None:
        """A free subscription refills from the balance's end on."""
        if offer is None or ends_at is None or not _is_free(offer):
            return
        profile = await self.connection.fetch(PROFILE, account_id)
        if profile and profile[0]["offer_version_id"] is not None:
            raise ConflictError("the account has a free offer or a trial already")
        await self.connection.execute(FREE_OFFER, account_id, offer.version_id, ends_at)

    async def _record(
        self, ledger: Ledger, plan: tuple[int, int], balance: "_Balance", used: int, now: datetime
    ) -> None:
        plan_id = ids.encode(ids.PLAN, *plan)
        after = {"plan_id": plan_id, "executions": balance.executions}
        audit_record = AuditRecord(
            ServiceAction.ADD_PLAN,
            self.reason,
            account_id=plan[0],
            subject=plan_id,
            after=after | ({"used": used} if used else {}),
        )
        entry = entry_of(self.staff, audit_record, now, own_account=False)
        await LedgerTransaction(ledger).add(entry)


@dataclass(frozen=True, slots=True)
class _Balance:
    name: str
    priority: int
    executions: int
    ends_at: datetime | None


def _balance(row: BalanceRow, offer: OfferView | None, now: datetime) -> _Balance:
    """Raises InvalidInputError."""
    executions = row.executions
    if executions is None:
        assert offer is not None
        executions = offer.executions
    if row.used > executions:
        raise InvalidInputError(f"used is {row.used:,} of {counted(executions, 'execution')}")
    ends_at = row.ends_at
    if ends_at is not None and ends_at <= now:
        raise InvalidInputError(f"ends_at is in the past: {ends_at:%Y-%m-%d %H:%M} UTC")
    if ends_at is None and offer is not None and _is_free(offer):
        ends_at = now + PERIODS[offer.interval]
    usual = QUEUE_PRIORITY if ends_at else PACK_PRIORITY
    return _Balance(
        offer.name if offer else NAME, offer.priority if offer else usual, executions, ends_at
    )


def _is_free(offer: OfferView) -> bool:
    return offer.is_subscription and offer.price_minor == 0


@asynccontextmanager
async def open_importer(
    database: Database, terms: TrialTerms, actor: Actor, *, reason: str, dry_run: bool
) -> AsyncGenerator[BalanceImporter]:
    """On a connection of its own. Raises ForbiddenError, CannotDecideError."""
    require_operator(actor)
    staff = require(actor, Action.GRANT)
    try:
        connection = await store.connect(for_asyncpg(database.url))
    except LOST_CONNECTION:
        raise CannotDecideError("The database does not respond. Try again.") from None
    try:
        yield BalanceImporter(database, terms, connection, Directory(terms), staff, reason, dry_run)
    finally:
        await connection.close(timeout=1)

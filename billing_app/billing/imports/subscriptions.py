"""Takes a payment provider's subscriptions over, one customer at a time.

The account, the note at the provider, the plans of what was paid and what was used so far come in
that order, each safe to repeat: a run that was stopped goes on where it was. Afterwards webhooks,
reconciliation and renewals treat the subscription as any other; nothing is charged for it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.accounts.billing_details import lock_own
from billing_app.billing.accounts.external_ids import check_new_id
from billing_app.billing.accounts.names import checked_name
from billing_app.billing.accounts.profiles import require_not_closed
from billing_app.billing.accounts.provisioned_views import organization_account
from billing_app.billing.actors import Actor, require_operator
from billing_app.billing.errors import ConflictError, InvalidInputError
from billing_app.billing.executions.requests import Adjust
from billing_app.billing.executions.service import Executions
from billing_app.billing.identity.sessions import clean_email
from billing_app.billing.imports.balances import USED_BEFORE
from billing_app.billing.imports.foreign import ForeignAccount, ForeignCustomer
from billing_app.billing.imports.import_states import BEGUN, DONE, KEY_PREFIX
from billing_app.billing.imports.subscription_plans import SubscriptionPlan
from billing_app.billing.plans.trials import TrialTerms
from billing_app.billing.staff.access.permissions import Action, require
from billing_app.billing.staff.audit.audit_writing import (
    AuditRecord,
    ServiceAction,
    entry_of,
)
from billing_app.billing.staff.repairs.drivers import answer_of
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.db.engine import Database
from billing_app.db.enums import AccountKind, PlanSource
from billing_app.db.tables import Account, GrantedPlan, Organization, ProviderCustomer

STATE: Final = "SELECT answer FROM granted_plans WHERE account_id = $1 AND key = $2 FOR UPDATE"
FINISH: Final = "UPDATE granted_plans SET answer = $3 WHERE account_id = $1 AND key = $2"
# The current period's plan has its invoice's id alone as its reference (sold_lines.py).
OPEN_PLANS: Final = f"""
SELECT sequence, executions - used - held AS remaining,
       ends_at = $2 AND source_reference NOT LIKE '%:%' AS is_current
FROM plans
WHERE account_id = $1 AND source = '{PlanSource.SUBSCRIPTION}' AND ended_at IS NULL
  AND ends_at > now()
ORDER BY sequence DESC
"""  # noqa: S608


class Standing(StrEnum):
    """Of a customer here: not known, an import that has begun, or one of ours."""

    UNKNOWN = "unknown"
    BEGUN = "begun"
    OURS = "ours"


async def standings(database: Database, plans: Collection[SubscriptionPlan]) -> dict[str, Standing]:
    """By subscription."""
    customers = [plan.subscription.customer.customer_id for plan in plans]
    query = select(ProviderCustomer).where(col(ProviderCustomer.customer_id).in_(customers))
    async with database.reading() as session:
        rows = {row.customer_id: row.account_id for row in (await session.exec(query)).all()}
        imports = select(GrantedPlan).where(
            col(GrantedPlan.account_id).in_(list(rows.values())),
            col(GrantedPlan.key).in_([key_of(plan) for plan in plans]),
        )
        begun = {
            (row.account_id, row.key)
            for row in (await session.exec(imports)).all()
            if row.answer != DONE
        }
    found: dict[str, Standing] = {}
    for plan in plans:
        account_id = rows.get(plan.subscription.customer.customer_id)
        standing = Standing.UNKNOWN if account_id is None else Standing.OURS
        if (account_id, key_of(plan)) in begun:
            standing = Standing.BEGUN
        found[plan.subscription.subscription_id] = standing
    return found


def key_of(plan: SubscriptionPlan) -> str:
    return f"{KEY_PREFIX}{plan.subscription.subscription_id}"


@dataclass(frozen=True, slots=True)
class SubscriptionImporter:
    """Takes subscriptions that have no problem, of customers that are not ours yet."""

    database: Database
    account: ForeignAccount
    syncing: CustomerSync
    executions: Executions
    terms: TrialTerms
    actor: Actor
    reason: str

    async def check(self, plan: SubscriptionPlan) -> None:
        """Of a customer that is not known. Raises ConflictError for one of another installation,
        and what `take` would raise for the account."""
        require_operator(self.actor)
        customer = plan.subscription.customer
        if customer.account_id:
            raise ConflictError(
                "its customer belongs to a billing installation that has it as"
                f" {customer.account_id} (metadata billing_account)"
            )
        async with self.database.reading() as session:
            account = await organization_account(session, plan.external_id)
            if account is None:
                self._check_new(plan)
                return
            await require_not_closed(session, account.id)
            await _require_same_customer(session, account.id, customer.customer_id)

    async def take(self, plan: SubscriptionPlan, now: datetime) -> None:
        """Raises BillingError for one that cannot be taken, and what the provider raises."""
        require_operator(self.actor)
        customer = plan.subscription.customer
        account_id = await self._begin(plan, now)
        await self.account.claim_customer(customer.customer_id, ids.encode_account(account_id))
        await self.syncing.customer(customer.customer_id, now)
        await self._finish(account_id, plan)

    async def _begin(self, plan: SubscriptionPlan, now: datetime) -> int:
        """The account with its customer at the provider; returns the account's number."""
        customer = plan.subscription.customer
        async with self.database.transaction() as session:
            account = await self._account(session, plan, now)
            await require_not_closed(session, account.id)
            if await _require_same_customer(session, account.id, customer.customer_id):
                return account.id
            session.add(
                ProviderCustomer(
                    account_id=account.id, customer_id=customer.customer_id, created_at=now
                )
            )
            await _keep_details(session, account, customer)
            session.add(_begun(account.id, plan, now))
            session.add(self._entry(account.id, plan, now))
            await session.flush()
        return account.id

    async def _account(
        self, session: AsyncSession, plan: SubscriptionPlan, now: datetime
    ) -> Account:
        known = await organization_account(session, plan.external_id, lock=True)
        if known is not None:
            return known
        self._check_new(plan)
        connection = await session.connection()
        organization = {"id": plan.external_id, "name": _name_of(plan), "created_at": now}
        await connection.execute(insert(Organization).values(organization).on_conflict_do_nothing())
        row = {
            "id": ids.new_account_number(),
            "kind": AccountKind.ORGANIZATION,
            "organization_id": plan.external_id,
            "created_at": now,
        }
        await connection.execute(insert(Account).values(row).on_conflict_do_nothing())
        account = await organization_account(session, plan.external_id, lock=True)
        assert account is not None
        return account

    def _check_new(self, plan: SubscriptionPlan) -> None:
        """Raises InvalidInputError."""
        public = self.terms.public_organization_id
        check_new_id(plan.external_id, field="external_id", public_organization_id=public)

    def _entry(self, account_id: int, plan: SubscriptionPlan, now: datetime) -> Any:
        assert plan.price is not None
        audit_record = AuditRecord(
            ServiceAction.IMPORT_ACCOUNT,
            self.reason,
            account_id=account_id,
            subject=plan.subscription.subscription_id,
            after={"offer": plan.price.code, "executions": plan.executions, "used": plan.used},
        )
        staff = require(self.actor, Action.GRANT)
        return entry_of(staff, audit_record, now, own_account=False)

    async def _finish(self, account_id: int, plan: SubscriptionPlan) -> None:
        """Note what was used so far, once: of the current period what the plan says, of whatever
        earlier invoices gave, all. Raises ConflictError when the period gave no plan."""
        key = key_of(plan)
        async with self.executions.ledger() as ledger:
            rows = await ledger.connection.fetch(STATE, account_id, key)
            if not rows or bytes(rows[0]["answer"]) == DONE:
                return
            found = await ledger.connection.fetch(OPEN_PLANS, account_id, plan.ends_at)
            current = next((row["sequence"] for row in found if row["is_current"]), None)
            if plan.used and current is None:
                raise ConflictError(
                    "its current period gave no plan to count what was used against: run the"
                    " command again when its invoice is paid"
                )
            parts = [
                (row["sequence"], plan.used if row["sequence"] == current else row["remaining"])
                for row in found
            ]
            if parts := [part for part in parts if part[1]]:
                used = Adjust(account_id, parts, USED_BEFORE)
                answer_of((await ledger.decide([used]))[0])
            await ledger.connection.execute(FINISH, account_id, key, DONE)


def _begun(account_id: int, plan: SubscriptionPlan, now: datetime) -> GrantedPlan:
    key = key_of(plan)
    return GrantedPlan(
        account_id=account_id,
        key=key,
        request_hash=blake2b(key.encode(), digest_size=16).digest(),
        answer=BEGUN,
        created_at=now,
    )


async def _require_same_customer(session: AsyncSession, account_id: int, customer_id: str) -> bool:
    """Whether the account has this customer. Raises ConflictError when it has another."""
    row = await session.get(ProviderCustomer, account_id)
    if row is not None and row.customer_id != customer_id:
        raise ConflictError(f"the account has another customer at Stripe: {row.customer_id}")
    return row is not None


async def _keep_details(session: AsyncSession, account: Account, customer: ForeignCustomer) -> None:
    """What is on the customer's invoices stays there, unless the account has details of its
    own."""
    own = await lock_own(session, account.id)
    organization = await session.get_one(Organization, account.organization_id)
    name, email = _valid_name(customer.name), _valid_email(customer.email)
    if not own.name and name and name != organization.name:
        own.name = name
    own.email = own.email or email
    session.add(own)


def _name_of(plan: SubscriptionPlan) -> str:
    customer = plan.subscription.customer
    return _valid_name(customer.name) or _valid_name(customer.email) or plan.external_id


def _valid_name(text: str) -> str:
    try:
        return checked_name(text)
    except InvalidInputError:
        return ""


def _valid_email(text: str) -> str | None:
    try:
        return clean_email(text)
    except InvalidInputError:
        return None

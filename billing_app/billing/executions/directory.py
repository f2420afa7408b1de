"""Finds the account of an organization or a public user; a new public user gets a trial.

An account never changes its owner, so the mapping is cached in memory, up to a limit.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from billing_app.billing import ids
from billing_app.billing.alerts.rule_book import RuleBook
from billing_app.billing.errors import (
    BillingError,
    OrganizationNotFoundError,
    UserNotFoundError,
)
from billing_app.billing.executions import statements
from billing_app.billing.executions.driver import Connection
from billing_app.billing.executions.shards import ShardMap, read_shards
from billing_app.billing.plans import trials
from billing_app.billing.plans.trials import TrialTerms

MAX_KEPT: Final = 500_000
ATTRIBUTION_SECONDS: Final = 5.0

K = TypeVar("K")
V = TypeVar("V")
Target = tuple[str, str]
Targets = dict[Target, int | BillingError]


class Directory:
    """Targets are (organization id, user id); the user id may be empty for an organization."""

    def __init__(self, terms: TrialTerms, rule_book: RuleBook | None = None) -> None:
        """`rule_book` None: no alerts are raised."""
        self.terms = terms
        self.rule_book = rule_book
        self._organizations: dict[str, int] = {}
        self._users: dict[str, int] = {}
        self._owners: dict[int, str] = {}
        self._attributed: dict[Target, float] = {}
        self._shards: ShardMap | None = None
        self._has_looked_for_shards = False

    @property
    def shards(self) -> ShardMap:
        """On a cluster, as last read."""
        assert self._shards is not None
        return self._shards

    @property
    def kept_owners(self) -> Mapping[int, str]:
        """The organization of each account that is cached."""
        return self._owners

    def kept(self, target: Target) -> int | None:
        """The account, when it is cached; whether the user is a member has been looked at."""
        organization_id, user_id = target
        if organization_id == self.terms.public_organization_id:
            return self._users.get(user_id)
        return self._organizations.get(organization_id)

    async def find_shards(self, connection: Connection) -> ShardMap | None:
        """How accounts are distributed, None when they are not; read once, on the coordinator."""
        if not self._has_looked_for_shards:
            await self.read_shards(connection)
        return self._shards

    async def read_shards(self, connection: Connection) -> ShardMap | None:
        self._shards = await read_shards(connection)
        self._has_looked_for_shards = True
        return self._shards

    def known(self, target: Target) -> int | None:
        """The account, when it is cached."""
        organization_id, user_id = target
        if organization_id == self.terms.public_organization_id:
            return self._users.get(user_id)
        if user_id and self._attributed.get(target, 0.0) < time.monotonic():
            return None
        return self._organizations.get(organization_id)

    async def resolve(
        self, connection: Connection, targets: Iterable[Target]
    ) -> tuple[Targets, Targets]:
        """The account id of each target, or the error that explains why there is none; and those
        of them that were not cached.

        Runs in the caller's transaction and may create users, accounts and trials in it. Call
        `keep` with the uncached ones after the commit.
        """
        cached: Targets = {}
        missing: list[Target] = []
        for target in set(targets):
            account_id = self.known(target)
            if account_id is None:
                missing.append(target)
            else:
                cached[target] = account_id
        if not missing:
            return cached, {}
        new = await self._read(connection, sorted(missing))
        return cached | new, new

    def keep(self, new: Targets) -> None:
        valid_until = time.monotonic() + ATTRIBUTION_SECONDS
        for (organization_id, user_id), account_id in new.items():
            if isinstance(account_id, BillingError):
                continue
            _put(self._owners, account_id, organization_id)
            if organization_id == self.terms.public_organization_id:
                _put(self._users, user_id, account_id)
            else:
                _put(self._organizations, organization_id, account_id)
                if user_id:
                    self._attributed[organization_id, user_id] = valid_until
        if len(self._attributed) > MAX_KEPT:
            self._attributed.clear()

    async def owners(self, connection: Connection, account_ids: Iterable[int]) -> dict[int, str]:
        """The organization of each account that exists."""
        missing = [account_id for account_id in account_ids if account_id not in self._owners]
        if missing:
            for row in await connection.fetch(statements.ACCOUNT_OWNERS, missing):
                _put(self._owners, row["id"], row["organization_id"])
        return self._owners

    async def _read(self, connection: Connection, targets: list[Target]) -> Targets:
        public = self.terms.public_organization_id
        foreign = await self._users_of_others(connection, targets)
        users = [user for organization, user in targets if organization == public]
        allowed = [user for user in users if (public, user) not in foreign]
        user_accounts = await self._user_accounts(connection, allowed)
        organization_accounts = await self._organization_accounts(
            connection, [organization for organization, _ in targets]
        )
        resolved: Targets = {}
        for target in targets:
            organization_id, user_id = target
            if organization_id != public and organization_id not in organization_accounts:
                resolved[target] = OrganizationNotFoundError(organization_id=organization_id)
            elif target in foreign:
                resolved[target] = UserNotFoundError(user_id=user_id)
            elif organization_id == public:
                resolved[target] = user_accounts[user_id]
            else:
                resolved[target] = organization_accounts[organization_id]
        return resolved

    async def _users_of_others(self, connection: Connection, targets: list[Target]) -> set[Target]:
        named = [target for target in targets if target[1]]
        if not named:
            return set()
        rows = await connection.fetch(
            statements.USERS_OF_OTHERS,
            [organization for organization, _ in named],
            [user for _, user in named],
            self.terms.public_organization_id,
        )
        return {(row["organization_id"], row["user_id"]) for row in rows}

    async def _organization_accounts(
        self, connection: Connection, organization_ids: list[str]
    ) -> dict[str, int]:
        rows = await connection.fetch(statements.ORGANIZATION_ACCOUNTS, list(set(organization_ids)))
        for row in rows:
            _put(self._owners, row["id"], row["organization_id"])
        return {row["organization_id"]: row["id"] for row in rows}

    async def _user_accounts(self, connection: Connection, user_ids: list[str]) -> dict[str, int]:
        if not user_ids:
            return {}
        accounts = await _fetch_user_accounts(connection, user_ids)
        new = [user_id for user_id in user_ids if user_id not in accounts]
        if new:
            await self._enrol(connection, new)
            accounts |= await _fetch_user_accounts(connection, new)
        return accounts

    async def _enrol(self, connection: Connection, user_ids: list[str]) -> None:
        terms = self.terms
        public = terms.public_organization_id
        numbers = [ids.new_account_number() for _ in user_ids]
        await connection.execute(trials.ENSURE_USERS, user_ids)
        await connection.execute(trials.ENSURE_MEMBERSHIPS, public, user_ids)
        await connection.execute(trials.ENSURE_ACCOUNTS, public, numbers, user_ids)
        await connection.execute(
            trials.ENSURE_TRIALS, trials.TRIAL_PLAN_NAME, terms.executions, terms.days, user_ids
        )


async def _fetch_user_accounts(connection: Connection, user_ids: list[str]) -> dict[str, int]:
    rows = await connection.fetch(statements.USER_ACCOUNTS, user_ids)
    return {row["user_id"]: row["id"] for row in rows}


def _put(kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= MAX_KEPT:
        del kept[next(iter(kept))]
    kept[key] = value

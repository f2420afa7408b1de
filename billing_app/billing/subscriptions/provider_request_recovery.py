"""Carries intents out and settles those that were interrupted (see provider_requests.py)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.customer_sync import Syncing
from billing_app.billing.subscriptions.provider import (
    NotAtProviderError,
    PaymentProvider,
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.provider_requests import (
    CHARGING,
    Operation,
    WritePendingError,
)
from billing_app.db.engine import Database
from billing_app.db.enums import WriteState
from billing_app.db.tables import Account, ProviderWrite

Decide = Callable[[AsyncSession], Awaitable[dict[str, Any]]]
Tell = Callable[[AsyncSession, ProviderWrite, BillingError, datetime], Awaitable[None]]
"""Writes down that an intent came to nothing, in the transaction that says so."""


class NeverArrivedError(BillingError):
    """Whoever sent it is gone, and the provider knows nothing of it."""

    code = "never_arrived"
    title = "The request never arrived"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for; two requests with the same one mean the same thing."""

    operation: Operation
    target: str

    def is_of(self, row: ProviderWrite) -> bool:
        return (row.operation, row.parameters.get("target")) == (self.operation, self.target)


class Intents:
    def __init__(self, database: Database, provider: PaymentProvider, syncing: Syncing) -> None:
        self._database = database
        self._provider = provider
        self._syncing = syncing
        self._tell_failure: Tell | None = None

    def tell_failures(self, tell: Tell) -> None:
        """`tell` is called for each intent that fails, whoever finds out and when."""
        self._tell_failure = tell

    async def carry_out(
        self, account_id: int, customer_id: str, wanted: Wanted, decide: Decide, now: datetime
    ) -> None:
        """Write the intent, ask the provider, apply what the customer then has.

        `decide` gives the parameters from the rows, with the account locked; it may refuse. An
        intent for the same thing that is still open is taken up with its own key and parameters.
        """
        row = await self._intend(account_id, wanted, decide, now)
        await self._ask(row, customer_id, now)

    async def settle(
        self, account_id: int, customer_id: str, now: datetime, *, wanted: Wanted | None = None
    ) -> bool:
        """Look up what came of earlier intents; True when `wanted` turns out to be done.

        Raises WritePendingError while another one may still be on its way to the provider.
        """
        async with self._database.reading() as session:
            rows = await provider_requests.pending_of(session, account_id)
        if not rows:
            return False
        facts = await self._syncing.customer(customer_id, now)
        is_there = False
        for row in rows:
            is_wanted = wanted is not None and wanted.is_of(row)
            if facts is not None and provider_requests.is_done(row, facts):
                await self._finish(row, now)
                is_there = is_there or is_wanted
            elif not provider_requests.may_still_arrive(row, now):
                await self._fail(row, NeverArrivedError(), now)
            elif not is_wanted:
                raise WritePendingError
        return is_there

    async def settle_again(self, row: ProviderWrite, customer_id: str, now: datetime) -> WriteState:
        """What became of an intent whose sender is gone: looked up, and asked for again under its
        key unless that takes money."""
        facts = await self._syncing.customer(customer_id, now)
        if facts is not None and provider_requests.is_done(row, facts):
            return await self._finish(row, now)
        if row.operation in CHARGING or facts is None:
            return await self._fail(row, NeverArrivedError(), now)
        try:
            await self._ask(row, customer_id, now)
        except PaymentProviderUnavailableError:
            return WriteState.PENDING
        except BillingError:
            return WriteState.FAILED
        return WriteState.DONE

    async def _intend(
        self, account_id: int, wanted: Wanted, decide: Decide, now: datetime
    ) -> ProviderWrite:
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            for row in await provider_requests.pending_of(session, account_id):
                if not wanted.is_of(row):
                    raise WritePendingError
                return row
            parameters = {"target": wanted.target} | await decide(session)
            row = provider_requests.new_intent(account_id, wanted.operation, parameters, now)
            session.add(row)
        return row

    async def _ask(self, row: ProviderWrite, customer_id: str, now: datetime) -> None:
        """The intent stays open until its effect is applied here: a second request for the same
        thing meets either the intent or the effect."""
        try:
            await provider_requests.carry_out(self._provider, row)
        except PaymentProviderUnavailableError:
            raise
        except (NotAtProviderError, PaymentProviderFailedError) as error:
            # A second request for the same thing comes too late for what the first one ended.
            facts = await self._syncing.customer(customer_id, now)
            if facts is None or not provider_requests.is_done(row, facts):
                await self._fail(row, error, now)
                raise
        except BillingError as error:
            await self._fail(row, error, now)
            raise
        else:
            await self._syncing.customer(customer_id, now)
        await self._finish(row, now)

    async def _finish(self, row: ProviderWrite, now: datetime) -> WriteState:
        async with self._database.transaction() as session:
            await self._end(session, row, WriteState.DONE, now)
        return WriteState.DONE

    async def _fail(self, row: ProviderWrite, error: BillingError, now: datetime) -> WriteState:
        async with self._database.transaction() as session:
            await self._end(session, row, WriteState.FAILED, now, problem=error.code)
            if self._tell_failure is not None:
                await self._tell_failure(session, row, error, now)
        return WriteState.FAILED

    async def _end(
        self,
        session: AsyncSession,
        row: ProviderWrite,
        state: WriteState,
        now: datetime,
        *,
        problem: str | None = None,
    ) -> None:
        kept = await session.get(ProviderWrite, (row.account_id, row.key))
        assert kept is not None
        provider_requests.finish(kept, state, now, problem=problem)
        session.add(kept)

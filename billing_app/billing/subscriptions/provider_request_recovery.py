"""Sends provider requests and resolves interrupted ones (see provider_requests.py)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.errors import BillingError
from billing_app.billing.subscriptions import provider_requests
from billing_app.billing.subscriptions.customer_sync import CustomerSync
from billing_app.billing.subscriptions.errors import PaymentActionRequiredError
from billing_app.billing.subscriptions.provider import (
    PaymentProvider,
    ProviderInvoice,
    ProviderSnapshot,
)
from billing_app.billing.subscriptions.provider_errors import (
    NotAtProviderError,
    PaymentProviderFailedError,
    PaymentProviderUnavailableError,
)
from billing_app.billing.subscriptions.provider_requests import (
    CHARGING,
    REPLACING,
    Operation,
    ProviderRequestPendingError,
)
from billing_app.billing.subscriptions.purchase_outcomes import PurchaseOutcome
from billing_app.db.engine import Database
from billing_app.db.enums import ProviderRequestState
from billing_app.db.tables import Account, ProviderCustomer, ProviderRequest

Decide = Callable[[AsyncSession], Awaitable[dict[str, Any]]]
RecordFailure = Callable[[AsyncSession, ProviderRequest, BillingError, datetime], Awaitable[None]]
"""Records that a request failed, in the transaction that marks it as failed."""

log = structlog.get_logger(__name__)


class NeverArrivedError(BillingError):
    """Its sender is gone, and the provider does not know it."""

    code = "never_arrived"
    title = "The request never reached the payment provider"


class UndoneError(BillingError):
    """Its sender died while it put back what the request, which failed, had taken away."""

    code = "undone"
    title = "The request failed and was undone"


def _unclear(row: ProviderRequest, error: Exception) -> PaymentProviderUnavailableError:
    """For an error that nobody foresaw, once the provider may have carried out the request."""
    log.error("request_unclear", account_id=row.account_id, key=row.key, exc_info=error)
    return PaymentProviderUnavailableError(
        "It is unclear whether the payment provider carried out the request. We are checking."
    )


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """What is requested: two requests with equal ones mean the same thing."""

    operation: Operation
    target: str

    def is_of(self, row: ProviderRequest) -> bool:
        return (row.operation, row.parameters.get("target")) == (self.operation, self.target)


@dataclass(slots=True)
class ProviderRequests:
    """`record_failure` is called for each request that fails, whenever that is found out."""

    _database: Database
    _provider: PaymentProvider
    _syncing: CustomerSync
    _record_failure: RecordFailure

    async def carry_out(
        self,
        account_id: int,
        customer_id: str,
        wanted: RequestTarget,
        decide: Decide,
        now: datetime,
    ) -> PurchaseOutcome:
        """Write the request, send it, and apply what the customer has afterwards; returns what
        became of its payment.

        `decide` computes the parameters with the account locked; it may refuse. A pending request
        for the same thing is resumed with its own key and parameters.
        """
        await self._provider.require_writable()
        row = await self._intend(account_id, wanted, decide, now)
        return await self._send(row, customer_id, now)

    async def resolve(
        self,
        account_id: int,
        customer_id: str,
        now: datetime,
        *,
        wanted: RequestTarget | None = None,
    ) -> ProviderRequest | None:
        """Look up the results of pending requests; returns the one that carried `wanted` out.

        A change that the customer has not confirmed is given up for another request. Raises
        ProviderRequestPendingError while another request may still reach the provider, and
        PaymentActionRequiredError when `wanted` waits for the customer's confirmation.
        """
        async with self._database.reading() as session:
            rows = await provider_requests.pending(session, account_id)
        if not rows:
            return None
        await self._provider.require_writable()
        snapshot = await self._apply(rows[0], customer_id, now)
        carried_out: ProviderRequest | None = None
        for row in rows:
            is_wanted = wanted is not None and wanted.is_of(row)
            if row.problem is not None:
                await self._fail(row, UndoneError(), now)
            elif provider_requests.is_done(row, snapshot):
                await self._finish(row, now)
                carried_out = row if is_wanted else carried_out
            elif invoice := provider_requests.awaits_confirmation(row, snapshot):
                if is_wanted:
                    raise PaymentActionRequiredError(payment_url=invoice.page_url)
                if wanted is not None:
                    await self._give_up(row, invoice, customer_id, now)
            elif not provider_requests.may_still_arrive(row, now):
                await self._fail(row, NeverArrivedError(), now)
            elif not is_wanted:
                raise ProviderRequestPendingError
        return carried_out

    async def sync(self, customer_id: str, now: datetime) -> None:
        """Apply what the customer has. Raises what the provider raises."""
        await self._syncing.customer(customer_id, now)

    async def resolve_interrupted(
        self, row: ProviderRequest, customer_id: str, now: datetime
    ) -> ProviderRequestState:
        """The result of a request whose sender is gone. Unless it takes money, it is sent again
        under its key."""
        await self._provider.require_writable()
        snapshot = await self._syncing.customer(customer_id, now)
        if row.problem is not None:
            return await self._fail(row, UndoneError(), now)
        if provider_requests.is_done(row, snapshot):
            return await self._finish(row, now)
        if provider_requests.awaits_confirmation(row, snapshot):
            return ProviderRequestState.PENDING
        if row.operation in CHARGING or snapshot is None:
            return await self._fail(row, NeverArrivedError(), now)
        return await self._send_again(row, customer_id, now)

    async def _send_again(
        self, row: ProviderRequest, customer_id: str, now: datetime
    ) -> ProviderRequestState:
        try:
            await self._send(row, customer_id, now)
        except PaymentProviderUnavailableError:
            return ProviderRequestState.PENDING
        except BillingError:
            return ProviderRequestState.FAILED
        return ProviderRequestState.DONE

    async def _intend(
        self, account_id: int, wanted: RequestTarget, decide: Decide, now: datetime
    ) -> ProviderRequest:
        async with self._database.transaction() as session:
            await session.get(Account, account_id, with_for_update=True)
            for row in await provider_requests.pending(session, account_id):
                if not wanted.is_of(row):
                    raise ProviderRequestPendingError
                return row
            parameters = {"target": wanted.target} | await decide(session)
            row = provider_requests.new_provider_request(
                account_id, wanted.operation, parameters, now
            )
            session.add(row)
        return row

    async def outcome(
        self, row: ProviderRequest, customer_id: str, now: datetime
    ) -> PurchaseOutcome:
        """Of a request that was carried out earlier. Raises what the provider raises."""
        return provider_requests.outcome(row, await self._syncing.customer(customer_id, now))

    async def _send(self, row: ProviderRequest, customer_id: str, now: datetime) -> PurchaseOutcome:
        """The request stays pending until its effect is applied here: a second request for the same
        thing finds either the request or the effect. Returns as `carry_out`."""
        try:
            await provider_requests.carry_out(self._provider, row)
        except PaymentProviderUnavailableError:
            raise
        except (NotAtProviderError, PaymentProviderFailedError) as error:
            # The first of two equal requests may have ended what the second one changes.
            snapshot = await self._apply(row, customer_id, now)
            if not provider_requests.is_done(row, snapshot):
                await self._fail(row, error, now)
                raise
        except BillingError as error:
            if isinstance(error, PaymentActionRequiredError) and error.payment_url:
                await self._apply(row, customer_id, now)
            else:
                await self._fail(row, error, now)
            raise
        except Exception as error:
            raise _unclear(row, error) from error
        else:
            snapshot = await self._apply(row, customer_id, now)
        await self._finish(row, now)
        return provider_requests.outcome(row, snapshot)

    async def _apply(
        self, row: ProviderRequest, customer_id: str, now: datetime
    ) -> ProviderSnapshot | None:
        """What the customer has after the request, which may have been carried out."""
        try:
            return await self._syncing.customer(customer_id, now)
        except PaymentProviderUnavailableError:
            raise
        except Exception as error:
            raise _unclear(row, error) from error

    async def _give_up(
        self, row: ProviderRequest, invoice: ProviderInvoice, customer_id: str, now: datetime
    ) -> None:
        """Without its invoice, a change is dropped; unless it was confirmed at this moment."""
        await self._provider.void_invoice(invoice.provider_id)
        if provider_requests.is_done(row, await self._apply(row, customer_id, now)):
            await self._finish(row, now)
        else:
            await self._fail(row, PaymentActionRequiredError(payment_url=None), now)

    async def _is_paid_after_all(self, row: ProviderRequest, now: datetime) -> bool:
        """Void the invoice of a pack that was not bought, so that nobody can pay it later; True:
        it was paid in the meantime."""
        customer_id = row.parameters["customer_id"]
        snapshot = await self._syncing.customer(customer_id, now)
        invoice_id = provider_requests.unpaid_invoice(row, snapshot)
        if invoice_id is not None:
            await self._provider.void_invoice(invoice_id)
            snapshot = await self._syncing.customer(customer_id, now)
        return provider_requests.is_done(row, snapshot)

    async def _finish(self, row: ProviderRequest, now: datetime) -> ProviderRequestState:
        async with self._database.transaction() as session:
            await provider_requests.finish(session, row, ProviderRequestState.DONE, now)
        return ProviderRequestState.DONE

    async def _fail(
        self, row: ProviderRequest, error: BillingError, now: datetime
    ) -> ProviderRequestState:
        if row.operation == Operation.BUY_PACK and await self._is_paid_after_all(row, now):
            return await self._finish(row, now)
        if row.operation in REPLACING:
            await self._put_back(row, error, now)
        async with self._database.transaction() as session:
            failed = ProviderRequestState.FAILED
            if await provider_requests.finish(
                session, row, failed, now, problem=row.problem or error.code
            ):
                await self._record_failure(session, row, error, now)
            kept = await provider_requests.lock_request(session, row)
        return ProviderRequestState(kept.state)

    async def _put_back(self, row: ProviderRequest, error: BillingError, now: datetime) -> None:
        """Restore what the failed request took away. The failure is noted first: a request that is
        being undone is not sent again. What the provider refuses to restore, staff are told."""
        async with self._database.transaction() as session:
            kept = await provider_requests.lock_request(session, row)
            customer = await session.get(ProviderCustomer, row.account_id)
            if kept.state != ProviderRequestState.PENDING or customer is None:
                return
            kept.problem = error.code
            session.add(kept)
        try:
            is_restored = await self._provider.put_back(
                row.parameters["subscription_id"], key=row.key
            )
        except PaymentProviderUnavailableError:
            raise
        except BillingError as refused:
            log.exception("not_put_back", account_id=row.account_id, key=row.key, code=refused.code)
            row.problem = provider_requests.NOT_PUT_BACK
            return
        if is_restored:
            await self._apply(row, customer.customer_id, now)

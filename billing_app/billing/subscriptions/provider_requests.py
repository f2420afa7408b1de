"""Requests that change something at the provider. A crash at any point loses and doubles nothing.

A request is committed with its key and all its parameters before the call, and its result after
it. One that stays pending was interrupted or got no clear answer: the next request or
reconciliation looks its result up at the provider.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import ConflictError
from billing_app.billing.money import Money
from billing_app.billing.subscriptions.provider import (
    Credit,
    OfferPrices,
    OverageCharge,
    PaymentProvider,
    ProviderInvoice,
    ProviderSnapshot,
    ProviderSubscription,
    SubscriptionChange,
)
from billing_app.billing.subscriptions.purchase_outcomes import (
    PaymentState,
    PurchaseOutcome,
    outcome_of,
)
from billing_app.billing.subscriptions.sold_lines import CHANGE, FIRST
from billing_app.db.enums import Interval, InvoiceStatus, ProviderRequestState, SubscriptionStatus
from billing_app.db.tables import Account, ProviderRequest

# How long an interrupted call may still arrive at the provider.
IN_FLIGHT: Final = timedelta(minutes=5)
CLOCK_SKEW: Final = timedelta(minutes=1)
# The problem of a failed request when the provider refused to restore what it took away.
NOT_PUT_BACK: Final = "not_put_back"


class Operation(StrEnum):
    SUBSCRIBE = "subscribe"
    CHANGE_NOW = "change_now"
    CHANGE_AT_PERIOD_END = "change_at_period_end"
    CANCEL_NOW = "cancel_now"
    CANCEL_AT_PERIOD_END = "cancel_period_end"
    RESUME = "resume"
    TOP_UP = "top_up"
    BUY_PACK = "buy_pack"


# What they create carries their key.
BEGINNING: Final = frozenset({Operation.SUBSCRIBE, Operation.TOP_UP, Operation.BUY_PACK})
# These take something away first, which is put back when they fail.
REPLACING: Final = frozenset(
    {
        Operation.CHANGE_NOW,
        Operation.CHANGE_AT_PERIOD_END,
        Operation.CANCEL_AT_PERIOD_END,
        Operation.RESUME,
    }
)
# These take money, so they are never sent again once their sender is gone.
CHARGING: Final = BEGINNING | {Operation.CHANGE_NOW}


class ProviderRequestPendingError(ConflictError):
    code = "provider_write_pending"
    title = "An earlier request to the payment provider is still pending"
    retry_after_seconds = 5


def new_provider_request(
    account_id: int, operation: Operation, parameters: dict[str, Any], now: datetime
) -> ProviderRequest:
    return ProviderRequest(
        account_id=account_id,
        key=ids.new_id(f"{operation}-"),
        operation=operation,
        parameters=parameters,
        state=ProviderRequestState.PENDING,
        created_at=now,
    )


async def pending(
    session: AsyncSession, account_id: int | None = None, *, top_ups: bool = False
) -> list[ProviderRequest]:
    """Oldest first, of one account or of all. The next request of an account waits for these, but
    not for its top-ups, which are resolved on their own."""
    is_top_up = col(ProviderRequest.operation) == Operation.TOP_UP
    query = select(ProviderRequest).where(ProviderRequest.state == ProviderRequestState.PENDING)
    query = query.where(is_top_up if top_ups else ~is_top_up)
    if account_id is not None:
        query = query.where(ProviderRequest.account_id == account_id)
    return list((await session.exec(query.order_by(col(ProviderRequest.created_at)))).all())


async def not_put_back(session: AsyncSession, since: datetime) -> list[ProviderRequest]:
    """Failed requests that took something away for good."""
    query = select(ProviderRequest).where(ProviderRequest.problem == NOT_PUT_BACK)
    return list((await session.exec(query.where(ProviderRequest.created_at >= since))).all())


async def credited_executions(
    session: AsyncSession, account_id: int, plan_sequence: int
) -> int | None:
    """Executions of a plan that were credited as unused when it changed; None: it never did."""
    parameters = await _parameters_of_change(session, account_id, plan_sequence)
    return int(parameters["unused"]) if parameters else None


async def credited_minor(session: AsyncSession, account_id: int, plan_sequence: int) -> int:
    """The credit for a plan when it was changed, in minor units."""
    parameters = await _parameters_of_change(session, account_id, plan_sequence)
    credit = parameters["credit"] if parameters else None
    return int(credit["amount_minor"]) if credit else 0


async def _parameters_of_change(
    session: AsyncSession, account_id: int, plan_sequence: int
) -> dict[str, Any] | None:
    query = (
        select(ProviderRequest)
        .where(ProviderRequest.account_id == account_id)
        .where(ProviderRequest.operation == Operation.CHANGE_NOW)
        .where(ProviderRequest.state != ProviderRequestState.FAILED)
        .order_by(col(ProviderRequest.created_at).desc())
    )
    for row in (await session.exec(query)).all():
        if row.parameters.get("plan_sequence") == plan_sequence:
            return row.parameters
    return None


async def carry_out(provider: PaymentProvider, row: ProviderRequest) -> None:
    """Send the request to the provider under its key. Raises what the provider raises."""
    key, parameters = row.key, row.parameters
    match Operation(row.operation):
        case Operation.SUBSCRIBE:
            await provider.create_subscription(
                customer_id=parameters["customer_id"],
                prices=_prices(parameters),
                trial_days=parameters.get("trial_days", 0),
                payment_method_id=parameters["payment_method_id"],
                key=key,
            )
        case Operation.CHANGE_NOW:
            await provider.change_now(parameters["subscription_id"], change_of(parameters), key=key)
        case Operation.CHANGE_AT_PERIOD_END:
            replaces = _replaced(parameters)
            if replaces is not None:  # a schedule names the current prices again
                await provider.activate(replaces)
            await provider.change_at_period_end(
                subscription_id=parameters["subscription_id"],
                prices=_prices(parameters),
                replaces=replaces,
                interval=Interval(parameters["interval"]),
                key=key,
            )
        case Operation.CANCEL_NOW:
            await provider.cancel_now(parameters["subscription_id"], key=key)
        case Operation.CANCEL_AT_PERIOD_END:
            await provider.cancel_at_period_end(parameters["subscription_id"], key=key)
        case Operation.RESUME:
            await provider.resume(parameters["subscription_id"], key=key)
        case Operation.TOP_UP | Operation.BUY_PACK:
            await provider.buy_pack(
                customer_id=parameters["customer_id"],
                price_id=parameters["price_id"],
                payment_method_id=parameters["payment_method_id"],
                key=key,
            )


def change_of(parameters: dict[str, Any]) -> SubscriptionChange:
    credit, overage = parameters["credit"], parameters.get("overage")
    return SubscriptionChange(
        _prices(parameters),
        _replaced(parameters),
        credit=Credit(**_with_amount(credit)) if credit else None,
        overage=OverageCharge(**_with_amount(overage)) if overage else None,
        keeps_cancellation=parameters.get("keeps_cancellation", False),
    )


def _prices(parameters: dict[str, Any]) -> OfferPrices:
    return OfferPrices(parameters["price_id"], parameters.get("overage_price_id"))


def prices_json(prices: OfferPrices, replaces: OfferPrices | None) -> dict[str, Any]:
    """As parameters of a request for a change."""
    return {
        "price_id": prices.price_id,
        "overage_price_id": prices.overage_price_id,
        "replaces": asdict(replaces) if replaces else None,
    }


def _replaced(parameters: dict[str, Any]) -> OfferPrices | None:
    replaces = parameters.get("replaces")
    return OfferPrices(**replaces) if replaces else None


def amount_json(charge: Credit | OverageCharge) -> dict[str, Any]:
    members = asdict(charge)
    amount = members.pop("amount")
    return members | {"amount_minor": amount["minor"], "currency": amount["currency"]}


def _with_amount(members: dict[str, Any]) -> dict[str, Any]:
    rest = dict(members)
    amount = Money(rest.pop("amount_minor"), rest.pop("currency"))
    return rest | {"amount": amount}


def is_done(row: ProviderRequest, snapshot: ProviderSnapshot | None) -> bool:
    """Whether what the customer has shows that the request was carried out."""
    if snapshot is None:
        return False
    if row.operation == Operation.SUBSCRIBE:
        return any(each.request_key == row.key for each in snapshot.subscriptions)
    if row.operation in BEGINNING:
        is_ordered = row.operation == Operation.BUY_PACK and is_being_debited(row, snapshot)
        return is_ordered or _invoice_of(row, snapshot, InvoiceStatus.PAID) is not None
    wanted_id = row.parameters["subscription_id"]
    theirs = next((each for each in snapshot.subscriptions if each.provider_id == wanted_id), None)
    return theirs is not None and _is_changed(row, theirs, snapshot)


def _is_changed(
    row: ProviderRequest, theirs: ProviderSubscription, snapshot: ProviderSnapshot
) -> bool:
    match operation := Operation(row.operation):
        case Operation.CHANGE_AT_PERIOD_END:
            return row.parameters["price_id"] in theirs.next_price_ids
        case Operation.CANCEL_NOW | Operation.CANCEL_AT_PERIOD_END:
            is_later = operation is Operation.CANCEL_AT_PERIOD_END and theirs.cancel_at is not None
            return is_later or theirs.status is SubscriptionStatus.CANCELED
        case _:
            is_paid = _invoice_of(row, snapshot, InvoiceStatus.PAID) is not None
            return theirs.request_key == row.key or is_paid


def is_being_debited(row: ProviderRequest, snapshot: ProviderSnapshot | None) -> bool:
    """Whether the bank decides days later on the payment of its invoice."""
    invoice = _invoice_of(row, snapshot, InvoiceStatus.OPEN) if snapshot else None
    return invoice is not None and invoice.is_processing


def outcome(row: ProviderRequest, snapshot: ProviderSnapshot | None) -> PurchaseOutcome:
    """What became of the payment of a request that was carried out."""
    if row.operation not in CHARGING:
        return PurchaseOutcome(PaymentState.NOTHING_DUE)
    return outcome_of(_billed_for(row, snapshot) if snapshot else None)


def _billed_for(row: ProviderRequest, snapshot: ProviderSnapshot) -> ProviderInvoice | None:
    """The invoice of a request: of its key, or the one that its subscription began or changed
    with."""
    keyed = [each for each in snapshot.invoices if each.request_key == row.key]
    if keyed or row.operation in (Operation.TOP_UP, Operation.BUY_PACK):
        return next(iter(reversed(keyed)), None)
    wanted_id = row.parameters.get("subscription_id")
    ours = {
        each.provider_id
        for each in snapshot.subscriptions
        if each.provider_id == wanted_id or each.request_key == row.key
    }
    reason = FIRST if row.operation == Operation.SUBSCRIBE else CHANGE
    billed = [each for each in snapshot.invoices if each.subscription_id in ours]
    return next((each for each in reversed(billed) if each.billing_reason == reason), None)


def awaits_confirmation(
    row: ProviderRequest, snapshot: ProviderSnapshot | None
) -> ProviderInvoice | None:
    """The open invoice of a change or a pack that is carried out once the customer has confirmed
    it; None: it waits for nobody."""
    if snapshot is None or row.operation not in (Operation.CHANGE_NOW, Operation.BUY_PACK):
        return None
    invoice = _invoice_of(row, snapshot, InvoiceStatus.OPEN)
    was_tried = row.operation == Operation.CHANGE_NOW or (invoice and invoice.attempts > 0)
    return invoice if was_tried and not is_being_debited(row, snapshot) else None


def _invoice_of(
    row: ProviderRequest, snapshot: ProviderSnapshot, status: InvoiceStatus
) -> ProviderInvoice | None:
    billed = [each for each in snapshot.invoices if each.status is status]
    marked = next((each for each in billed if each.request_key == row.key), None)
    return marked or next((each for each in billed if _is_unmarked(row, each)), None)


def _is_unmarked(row: ProviderRequest, invoice: ProviderInvoice) -> bool:
    """Whether it is the invoice of a change whose sender died before its key was written there."""
    return (
        row.operation == Operation.CHANGE_NOW
        and not invoice.request_key
        and invoice.subscription_id == row.parameters["subscription_id"]
        and invoice.billing_reason == CHANGE
        and invoice.issued_at >= row.created_at - CLOCK_SKEW
        and any(line.price_id == row.parameters["price_id"] for line in invoice.lines)
    )


def unpaid_invoice(row: ProviderRequest, snapshot: ProviderSnapshot | None) -> str | None:
    """The invoice of a request, unless that is paid or void."""
    final = (InvoiceStatus.PAID, InvoiceStatus.VOID)
    invoices = snapshot.invoices if snapshot else []
    return next(
        (
            each.provider_id
            for each in invoices
            if each.request_key == row.key and each.status not in final
        ),
        None,
    )


def may_still_arrive(row: ProviderRequest, now: datetime) -> bool:
    return now - row.created_at < IN_FLIGHT


async def finish(
    session: AsyncSession,
    row: ProviderRequest,
    state: ProviderRequestState,
    now: datetime,
    *,
    problem: str | None = None,
) -> bool:
    """Write the result of a request that another session read, under the lock it was written under.

    False: it had ended already. Only a failure is corrected: what was carried out is done.
    """
    kept = await lock_request(session, row)
    is_failure = kept.state == ProviderRequestState.FAILED
    if kept.state != ProviderRequestState.PENDING and (not is_failure or kept.state == state):
        return False
    kept.state, kept.problem, kept.finished_at = state, problem, now
    session.add(kept)
    return True


async def lock_request(session: AsyncSession, row: ProviderRequest) -> ProviderRequest:
    """The request as it is now, with its account locked until the transaction ends."""
    await session.get(Account, row.account_id, with_for_update=True)
    kept = await session.get(ProviderRequest, (row.account_id, row.key), populate_existing=True)
    assert kept is not None
    return kept

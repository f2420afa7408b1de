"""Asking the provider to change something, so that a crash at any point loses and doubles nothing.

The intent and its key are committed before the call, the outcome after it. An intent that stays
pending was interrupted or got no clear answer: it is asked again with the same key, by the next
try of the same thing or by reconciliation.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.errors import BillingError, ConflictError
from billing_app.billing.subscriptions.provider import PaymentProviderUnavailableError
from billing_app.db.engine import Database
from billing_app.db.tables import ProviderWrite
from billing_app.db.words import WriteState

CHANGE_NOW: Final = "change_now"

Result = TypeVar("Result")


class WritePendingError(ConflictError):
    code = "provider_write_pending"
    title = "An earlier request to the payment provider is not settled yet"
    retry_after_seconds = 5


async def write(
    database: Database,
    *,
    account_id: int,
    operation: str,
    parameters: dict[str, Any],
    now: datetime,
    act: Callable[[str, dict[str, Any]], Awaitable[Result]],
    result_id: Callable[[Result], str],
) -> Result:
    """Do `act(key, parameters)` under a persisted key; what it raises is passed on.

    An interrupted intent of the same operation is taken up with its own key and parameters when
    it names the same target, else WritePendingError is raised.
    """
    row = await _intend(
        database, account_id=account_id, operation=operation, parameters=parameters, now=now
    )
    try:
        result = await act(row.key, row.parameters)
    except PaymentProviderUnavailableError:
        raise
    except BillingError as error:
        await _finish(database, row, WriteState.FAILED, now, problem=error.code)
        raise
    await _finish(database, row, WriteState.DONE, now, result_id=result_id(result))
    return result


async def pending_writes(session: AsyncSession) -> list[ProviderWrite]:
    query = select(ProviderWrite).where(ProviderWrite.state == WriteState.PENDING)
    return list((await session.exec(query.order_by(col(ProviderWrite.created_at)))).all())


async def quoted_unused(session: AsyncSession, account_id: int, plan_sequence: int) -> int | None:
    """How many executions of a plan were credited as unused when it was changed; None: never."""
    query = (
        select(ProviderWrite)
        .where(ProviderWrite.account_id == account_id)
        .where(ProviderWrite.operation == CHANGE_NOW)
        .where(ProviderWrite.state != WriteState.FAILED)
        .order_by(col(ProviderWrite.created_at).desc())
    )
    for row in (await session.exec(query)).all():
        if row.parameters.get("plan_sequence") == plan_sequence:
            return int(row.parameters["unused"])
    return None


async def _intend(
    database: Database,
    *,
    account_id: int,
    operation: str,
    parameters: dict[str, Any],
    now: datetime,
) -> ProviderWrite:
    query = (
        select(ProviderWrite)
        .where(ProviderWrite.account_id == account_id)
        .where(ProviderWrite.operation == operation)
        .where(ProviderWrite.state == WriteState.PENDING)
        .with_for_update()
    )
    async with database.transaction() as session:
        row = (await session.exec(query)).first()
        if row is not None:
            if row.parameters.get("target") != parameters.get("target"):
                raise WritePendingError
            return row
        row = ProviderWrite(
            account_id=account_id,
            key=ids.new_id(f"{operation}-"),
            operation=operation,
            parameters=parameters,
            state=WriteState.PENDING,
            created_at=now,
        )
        session.add(row)
    return row


async def _finish(
    database: Database,
    row: ProviderWrite,
    state: WriteState,
    now: datetime,
    *,
    result_id: str | None = None,
    problem: str | None = None,
) -> None:
    async with database.transaction() as session:
        kept = await session.get(ProviderWrite, (row.account_id, row.key))
        assert kept is not None
        kept.state = state
        kept.result_id = result_id
        kept.problem = problem
        kept.finished_at = now
        session.add(kept)

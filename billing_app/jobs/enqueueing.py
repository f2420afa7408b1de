"""Jobs that are queued in the transaction of what they follow: both are there, or neither is."""

from typing import Any, Final

import structlog
from dbos import DBOSClient, EnqueueOptions
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlmodel.ext.asyncio.session import AsyncSession

# A change is not kept waiting for what follows it.
BRIEFLY: Final = text("SET LOCAL lock_timeout = '2s'")

log = structlog.get_logger(__name__)


async def enqueue(
    session: AsyncSession, client: DBOSClient, options: EnqueueOptions, *args: Any
) -> None:
    """Raises sqlalchemy's ProgrammingError where no worker has ever run."""

    def call(inner: Any) -> Any:
        return client.enqueue_in_transaction(inner, options, *args)

    await session.run_sync(call)


async def enqueue_if_possible(
    session: AsyncSession, client: DBOSClient, options: EnqueueOptions, *args: Any
) -> bool:
    """False, and logged, when it cannot be queued: the caller's transaction goes on without it."""
    try:
        async with session.begin_nested():
            await (await session.connection()).execute(BRIEFLY)
            await enqueue(session, client, options, *args)
    except (ProgrammingError, OperationalError) as error:
        workflow = options["workflow_name"]
        log.warning("job_not_enqueued", workflow=workflow, error=type(error).__name__)
        return False
    return True

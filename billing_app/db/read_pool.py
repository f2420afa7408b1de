"""Connections for the reads that services poll: one statement each, at a fifth of a session's cost.

A session asks five times (whether the connection lives, BEGIN, two rows, ROLLBACK) and maps rows to
objects; here one prepared statement is one round trip, and sees one snapshot.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import structlog

from billing_app.db.engine import CANCEL_TIMEOUT_SECONDS, CONNECT_TIMEOUT_SECONDS, SESSION_SETTINGS
from billing_app.db.urls import for_asyncpg

POOL_SIZE: Final = 4
# The server ends a statement a second earlier.
DEADLINE_SECONDS: Final = 16.0
UNREADABLE: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresError,
)

log = structlog.get_logger(__name__)


class UnreadableError(Exception):
    """The database cannot be reached, or refused to answer."""


class UnansweredError(Exception):
    """The database did not answer in time."""


class ReadPool:
    """Read-only connections for one process, made on the event loop that first uses them."""

    def __init__(self, url: str) -> None:
        """`url` is `postgresql://…`."""
        self._url = for_asyncpg(url)
        self._pool: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def fetch(self, statement: str, *values: Any) -> Sequence[Any]:
        """The rows. Raises UnreadableError; after DEADLINE_SECONDS, in which it also waits for a
        connection, UnansweredError."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._fetch(statement, *values)
        except TimeoutError as error:
            raise UnansweredError from error
        except UNREADABLE as error:
            log.warning("polled_read_failed", error=str(error))
            raise UnreadableError from error

    def in_use(self) -> int:
        """Connections at work, of POOL_SIZE."""
        return self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0

    async def _fetch(self, statement: str, *values: Any) -> Sequence[Any]:
        pool = await self._bound_pool()
        connection = await pool.acquire()
        try:
            return await connection.fetch(statement, *values)
        finally:
            # A statement that was given up is cancelled first, by a server that may not answer.
            await pool.release(connection, timeout=CANCEL_TIMEOUT_SECONDS)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _bound_pool(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._pool is None or self._loop is not loop:
            create_pool: Any = getattr(asyncpg, "create_pool")  # noqa: B009 - asyncpg has no types
            self._loop = loop
            # Without a minimum it connects to nothing yet, and so never waits here.
            self._pool = await create_pool(
                self._url,
                min_size=0,
                max_size=POOL_SIZE,
                timeout=CONNECT_TIMEOUT_SECONDS,
                reset=_keep,
                server_settings={
                    **SESSION_SETTINGS,
                    "application_name": "billing reads",
                    "default_transaction_read_only": "on",
                },
            )
        return self._pool


async def _keep(_: Any) -> None:
    """Single statements leave nothing behind that would have to be reset."""

"""Connections for the reads that services poll: one statement each, at a fifth of a session's cost.

A session asks five times (whether the connection lives, BEGIN, two rows, ROLLBACK) and maps rows to
objects; here one prepared statement is one round trip, and sees one snapshot.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from billing_app.db.engine import CONNECT_TIMEOUT_SECONDS, SESSION_SETTINGS
from billing_app.db.urls import for_asyncpg

POOL_SIZE: Final = 4
COMMAND_TIMEOUT_SECONDS: Final = 16.0
LOST_CONNECTION: Final = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)


class UnreadableError(Exception):
    """The database cannot be reached, or did not answer in time."""


class ReadPool:
    """Read-only connections for one process, made on the event loop that first uses them."""

    def __init__(self, url: str) -> None:
        """`url` is `postgresql://…`."""
        self._url = for_asyncpg(url)
        self._pool: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def fetch(self, statement: str, *values: Any) -> Sequence[Any]:
        """The rows. Raises UnreadableError."""
        try:
            pool = await self._bound_pool()
            return await pool.fetch(statement, *values)
        except LOST_CONNECTION as error:
            raise UnreadableError from error

    def in_use(self) -> int:
        """Connections at work, of POOL_SIZE."""
        return self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0

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
                command_timeout=COMMAND_TIMEOUT_SECONDS,
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

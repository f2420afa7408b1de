"""Connections to PostgreSQL. Nothing here connects at import; the first use does."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from psycopg import AsyncConnection
from sqlalchemy import QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

POOL_SIZE: Final = 10
ASKING_POOL_SIZE: Final = 4
# With the overflow: see _create_engine.
CONNECTIONS_MAX: Final = {"sessions": 2 * POOL_SIZE, "asking": 2 * ASKING_POOL_SIZE}
CONNECT_TIMEOUT_SECONDS: Final = 5
CANCEL_TIMEOUT_SECONDS: Final = 1.0
# Pages are read from memory or an SSD: by the default cost of 4, the planner reads all accounts'
# days rather than one account's by its key (measured: 97 ms instead of 13).
SESSION_SETTINGS: Final = {
    "statement_timeout": "15000",
    "timezone": "UTC",
    "jit": "off",
    "random_page_cost": "1.1",
}
# How soon a server is given up that went away without a word.
KEEPALIVES: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class PromptConnection(AsyncConnection[Any]):
    """Cancelling its statement takes a second at most, whether or not the server answers.

    The driver waits ten, to keep a connection that SQLAlchemy discards after a cancelled statement.
    """

    async def cancel_safe(self, *, timeout: float = CANCEL_TIMEOUT_SECONDS) -> None:
        """Ask the server to stop, and close the connection."""
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_TIMEOUT_SECONDS))
        finally:
            await self.close()


class Database:
    """A pool of connections for one process, made on the event loop that first uses it."""

    def __init__(self, url: str) -> None:
        """`url` is `postgresql://…`; the driver is psycopg 3."""
        self.url = url
        self._engine: AsyncEngine | None = None
        self._asking: AsyncEngine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncSession]:
        """A read-only session: one consistent snapshot, and no write can slip in."""
        async with AsyncSession(self._bound_engine()) as session:
            await session.connection(
                execution_options={
                    "isolation_level": "REPEATABLE READ",
                    "postgresql_readonly": True,
                }
            )
            yield session

    @asynccontextmanager
    async def asking(self) -> AsyncGenerator[AsyncSession]:
        """A read-only session for what open pages ask over and over. Its few connections keep the
        plans of their questions, which a rollback forgets; each question sees what is committed.
        """
        self._bound_engine()
        if self._asking is None:
            self._asking = _create_engine(self.url, is_asking=True)
        async with AsyncSession(self._asking) as session:
            yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """A session whose transaction commits when the block ends, rolls back when it raises."""
        session = AsyncSession(self._bound_engine(), expire_on_commit=False)
        async with session, session.begin():
            yield session

    def in_use(self) -> dict[str, int]:
        """Connections at work, by pool; of at most CONNECTIONS_MAX."""
        pools = {"sessions": self._engine, "asking": self._asking}
        return {
            name: cast("QueuePool", engine.pool).checkedout() if engine else 0
            for name, engine in pools.items()
        }

    async def dispose(self) -> None:
        for engine in (self._engine, self._asking):
            if engine is not None:
                await engine.dispose()
        self._engine = self._asking = None

    def _bound_engine(self) -> AsyncEngine:
        loop = asyncio.get_running_loop()
        if self._engine is None or self._loop is not loop:
            self._engine, self._asking = _create_engine(self.url), None
            self._loop = loop
        return self._engine


def _create_engine(url: str, *, is_asking: bool = False) -> AsyncEngine:
    settings = SESSION_SETTINGS | ({"default_transaction_read_only": "on"} if is_asking else {})
    pool_size = ASKING_POOL_SIZE if is_asking else POOL_SIZE
    more: dict[str, str] = {"isolation_level": "AUTOCOMMIT"} if is_asking else {}
    return create_async_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        # Values of rows, such as e-mail addresses, have no place in errors that are logged.
        hide_parameters=True,
        connect_args={
            "async_creator_fn": PromptConnection.connect,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            **KEEPALIVES,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
        **more,
    )

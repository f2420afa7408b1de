"""The connections of polled reads: what the database does not answer is told in time, and they are
back as soon as it is."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Final

import psycopg
import pytest

from billing_app.db import read_pool
from billing_app.db.engine import CANCEL_TIMEOUT_SECONDS
from billing_app.db.read_pool import POOL_SIZE, ReadPool, UnansweredError, UnreadableError
from tests.postgres import USER, OwnServer, own_server

STATEMENT: Final = "SELECT 1"
DEADLINE_SECONDS: Final = 0.5
# Of a busy machine.
MARGIN_SECONDS: Final = 5.0
PASSWORD: Final = "p@ss"


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_server(PASSWORD) as server:
        yield server


@pytest.fixture
async def pool(server: OwnServer) -> AsyncIterator[ReadPool]:
    pool = ReadPool(server.url())
    yield pool
    await pool.close()


async def test_hanging_server_holds_no_read_longer_than_the_deadline(
    server: OwnServer, pool: ReadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait for a connection."""
    await asyncio.gather(*[pool.fetch("SELECT pg_sleep(0.05)") for _ in range(2 * POOL_SIZE)])
    monkeypatch.setattr(read_pool, "DEADLINE_SECONDS", DEADLINE_SECONDS)
    server.freeze()
    began_at = time.monotonic()
    reads = [pool.fetch(STATEMENT) for _ in range(20 * POOL_SIZE)]
    try:
        answers = await asyncio.gather(*reads, return_exceptions=True)
        lasted = time.monotonic() - began_at
    finally:
        server.thaw()
    assert {type(each) for each in answers} == {UnansweredError}
    assert lasted < DEADLINE_SECONDS + CANCEL_TIMEOUT_SECONDS + MARGIN_SECONDS
    monkeypatch.undo()
    assert len(await pool.fetch(STATEMENT)) == 1


async def test_restarted_server_is_read_again(server: OwnServer, pool: ReadPool) -> None:
    await pool.fetch(STATEMENT)
    server.stop()
    with pytest.raises(UnreadableError):
        await pool.fetch(STATEMENT)
    server.start()
    assert len(await pool.fetch(STATEMENT)) == 1


async def test_server_without_a_free_connection_is_unreadable(server: OwnServer) -> None:
    pool = ReadPool(server.url().replace(f"//{USER}:", "//reader:"))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 0")
        with pytest.raises(UnreadableError):
            await pool.fetch(STATEMENT)
        connection.execute("ALTER ROLE reader CONNECTION LIMIT 1")
    assert len(await pool.fetch(STATEMENT)) == 1
    await pool.close()

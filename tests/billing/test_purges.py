"""Old rows are deleted in blocks, and no others; also on a cluster (CITUS_DATABASE_URL)."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_app.billing import retention
from billing_app.db.engine import Database
from tests.factories import connect

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAYS = 30


@pytest.mark.parametrize("rows", [3, 1_000])
async def test_old_answers_are_deleted_in_blocks(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(retention, "BLOCK_ROWS", rows)
    with connect(own_database_url) as connection:
        connection.execute(
            "INSERT INTO idempotency_keys (account_id, key, request_hash, answer, created_at)"
            " SELECT mod(n, 11), 'k:' || n, '', '', %s - n * interval '1 day'"
            " FROM generate_series(0, 99) AS n",
            [NOW],
        )
    database = Database(own_database_url)
    removed = await retention.purge_answers(database, now=NOW, retention_days=DAYS)
    await database.dispose()
    assert removed == 100 - DAYS - 1
    with connect(own_database_url) as connection:
        query = "SELECT count(*), min(created_at) FROM idempotency_keys"
        assert connection.execute(query).fetchall() == [(DAYS + 1, NOW - timedelta(days=DAYS))]

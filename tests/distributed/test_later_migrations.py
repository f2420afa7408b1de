"""A release after `distribute`: its migration runs on the distributed database while the app
counts, and its tables get their places."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from billing_app.billing.executions.service import Executions
from billing_app.cli import distributing
from billing_app.db import distribution, migrations
from billing_app.db.distribution import DISTRIBUTED, Placement
from tests.distributed.counted_load import CountedLoad, holders_of_all_shards, service
from tests.factories import connect

# A table that grows with executions, one of people, one that refers to nothing; columns,
# constraints and indexes of those that are there; rows moved from one to the other.
LATER = '''
from alembic import op

revision = "9001"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""CREATE TABLE account_notes (
        account_id bigint NOT NULL REFERENCES accounts (id), number bigint NOT NULL,
        text varchar NOT NULL, PRIMARY KEY (account_id, number))""")
    op.execute("CREATE UNIQUE INDEX uq_notes ON account_notes (account_id, text)")
    op.execute("CREATE TABLE addresses (id bigserial PRIMARY KEY,"
               " account_id bigint NOT NULL REFERENCES accounts (id), note bigint)")
    op.execute("CREATE TABLE words (word varchar PRIMARY KEY)")
    op.execute("ALTER TABLE accounts ADD COLUMN floor bigint")
    op.execute("ALTER TABLE plans ADD COLUMN note varchar NOT NULL DEFAULT 'none'")
    op.execute("ALTER TABLE plans ADD CONSTRAINT ck_note CHECK (note <> '') NOT VALID")
    op.execute("ALTER TABLE plans VALIDATE CONSTRAINT ck_note")
    op.execute("CREATE INDEX ix_note ON plans (account_id, note)")
    op.execute("ALTER TABLE execution_events ADD COLUMN lease varchar")
    op.execute("CREATE INDEX ix_lease ON execution_events (account_id, lease)"
               " WHERE lease IS NOT NULL")
    op.execute("UPDATE plans SET note = name")
    op.execute("INSERT INTO account_notes SELECT account_id, sequence, name FROM plans")
    op.execute("INSERT INTO addresses (account_id, note)"
               " SELECT notes.account_id, notes.number FROM account_notes AS notes"
               " JOIN plans ON plans.account_id = notes.account_id"
               " JOIN accounts ON accounts.id = plans.account_id")


def downgrade() -> None:
    op.execute("DROP TABLE words")
    op.execute("DROP TABLE addresses")
    op.execute("DROP TABLE account_notes")
    op.execute("ALTER TABLE execution_events DROP COLUMN lease")
    op.execute("ALTER TABLE plans DROP COLUMN note")
    op.execute("ALTER TABLE accounts DROP COLUMN floor")
'''
NOTES = "account_notes"
JOINED = f"""
    SELECT count(*) FROM {NOTES} AS notes
    JOIN plans ON plans.account_id = notes.account_id AND plans.note = notes.text
    JOIN accounts ON accounts.id = plans.account_id
    JOIN addresses ON addresses.account_id = accounts.id
"""  # noqa: S608
FOREIGN_KEYS = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass"


@pytest.fixture
def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This code, with one more migration, and a table more that is distributed."""
    directory = shutil.copytree(migrations.ALEMBIC_DIRECTORY, tmp_path / "alembic")
    later = directory / "versions" / "9001_later.py"
    later.write_text(LATER.format(head=migrations.head_revision()))
    monkeypatch.setattr(migrations, "ALEMBIC_DIRECTORY", directory)
    monkeypatch.setattr(distribution, "DISTRIBUTED", (*DISTRIBUTED, NOTES))


@pytest.fixture
async def executions(own_database_url: str) -> AsyncIterator[Executions]:
    """A process of the release before."""
    made = service(own_database_url)
    yield made
    await made.close()


def migrate(url: str) -> list[str]:
    """As the command does."""
    migrations.upgrade(url)
    return distributing.place_new(url)


async def test_migration_of_a_later_release_while_the_app_counts(
    own_database_url: str, executions: Executions, later_release: None
) -> None:
    url = own_database_url
    holders = holders_of_all_shards(url, 1)
    load = CountedLoad(url, executions, holders, clients=1)
    await load.begin()
    try:
        placed_tables = await asyncio.to_thread(migrate, url)
        before = load.acknowledged.total()
        async with asyncio.timeout(60):
            while load.acknowledged.total() < before + len(holders):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await load.end()
    assert placed_tables == [NOTES, "words"]
    await load.assert_counted()

    schema, steps = distribution.distribute(url, dry_run=True)
    assert steps == []
    placed = {name: schema.tables[name] for name in (NOTES, "addresses", "words")}
    assert placed == {
        NOTES: Placement.DISTRIBUTED,
        "addresses": Placement.LOCAL,
        "words": Placement.LOCAL,
    }
    with connect(url) as connection:
        assert connection.execute(JOINED.encode()).fetchall() == [(len(holders),)]
        assert connection.execute(FOREIGN_KEYS, ["addresses"]).fetchall() == [(1,)]
    assert migrate(url) == []


def test_tables_wait_for_distribute_without_harm(
    own_database_url: str, later_release: None
) -> None:
    """A `migrate` that was interrupted before it placed them."""
    url = own_database_url
    holders = holders_of_all_shards(url, 1)
    migrations.upgrade(url)
    with connect(url) as connection:
        assert connection.execute(JOINED.encode()).fetchall() == [(len(holders),)]
    assert migrate(url) == [NOTES, "words"]
    with connect(url) as connection:
        assert connection.execute(JOINED.encode()).fetchall() == [(len(holders),)]

"""The ledger by month: partitions by the events' numbers, and sums of those that are removed.

The table becomes one partition, without a scan or a copy under a strong lock, while the release
before counts on. What attaches a table without a scan is a constraint on it, validated beforehand.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import OperationalError

revision: str = "0035"
down_revision: str | None = "0034"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EVENTS = "execution_events"
LATER = "execution_events_later"
EARLIER = "execution_events_earlier"
CARRIED = "carried_forward"
PRIMARY_KEY = "pk_execution_events"
REFERS_TO = "ix_execution_events_refers_to"
BOUND = "ck_execution_events_bound"
# Until the table is attached, the constraint on it refuses events of later months.
MARGIN = timedelta(days=7)
# Decisions wait behind this lock, and give up after a second.
LOCK_TIMEOUT = "200ms"
MAX_ATTEMPTS = 300
PAUSE_SECONDS = 1.0
IN_USE = (
    f"{EVENTS} was in use all the time: end what reads it for long (a backup, verify), and run the"
    " migration again."
)
REMOVED = "Events were removed after their retention. The release before cannot verify the rest."


def upgrade() -> None:
    lock_timeout = op.get_bind().scalar(sa.text("SHOW lock_timeout"))
    with op.get_context().autocommit_block():
        op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        bound = _bound()
        _patiently(lambda: _add_bound(bound))
        try:
            _patiently(lambda: op.execute(f"ALTER TABLE {EVENTS} VALIDATE CONSTRAINT {BOUND}"))
        except BaseException:
            _patiently(_drop_bound)
            raise
    _patiently(lambda: _in_savepoint(lambda: _partition(bound)))
    op.execute(f"SET lock_timeout = '{lock_timeout}'")
    op.create_table(
        CARRIED,
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("before", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("plan_sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("events > 0", name=op.f("ck_carried_forward_events_positive")),
        sa.PrimaryKeyConstraint(
            "account_id", "before", "plan_sequence", name=op.f("pk_carried_forward")
        ),
    )
    _refuse_changes(CARRIED)


def downgrade() -> None:
    """Copy all events into one table again; nothing is counted meanwhile."""
    if op.get_bind().scalar(sa.text(f"SELECT EXISTS (SELECT FROM {CARRIED})")):
        raise RuntimeError(REMOVED)
    op.drop_table(CARRIED)
    _rename(f"{EVENTS}_parted")
    op.execute(f"CREATE TABLE {EVENTS} (LIKE {EVENTS}_parted INCLUDING CONSTRAINTS)")
    op.execute(f"INSERT INTO {EVENTS} SELECT * FROM {EVENTS}_parted")
    op.execute(f"DROP TABLE {EVENTS}_parted")
    _index()
    _refuse_changes(EVENTS)


def _bound() -> int:
    """The start of the month after all events, and after the margin."""
    newest = op.get_bind().scalar(sa.text(f"SELECT max(number) FROM {EVENTS}")) or 0
    at = max(datetime.now(UTC) + MARGIN, datetime.fromtimestamp(newest // 10**6, UTC))
    month = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return int(month.timestamp()) * 10**6


def _add_bound(bound: int) -> None:
    op.execute(
        f"ALTER TABLE {EVENTS} DROP CONSTRAINT IF EXISTS {BOUND},"
        f" ADD CONSTRAINT {BOUND} CHECK (number < {bound}) NOT VALID"
    )


def _drop_bound() -> None:
    op.execute(f"ALTER TABLE {EVENTS} DROP CONSTRAINT {BOUND}")


def _partition(bound: int) -> None:
    """Put a partitioned table around the one that is there."""
    _rename(EARLIER)
    op.execute(
        f"CREATE TABLE {EVENTS} (LIKE {EARLIER} INCLUDING CONSTRAINTS) PARTITION BY RANGE (number)"
    )
    _drop_bound()
    _index()
    op.execute(
        f"ALTER TABLE {EVENTS} ATTACH PARTITION {EARLIER} FOR VALUES FROM (MINVALUE) TO ('{bound}')"
    )
    op.execute(f"ALTER TABLE {EARLIER} DROP CONSTRAINT {BOUND}")
    op.execute(
        f"CREATE TABLE {LATER} PARTITION OF {EVENTS} FOR VALUES FROM ('{bound}') TO (MAXVALUE)"
    )
    _refuse_changes(EVENTS)
    _refuse_changes(LATER)


def _rename(table: str) -> None:
    op.execute(f"ALTER TABLE {EVENTS} RENAME TO {table}")
    op.execute(f"ALTER INDEX {PRIMARY_KEY} RENAME TO pk_{table}")
    op.execute(f"ALTER INDEX {REFERS_TO} RENAME TO ix_{table}_refers_to")


def _index() -> None:
    op.create_primary_key(PRIMARY_KEY, EVENTS, ["account_id", "number", "plan_sequence"])
    op.create_index(
        REFERS_TO,
        EVENTS,
        ["account_id", "refers_to"],
        postgresql_where=sa.text("refers_to IS NOT NULL"),
    )


def _refuse_changes(table: str) -> None:
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def _in_savepoint(work: Callable[[], None]) -> None:
    with op.get_bind().begin_nested():
        work()


def _patiently(work: Callable[[], object]) -> None:
    for _ in range(MAX_ATTEMPTS):
        try:
            work()
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != "55P03":
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return
    raise RuntimeError(IN_USE)

"""Workers take over the jobs of a worker that has ended, whichever way it ended.

DBOS gives a job back to its queue only when a process with the same executor id starts again. Here
each worker has an id of its own, and holds an advisory lock of PostgreSQL on it while it lives: the
lock goes with its connection. Jobs under way whose worker holds no lock are given back after
GRACE_SECONDS, in which a worker that lost its connection has it again.
"""

import threading
import time
import uuid
from collections.abc import Collection
from typing import Final, LiteralString

import psycopg
import structlog
from dbos import DBOS
from psycopg.conninfo import make_conninfo

from billing_app.db.engine import CONNECT_TIMEOUT_SECONDS, KEEPALIVES

LOOK_SECONDS: Final = 3.0
GRACE_SECONDS: Final = 9.0
RECONNECT_SECONDS: Final = 1.0
# So that the server, too, soon notices a worker whose machine is gone.
SERVER_KEEPALIVES: Final = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
)
LOCK_CLASS: Final = 0x42494C4C

# Shared: the server may not have noticed yet that an earlier connection of this worker is gone.
HOLD: Final[LiteralString] = "SELECT pg_advisory_lock_shared(%s, hashtext(%s))"
# Object ids are unsigned, hashes are not.
ABSENT: Final[LiteralString] = """
SELECT DISTINCT executor_id FROM dbos.workflow_status
WHERE status = 'PENDING' AND executor_id IS NOT NULL
  AND (application_name IS NULL OR application_name = %s)
  AND NOT EXISTS (
      SELECT FROM pg_locks
      WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = %s::bigint::oid
        AND objid = (hashtext(executor_id)::bigint & 4294967295)::oid
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

Connection = psycopg.Connection[tuple[str]]

log = structlog.get_logger(__name__)


def new_executor_id() -> str:
    return f"worker-{uuid.uuid4().hex}"


class Absences:
    """Since when executors have been without their lock, in seconds of a clock that nobody sets."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._since: dict[str, float] = {}

    def note(self, absent: Collection[str], at: float) -> list[str]:
        """Those of `absent` that were so during the whole grace."""
        self._since = {name: self._since.get(name, at) for name in absent}
        return sorted(
            name for name, since in self._since.items() if at - since >= self._grace_seconds
        )

    def forget(self) -> None:
        """The database was away, and others may not have their locks again yet."""
        self._since.clear()


class Takeover:
    """Of one worker: its own lock, and what others leave."""

    def __init__(self, database_url: str, executor_id: str, application_name: str) -> None:
        self._url = make_conninfo(
            database_url,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="billing worker",
            options=SERVER_KEEPALIVES,
            **KEEPALIVES,
        )
        self._executor_id = executor_id
        self._application_name = application_name
        self._absences = Absences()
        self._connection: Connection | None = None

    def hold(self) -> Connection:
        """Hold the worker's lock, from before it takes up a job. Raises psycopg.Error."""
        if self._connection is None:
            connection: Connection = psycopg.connect(self._url, autocommit=True)
            connection.execute(HOLD, [LOCK_CLASS, self._executor_id])
            self._connection = connection
        return self._connection

    def start(self) -> None:
        """Look after others, in a thread of its own until the process ends. DBOS is launched."""
        threading.Thread(target=self._look_for_ever, name="job-takeover", daemon=True).start()

    def absent(self) -> list[str]:
        """Executors that have jobs under way and hold no lock. Raises psycopg.Error."""
        rows = self.hold().execute(ABSENT, [self._application_name, LOCK_CLASS]).fetchall()
        return [executor_id for (executor_id,) in rows]

    def _look_for_ever(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS if self._connection else RECONNECT_SECONDS)
            try:
                _give_back(self._absences.note(self.absent(), time.monotonic()))
            except Exception as error:
                log.warning("job_takeover_interrupted", error=type(error).__name__)
                self._let_go()

    def _let_go(self) -> None:
        self._absences.forget()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _give_back(executor_ids: list[str]) -> None:
    """Have the jobs of these executors begun again. When two workers do so at once, each job is
    given back once."""
    if executor_ids:
        jobs = DBOS._recover_pending_workflows(executor_ids)  # noqa: SLF001 - there is no other way
        log.warning("jobs_taken_over", jobs=len(jobs), executors=executor_ids)

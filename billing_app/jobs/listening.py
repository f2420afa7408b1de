"""Jobs are announced by the database as they are enqueued, so that a worker need not look often.

A trigger on the table of DBOS announces whatever is enqueued, by whom and however it may be, when
that is committed. An announcement that is lost costs time only: the worker looks by itself, too.
"""

import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from billing_app.db.engine import CONNECT_TIMEOUT_SECONDS, KEEPALIVES
from billing_app.jobs.pace import Pace

JOBS_CHANNEL: Final = "billing_jobs"
# A connection that says nothing is asked whether it is there.
HEARTBEAT_SECONDS: Final = 30.0
RECONNECT_SECONDS: Final = 1.0

# A job that ended lets the next one of its customer begin.
INSTALL: Final = f"""
SELECT pg_advisory_xact_lock(hashtext('{JOBS_CHANNEL}'));
SET LOCAL lock_timeout = '5s';
CREATE OR REPLACE FUNCTION dbos.announce_billing_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('{JOBS_CHANNEL}', NEW.queue_name);
    RETURN NULL;
END
$$;
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgname = 'announce_billing_job'
        AND tgrelid = 'dbos.workflow_status'::regclass
    ) THEN
        CREATE TRIGGER announce_billing_job
        AFTER INSERT OR UPDATE OF status ON dbos.workflow_status FOR EACH ROW
        WHEN (NEW.queue_name IS NOT NULL AND NEW.status <> 'PENDING')
        EXECUTE FUNCTION dbos.announce_billing_job();
    END IF;
END
$$;
"""  # noqa: S608

Heard = Callable[[str, str], None]
"""Called with the channel and the payload of a notification."""

log = structlog.get_logger(__name__)


def install(database_url: str) -> bool:
    """Have jobs announced from now on; False where this user may not. DBOS is launched already."""
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:
            connection.execute(INSTALL)
    except psycopg.Error as error:
        log.warning("jobs_not_announced", error=str(error).strip())
        return False
    return True


def listen(database_url: str, pace: Pace, channels: Sequence[str], heard: Heard) -> None:
    """In a thread of its own, until the process ends: pass on what is announced in `channels`,
    over a connection that is made again when it is lost. The pace is told of both."""
    thread = threading.Thread(
        target=_listen_for_ever,
        args=(database_url, pace, channels, heard),
        name="job-listener",
        daemon=True,
    )
    thread.start()


def _listen_for_ever(database_url: str, pace: Pace, channels: Sequence[str], heard: Heard) -> None:
    while True:
        try:
            _listen(database_url, pace, channels, heard)
        except (psycopg.Error, OSError) as error:
            log.warning("job_listener_lost", error=type(error).__name__)
        pace.hear(is_heard=False)
        time.sleep(RECONNECT_SECONDS)


def _listen(database_url: str, pace: Pace, channels: Sequence[str], heard: Heard) -> None:
    options = {"application_name": "billing job listener", **KEEPALIVES}
    url = make_conninfo(database_url, connect_timeout=CONNECT_TIMEOUT_SECONDS, **options)
    with psycopg.connect(url, autocommit=True) as connection:
        for channel in (JOBS_CHANNEL, *channels):
            connection.execute(f"LISTEN {channel}")  # pyright: ignore[reportArgumentType, reportCallIssue]
        pace.hear(is_heard=True)
        while True:
            # psycopg itself would wake up ten times a second while it waits.
            if not select.select([connection.fileno()], [], [], HEARTBEAT_SECONDS)[0]:
                connection.execute("SELECT 1")
            for notification in connection.notifies(timeout=0):
                if notification.channel == JOBS_CHANNEL:
                    pace.announce(notification.payload)
                else:
                    heard(notification.channel, notification.payload)

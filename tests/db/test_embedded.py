"""The embedded PostgreSQL stops with its last process, whatever happened to the others."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from billing_app.db.embedded import USERS_FILE

START = """
import sys
from pathlib import Path
from billing_app.db.embedded import start_embedded
start_embedded(Path(sys.argv[1]), {"fsync": "off"})
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="billing-embedded-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _start(directory: Path, **environment: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(directory / "postgres")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    return process


def _is_running(directory: Path) -> bool:
    return (directory / "postgres" / "postmaster.pid").exists()


def test_stops_with_the_last_process_although_others_were_killed(directory: Path) -> None:
    last, killed, before = (_start(directory) for _ in range(3))
    before.send_signal(signal.SIGKILL)
    before.wait(10)
    after = _start(directory)
    for process in (killed, after):
        process.send_signal(signal.SIGKILL)
        # Dead, and not yet reaped.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert _is_running(directory)
    last.communicate("", timeout=60)
    assert not _is_running(directory)
    for process in (killed, after):
        process.communicate(timeout=10)


def test_process_that_got_the_number_of_a_dead_one_does_not_count(directory: Path) -> None:
    process = _start(directory)
    noted = directory / "postgres" / USERS_FILE
    [mine] = json.loads(noted.read_text())
    noted.write_text(json.dumps([mine, [os.getpid(), mine[1] - 3600]]))
    process.communicate("", timeout=60)
    assert not _is_running(directory)


def test_lock_of_somebody_else_in_the_temp_folder_stops_nobody(directory: Path) -> None:
    shared = directory / "temp"
    (shared / ".lockfile").mkdir(parents=True)
    shared.chmod(0o777)
    process = _start(directory, TMPDIR=str(shared), XDG_RUNTIME_DIR=str(directory / "none"))
    assert _is_running(directory)
    process.communicate("", timeout=60)
    assert not _is_running(directory)

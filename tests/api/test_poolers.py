"""Behind PgBouncer nothing can be decided: each start says in one line what it needs, and `/readyz`
does."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from billing_app.billing.executions import store
from billing_app.db.poolers import DIRECT
from tests.api.server import ApiServer
from tests.conftest import server_environment
from tests.processes import free_port, run_command

START_SECONDS = 20.0
# What the app needs to connect at all, and to all the more.
USUAL = "extra_float_digits,options"
IGNORED = ",".join([USUAL, *store.SESSION_SETTINGS])
REFUSED = 2


@contextmanager
def pooler(database_url: str, directory: Path, mode: str, ignored: str) -> Iterator[str]:
    """PgBouncer in front of the database; gives the URL through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("no pgbouncer is installed")
    target, port = conninfo_to_dict(database_url), free_port()
    (directory / "users").write_text(f'"{target["user"]}" ""\n')
    (directory / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={target['host']} user={target['user']}\n"
        "[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = any\nauth_file = {directory}/users\n"
        f"unix_socket_dir =\npool_mode = {mode}\nignore_startup_parameters = {ignored}\n"
    )
    command = [program, str(directory / "pgbouncer.ini")]
    if os.geteuid() == 0:  # which it refuses to run as
        (path,) = Path(str(target["host"])).glob(".s.PGSQL.*[0-9]")
        command[1:1] = ["-u", path.owner()]
        _let_read(directory, path.stat().st_uid)
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        _wait_until_listening(process, port)
        yield f"postgresql://{target['user']}@127.0.0.1:{port}/{target['dbname']}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "PgBouncer ended"
            assert time.monotonic() < deadline, "PgBouncer did not start"
            time.sleep(0.05)
        else:
            return


def _let_read(directory: Path, user_id: int) -> None:
    for path in (directory, *directory.iterdir()):
        os.chown(path, user_id, -1)
    for parent in directory.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)


def readiness(url: str) -> httpx.Response:
    """Of a process that waits for nobody: it is asked until the pooler is up."""
    server = ApiServer(url)
    server.start()
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            answer = httpx.get(f"{server.url}/readyz", timeout=20)
            if answer.json()["checks"]["executions"] != "unknown":
                return answer
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("mode", "ignored", "said"),
    [
        ("transaction", USUAL, "cannot decide: unsupported startup parameter"),
        ("transaction", IGNORED, "session settings are lost"),
        ("session", USUAL, "cannot decide: unsupported startup parameter"),
        ("session", IGNORED, "session settings are lost"),
    ],
)
def test_pooler_is_not_ready(
    api_database_url: str, tmp_path: Path, mode: str, ignored: str, said: str
) -> None:
    with pooler(api_database_url, tmp_path, mode, ignored) as url:
        answer = readiness(url)
    assert answer.status_code == 503
    executions = answer.json()["checks"]["executions"]
    assert executions.startswith(said)
    assert executions.endswith(DIRECT)
    assert "\n" not in executions


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("ignored", ["extra_float_digits", USUAL, IGNORED])
def test_start_through_a_pooler_says_what_it_needs(
    api_database_url: str, tmp_path: Path, mode: str, ignored: str
) -> None:
    with pooler(api_database_url, tmp_path, mode, ignored) as url:
        for arguments in (["migrate"], ["api"], ["serve"], ["worker"]):
            if arguments[0] in ("api", "serve"):
                arguments += ["--port", str(free_port())]
            done = run_command(server_environment(url), *arguments)
            assert done.returncode == REFUSED, done.stdout
            (said,) = done.stderr.splitlines()
            assert said.endswith(DIRECT)


async def test_lost_settings_are_named(
    api_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where PgBouncer ignores them: what is wanted differs from what the session has."""
    assert await store.unready_because(api_database_url) == ""
    connect = store.connect

    async def through_a_pooler(url: str) -> store.Connection:
        connection = await connect(url)
        await connection.execute("SET lock_timeout = 0; SET jit = on")
        return connection

    monkeypatch.setattr(store, "connect", through_a_pooler)
    said = await store.unready_because(api_database_url)
    assert said == (
        "session settings are lost (jit, lock_timeout): connect directly, not through a pooler"
    )


async def test_unreachable_database_is_one_line() -> None:
    said = await store.unready_because(f"postgresql://nobody@127.0.0.1:{free_port()}/x")
    assert said.startswith("cannot decide: ")
    assert "\n" not in said

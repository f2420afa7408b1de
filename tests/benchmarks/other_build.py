"""Another checkout's whole app beside ours: with its own database, schema, key and pages."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import psycopg

from tests.benchmarks.harness import PUBLIC_ORGANIZATION, BenchmarkHarness, create_database
from tests.benchmarks.processes import BenchmarkError
from tests.benchmarks.whole_app import WholeApp
from tests.processes import free_port

NAME: Final = "other_build"
BUILD_SECONDS: Final = 300.0
STOP_SECONDS: Final = 20


@contextmanager
def serving_other_build(bed: BenchmarkHarness, checkout: Path) -> Iterator[WholeApp]:
    """On the benchmark's database server. Raises BenchmarkError when it does not start."""
    port = free_port()
    _drop_database(bed)
    environment = {
        **os.environ,
        **bed.environment,
        "DATABASE_URL": create_database(bed.server_url, NAME),
        "PUBLIC_URL": f"http://localhost:{port}",
    }
    _command(checkout, environment, "migrate")
    scopes = ("--scope", "executions", "--scope", "plans:read")
    created = _command(
        checkout, environment, "keys", "create", "--name", NAME, "--platform", *scopes
    )
    secret = created.split()[-1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*_python(checkout), "serve", "--port", str(port)],
            cwd=checkout,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            app = WholeApp(port, process.pid, secret, PUBLIC_ORGANIZATION)
            _wait_until_ready(app, process)
            yield app
        finally:
            process.terminate()
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            _drop_database(bed)


def _python(checkout: Path) -> list[str]:
    own = checkout / ".venv" / "bin" / "python"
    return [str(own) if own.exists() else sys.executable, "-m", "billing_app"]


def _command(checkout: Path, environment: Mapping[str, str], *arguments: str) -> str:
    command = [*_python(checkout), *arguments]
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"{checkout}: {' '.join(arguments)}: {done.stderr[-400:]}")
    return done.stdout


def _wait_until_ready(app: WholeApp, process: "subprocess.Popen[bytes]") -> None:
    """Building its pages counts."""
    give_up_at = time.monotonic() + BUILD_SECONDS
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            if httpx.get(f"{app.base_url}/readyz", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise BenchmarkError("The other build did not start.")


def _drop_database(bed: BenchmarkHarness) -> None:
    with psycopg.connect(bed.server_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")  # pyright: ignore[reportArgumentType, reportCallIssue]

"""The processes of a benchmark: app servers and the load, started, measured and ended here."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil

from tests.benchmarks.load import Load, Result

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
LOAD_SECONDS: Final = 180.0


class BenchmarkError(Exception):
    """A case could not be measured; the message says which part failed and how."""


class Server(msgspec.Struct, frozen=True):
    app: str
    port: int
    pid: int


@contextlib.contextmanager
def serving(
    app: str, server: str, environment: dict[str, str], checkout: Path | None = None
) -> Iterator[Server]:
    """An app on an ASGI server, in a process that ends with the block; of another checkout."""
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.serve", app, server, str(port)],
        env={**os.environ, **environment},
        cwd=checkout,
    )
    try:
        _wait_for(port, process)
        yield Server(app, port, process.pid)
    finally:
        _stop(process)


def send(load: Load) -> Result:
    """Run a load in its own process. Raises BenchmarkError when an answer had another status."""
    return begin(load)()


def begin(load: Load) -> Callable[[], Result]:
    """Start a load in its own process; the result is waited for by calling what is returned."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(load))
    process.stdin.close()
    process.stdin = None
    return lambda: _result(process)


def _result(process: "subprocess.Popen[bytes]") -> Result:
    output, _ = process.communicate(timeout=LOAD_SECONDS)
    if process.returncode:
        raise BenchmarkError(f"The load process ended with {process.returncode}.")
    result = msgspec.json.decode(output, type=Result)
    if result.errors:
        raise BenchmarkError(f"{result.errors} answers had another status: {result.error_samples}")
    return result


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise BenchmarkError(f"The server ended with {process.returncode} before it listened.")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise BenchmarkError(f"The server did not listen within {START_SECONDS:g} s.")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        process.wait()

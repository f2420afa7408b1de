"""Running the app's own processes in tests: commands, and servers that are up when returned."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import httpx

from tests.fork_server import AppProcess

START_SECONDS = 120.0

# A shell lets what it begins in the background ignore SIGINT, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def run_command(
    environment: dict[str, str], *arguments: str, timeout_seconds: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """`python -m billing_app …`, run to its end."""
    process = AppProcess("billing_app", arguments, environment, has_own_stderr=True)
    try:
        stdout, stderr = process.communicate(timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start_command(
    environment: dict[str, str], *arguments: str, log: IO[str] | None = None
) -> AppProcess:
    """With `log` for one that prints a lot: a pipe that nobody reads stops it when it is full."""
    return AppProcess("billing_app", arguments, environment, output=log)


@contextmanager
def api_process(environment: dict[str, str], workers: int = 1) -> Iterator[str]:
    """`python -m billing_app api` on a free port; gives its base URL once it is ready."""
    port = free_port()
    process = start_command(environment, "api", "--port", str(port), "--workers", str(workers))
    base_url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(base_url, process)
        yield base_url
    finally:
        process.terminate()
        process.communicate(timeout=20)


def wait_until_ready(base_url: str, process: AppProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {process.communicate()[0]}")
        try:
            if httpx.get(f"{base_url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("the server is not ready")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]

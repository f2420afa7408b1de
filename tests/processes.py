"""Running the app's own processes in tests: commands, and servers that are up when returned."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120.0

# A shell lets what it begins in the background ignore SIGINT, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def run_command(
    environment: dict[str, str], *arguments: str, timeout_seconds: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """`python -m billing_app …`, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "billing_app", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def start_command(
    environment: dict[str, str], *arguments: str, log: IO[str] | None = None
) -> subprocess.Popen[str]:
    """With `log` for one that says much: a pipe that nobody reads stops it when it is full."""
    return subprocess.Popen(
        [sys.executable, "-m", "billing_app", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=log or subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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


def wait_until_ready(base_url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {process.communicate()[0]}")
        try:
            if httpx.get(f"{base_url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server is not ready")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]

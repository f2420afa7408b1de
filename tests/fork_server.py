"""Runs the app's programs as real processes without a fresh interpreter for each.

A server process imports the app once and forks for each `python -m MODULE` that a test starts:
0.05 s instead of 2 to 4. The child has its own environment, files, process id and exit status, and
can be killed like any other. What must be proved of a fresh interpreter uses `subprocess`.
"""

import atexit
import contextlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
STATUS: Final = struct.Struct("!q")
LENGTH: Final = struct.Struct("!I")
FILES: Final = 4
PRELOADED: Final = (
    "uvicorn.config",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.lifespan.on",
    "granian.server",
    "billing_app.api.app",
    "billing_app.cli.main",
    "billing_app.demo.seed",
    "billing_app.jobs.worker",
    "billing_app.payments.gateway",
    "billing_app.replay",
    "billing_app.serving",
    "billing_app.stripe_sandbox.app",
)


class AppProcess:
    """A running program; what tests use of `subprocess.Popen`, under the same names."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        output: IO[Any] | None = None,
        has_own_stderr: bool = False,
        directory: Path = ROOT,
    ) -> None:
        """Standard output is a pipe unless `output` is given; errors join it unless
        `has_own_stderr`."""
        self.args = [module, *arguments]
        self.returncode: int | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        written: list[int] = []
        if output is None:
            reading, writing = os.pipe()
            self.stdout = os.fdopen(reading, encoding="utf-8", errors="replace")
            written.append(writing)
        else:
            written.append(os.dup(output.fileno()))
        if has_own_stderr:
            reading, writing = os.pipe()
            self.stderr = os.fdopen(reading, encoding="utf-8", errors="replace")
            written.append(writing)
        else:
            written.append(os.dup(written[0]))
        self._channel, theirs = socket.socketpair()
        order = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(environment),
            "directory": str(directory),
        }
        with Path(os.devnull).open("rb") as nothing:
            _server().order(order, [nothing.fileno(), *written, theirs.fileno()])
        theirs.close()
        for descriptor in written:
            os.close(descriptor)
        self.pid = STATUS.unpack(self._channel.recv(STATUS.size, socket.MSG_WAITALL))[0]

    def poll(self) -> int | None:
        """The exit status as `subprocess` tells it, or None while it runs."""
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        status = self._await(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All output that nobody has read yet, once the process has ended."""
        texts: dict[str, str] = {}

        def read(name: str, pipe: IO[str]) -> None:
            with contextlib.suppress(ValueError):
                texts[name] = pipe.read()

        pipes = {"stdout": self.stdout, "stderr": self.stderr}
        readers = [
            threading.Thread(target=read, args=(name, pipe), daemon=True)
            for name, pipe in pipes.items()
            if pipe is not None
        ]
        for reader in readers:
            reader.start()
        deadline = None if timeout is None else time.monotonic() + timeout
        self.wait(timeout)
        for reader in readers:
            reader.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        return texts.get("stdout", ""), texts.get("stderr", "")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _await(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._channel.settimeout(timeout)
            try:
                answer = self._channel.recv(STATUS.size, socket.MSG_WAITALL)
            except (TimeoutError, BlockingIOError):
                return None
            code = STATUS.unpack(answer)[0] if answer else 0
            self.returncode = os.waitstatus_to_exitcode(code)
            self._channel.close()
        return self.returncode


class _Server:
    """The process that forks, seen from the tests."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        theirs.close()
        atexit.register(self._end)

    def order(self, order: dict[str, Any], files: Sequence[int]) -> None:
        body = json.dumps(order).encode()
        socket.send_fds(self._control, [LENGTH.pack(len(body))], list(files))
        self._control.sendall(body)

    def _end(self) -> None:
        self._control.close()
        self._process.wait(10)


@cache
def _server() -> _Server:
    return _Server()


def serve(control: socket.socket) -> None:
    """Fork for each order until the tests close their end."""
    for name in PRELOADED:
        __import__(name)
    channels: dict[int, socket.socket] = {}
    waking, woken = socket.socketpair()
    for end in (waking, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(waking, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is waking:
                    with contextlib.suppress(BlockingIOError):
                        waking.recv(1024)
                    _report_ended(channels)
                elif not _take_order(control, channels):
                    return


def _take_order(control: socket.socket, channels: dict[int, socket.socket]) -> bool:
    head, files, _, _ = socket.recv_fds(control, LENGTH.size, FILES)
    if not head:
        return False
    body = b""
    while len(body) < LENGTH.unpack(head)[0]:
        body += control.recv(LENGTH.unpack(head)[0] - len(body))
    pid = os.fork()
    if pid == 0:
        _become(json.loads(body), files)
    channel = socket.socket(fileno=files[-1])
    channel.sendall(STATUS.pack(pid))
    channels[pid] = channel
    for descriptor in files[:-1]:
        os.close(descriptor)
    return True


def _report_ended(channels: dict[int, socket.socket]) -> None:
    for pid in list(channels):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with contextlib.closing(channels.pop(pid)) as channel, contextlib.suppress(OSError):
                channel.sendall(STATUS.pack(status))


def _become(order: dict[str, Any], files: Sequence[int]) -> None:
    """The child: run the module as `python -m` does, and end as the interpreter ends."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for target, descriptor in enumerate(files[:3]):
            os.dup2(descriptor, target)
        os.closerange(3, 1024)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115
        os.chdir(order["directory"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = [order["module"], *order["arguments"]]
        code = _run(order["module"])
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
            atexit._run_exitfuncs()
            sys.stdout.flush()
        os._exit(code)


def _run(module: str) -> int:
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BaseException:
        sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]
        return 1
    return 0


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

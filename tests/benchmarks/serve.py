"""One app on one ASGI server, as a process of its own: `python -m tests.benchmarks.serve`."""

import argparse
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

APPS: Final = ("ours", "untraced", "unexplained", "bare", "naive-async", "naive-sync")
SERVERS: Final = ("uvicorn", "granian")


def ours() -> Any:
    from billing_app.serving import api_worker

    return api_worker()


def untraced() -> Any:
    """Ours as it would be without code for traces."""
    from billing_app import tracing
    from billing_app.api import app

    nothing = {"queued": lambda *_: None, "batch_span": lambda *_: tracing.OFF}
    patch.object(app, "TracedRequests", lambda inner: inner).start()
    patch.multiple(tracing, **nothing).start()
    return ours()


def unexplained() -> Any:
    """Ours as it would be if denials did not say what comes next."""
    from billing_app.billing.subscriptions.next_reads import DenialReads

    async def explain(*_: object) -> None: ...

    patch.object(DenialReads, "explain", explain).start()
    return ours()


def bare() -> Any:
    from tests.benchmarks.bare import app

    return app


def naive_async() -> Any:
    from tests.benchmarks.naive import create_app

    return create_app(is_async=True)


def naive_sync() -> Any:
    from tests.benchmarks.naive import create_app

    return create_app(is_async=False)


FACTORIES: Final[dict[str, Callable[[], Any]]] = {
    "ours": ours,
    "untraced": untraced,
    "unexplained": unexplained,
    "bare": bare,
    "naive-async": naive_async,
    "naive-sync": naive_sync,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("app", choices=APPS)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    run = _run_uvicorn if arguments.server == "uvicorn" else _run_granian
    run(arguments.app, arguments.port)


def _run_uvicorn(app: str, port: int) -> None:
    import uvicorn

    uvicorn.run(
        FACTORIES[app],
        factory=True,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )


def _run_granian(app: str, port: int) -> None:
    from granian.constants import Interfaces, Loops
    from granian.log import LogLevels
    from granian.server import Server

    Server(
        target=f"tests.benchmarks.serve:{FACTORIES[app].__name__}",
        factory=True,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=1,
        log_level=LogLevels.warning,
    ).serve()


if __name__ == "__main__":
    main()

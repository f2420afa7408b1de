"""What traces cost a consume: their code while they are off, and a part of the requests sampled."""

import os
import statistics
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from billing_app.tracing import DEFAULT_RATIO
from tests.benchmarks.load import Result
from tests.benchmarks.processes import BenchmarkError, Server, serving

if TYPE_CHECKING:
    from tests.benchmarks.cases import Cases

CLIENTS: Final = 64
MOST_OFF: Final = 1.03
WITHOUT, OFF, SAMPLED = "without", "off", f"of {DEFAULT_RATIO:.0%} of requests"


def tracing(cases: "Cases") -> None:
    """The app's CPU for each consume: without the code for traces, with it, and with a collector;
    one right after another in each round."""
    rounds: defaultdict[str, list[Result]] = defaultdict(list)
    with ExitStack() as running:
        collector = running.enter_context(_collecting())
        apps = ((WITHOUT, "untraced", ""), (OFF, "ours", ""), (SAMPLED, "ours", collector.url))
        servers = {
            name: running.enter_context(_serving(cases, app, url)) for name, app, url in apps
        }
        for number in range(cases.plan.rounds):
            for name in sorted(servers, reverse=number % 2 == 1):
                rounds[name].append(cases.consume(servers[name], "many", CLIENTS))
    if not collector.batches:
        raise BenchmarkError("The collector was sent no traces.")
    for name in servers:
        cases.report.cell(f"traces {name}, many, {CLIENTS} clients", rounds[name])
    off, sampled = (_ratio(rounds[name], rounds[WITHOUT]) for name in (OFF, SAMPLED))
    cases.report.at_most("traces off: CPU of a consume, of without", off, MOST_OFF, "x")
    cases.report.note(f"traces {SAMPLED}: CPU of a consume {sampled:.2f}x of without")


def _serving(cases: "Cases", app: str, collector: str) -> AbstractContextManager[Server]:
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector} if collector else {}
    return serving(app, cases.plan.server, {**cases.bed.environment, **more})


def _ratio(these: list[Result], others: list[Result]) -> float:
    """The median of what one took over what the other took in the same round."""
    pairs = zip(these, others, strict=True)
    return statistics.median(_cpu(this) / _cpu(other) for this, other in pairs)


def _cpu(result: Result) -> float:
    return result.server_cpu_seconds / max(1, result.requests)


class Collector:
    """Takes spans and forgets them."""

    def __init__(self) -> None:
        self.batches = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.batches += 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def _collecting() -> Iterator[Collector]:
    assert not any(name.startswith("OTEL_") for name in os.environ)
    collector = Collector()
    threading.Thread(target=collector.server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()

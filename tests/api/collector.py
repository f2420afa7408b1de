"""A collector of traces: OTLP over HTTP, as the OpenTelemetry Collector takes them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Span:
    """Ids in hexadecimal digits."""

    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    is_error: bool


class Collector:
    """What it was sent, as spans and as bytes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.received = b""
        # Headers of requests that are not about traces: it is whatever service an app calls.
        self.asked: list[dict[str, str]] = []

    def environment(self) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_TRACES_SAMPLER": "parentbased_always_on",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def take(self, body: bytes) -> None:
        self.received += body
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            resource = _attributes(of_resource.resource.attributes)
            for scope in of_resource.scope_spans:
                self.spans += [_span(each, resource["service.name"]) for each in scope.spans]

    def wait_for(self, is_wanted: Callable[[Span], bool]) -> Span:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = next((span for span in list(self.spans) if is_wanted(span)), None)
            if found is not None:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no such span among {[span.name for span in self.spans]}")


@contextmanager
def running_collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                collector.take(body)
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            if self.path != "/v1/traces":
                collector.asked.append(
                    {name.lower(): value for name, value in self.headers.items()}
                )
            answer = b"" if self.path == "/v1/traces" else b'{"id": "acct_1", "object": "account"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _span(span: Any, service: str) -> Span:
    return Span(
        name=span.name,
        service=service,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        attributes=_attributes(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        is_error=span.status.code == 2,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}

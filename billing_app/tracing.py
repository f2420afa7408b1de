"""OpenTelemetry traces, where the environment names a collector; elsewhere nothing is imported.

Spans say which route, which account and how long: never a path with ids, a query, a header or a
body, because those have keys, tokens and addresses.
"""

import asyncio
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from billing_app.settings import traces_are_wanted, traces_sampler_is_set

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, SpanKind, Tracer

    Attributes = Mapping[str, str | int]

SERVICE: Final = "billing"
# Of requests whose caller has not decided: every span of a thousand a second is too many.
DEFAULT_RATIO: Final = 0.05
MAX_LINKS: Final = 128
FLUSH_MILLISECONDS: Final = 2_000
OFF: Final = nullcontext[Any](None)


class _Tracing:
    """What `start` has made of this process."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self.lock: Final = threading.Lock()
        self.waiting: dict[asyncio.Future[Any], SpanContext] = {}


_tracing: Final = _Tracing()


def start() -> None:
    """Export the spans of this process, if the environment asks for it. Safe to call again."""
    with _tracing.lock:
        if _tracing.tracer is not None or not traces_are_wanted():
            return
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        # OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER, where they are set, are the SDK's to read.
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME)).startswith("unknown_service"):
            resource = Resource.create({SERVICE_NAME: SERVICE})
        sampler = None if traces_sampler_is_set() else ParentBasedTraceIdRatio(DEFAULT_RATIO)
        provider = TracerProvider(sampler=sampler, resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        _tracing.tracer = provider.get_tracer("billing_app")


def is_on() -> bool:
    return _tracing.tracer is not None


def flush() -> None:
    """Send what was not yet sent; waits FLUSH_MILLISECONDS at most."""
    if _tracing.tracer is None:
        return
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    provider.force_flush(FLUSH_MILLISECONDS)


def server_span(
    name: str, headers: Iterable[tuple[bytes, bytes]], attributes: "Attributes"
) -> "AbstractContextManager[Span | None]":
    """Of a request that came in; a part of the caller's trace, when it sends `traceparent`."""
    if _tracing.tracer is None:
        return OFF
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    names = (b"traceparent", b"tracestate")
    carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in names}
    parent = TraceContextTextMapPropagator().extract(carrier) if carrier else None
    return _span(name, SpanKind.SERVER, attributes, parent)


def client_span(name: str, attributes: "Attributes") -> "AbstractContextManager[Span | None]":
    """Of a request to another service."""
    if _tracing.tracer is None:
        return OFF
    from opentelemetry.trace import SpanKind

    return _span(name, SpanKind.CLIENT, attributes, None)


def outgoing(headers: Mapping[str, str]) -> Mapping[str, str]:
    """With the current span as `traceparent`, for the service that is called."""
    if _tracing.tracer is None:
        return headers
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {**headers, **carrier}


def queued(future: "asyncio.Future[Any]") -> None:
    """The current request waits for this future, which a batch will decide."""
    if _tracing.tracer is None:
        return
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    if context.trace_flags.sampled:
        _tracing.waiting[future] = context


def batch_span(
    lane: str, futures: "Iterable[asyncio.Future[Any]]", size: int
) -> "AbstractContextManager[Span | None]":
    """Of a transaction that decides for many requests. It is a part of the first one's trace, and
    links to the others; there is none when none of the requests is sampled."""
    if not _tracing.waiting:
        return OFF
    found = [_tracing.waiting.pop(each) for each in futures if each in _tracing.waiting]
    if not found:
        return OFF
    from opentelemetry import trace

    parent = trace.set_span_in_context(trace.NonRecordingSpan(found[0]))
    attributes: dict[str, str | int] = {
        "db.system.name": "postgresql",
        "db.operation.batch.size": size,
        "billing.lane": lane,
    }
    links = [trace.Link(context) for context in found[1 : MAX_LINKS + 1]]
    return _span(f"decide {lane}", trace.SpanKind.CLIENT, attributes, parent, links)


@contextmanager
def _span(
    name: str,
    kind: "SpanKind",
    attributes: "Attributes",
    parent: "Context | None",
    links: Any = None,
) -> "Generator[Span]":
    """Without the text of an exception that passes: it may have values in it."""
    assert _tracing.tracer is not None
    with _tracing.tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=attributes,
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            failed(span, type(error).__name__)
            raise


def failed(span: "Span", reason: str) -> None:
    """Mark a span as failed, for a reason that is one of few."""
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", reason)
    span.set_status(Status(StatusCode.ERROR))

"""Traces by OpenTelemetry, where they are asked for: a span for each request, and one for its time in the model.

A caller's `traceparent` (W3C Trace Context) is taken over. Spans go by OTLP over HTTP, in batches, in a thread of the
library; the library's own environment variables (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, ...) are obeyed. Spans
hold names, sizes and status codes, and nothing that a caller has sent as an input.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from grpc import StatusCode

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger("mastery.serving")

SCOPE = "mastery.serving"
EXPORT_SECONDS = (
    2.0  # for a batch of spans, tries and waits in all; a server that ends waits as long
)
# What the conventions for RPC count as a server's error; anything else is the caller's.
_SERVER_ERRORS = {
    StatusCode.UNKNOWN, StatusCode.DEADLINE_EXCEEDED, StatusCode.UNIMPLEMENTED, StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE, StatusCode.DATA_LOSS,
}  # fmt: skip


class Span(Protocol):
    """A span that is under way."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Notes something."""


class Tracing:
    """Starts spans; without an endpoint there are none, and nothing of the library is imported."""

    def __init__(self, endpoint: str | None) -> None:
        """Makes one.

        Args:
            endpoint: of a collector, such as `http://localhost:4318`.
        """
        self._provider = None if endpoint is None else _provider(endpoint)
        self._tracer: Any = None if self._provider is None else self._provider.get_tracer(SCOPE)

    @contextmanager
    def request(
        self, name: str, headers: Mapping[str, str], attributes: Mapping[str, Any]
    ) -> Iterator[Span | None]:
        """Yields the span of a request, a child of its caller's; None where there are no traces.

        Args:
            name: with a low number of different values: a route or a method.
            headers: the request's, by names in small letters.
            attributes: by OpenTelemetry's conventions.
        """
        if self._tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(
            name,
            context,
            SpanKind.SERVER,
            dict(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, Any]) -> Iterator[None]:
        """Makes the block a span of its own, within the request's."""
        if self._tracer is None:
            yield
            return
        # An exception's text may quote the request.
        with self._tracer.start_as_current_span(
            name, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
        ):
            yield

    def close(self) -> None:
        """Sends what there is, and ends the library's thread."""
        if self._provider is not None:
            self._provider.shutdown()


def note_http_status(span: Span | None, status: int) -> None:
    """Notes how a REST request ended."""
    if span is not None:
        span.set_attribute("http.response.status_code", status)
        _note_error(span, str(status) if status >= 500 else None)


def note_grpc_status(span: Span | None, code: StatusCode) -> None:
    """Notes how a call of gRPC ended."""
    if span is not None:
        span.set_attribute("rpc.grpc.status_code", code.value[0])
        _note_error(span, code.name if code in _SERVER_ERRORS else None)


def _note_error(span: Any, kind: str | None) -> None:
    if kind is not None:
        from opentelemetry.trace import StatusCode as SpanStatus

        span.set_attribute("error.type", kind)
        span.set_status(SpanStatus.ERROR)


def _provider(endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    logging.getLogger("opentelemetry").setLevel(
        logging.CRITICAL
    )  # it prints tracebacks; we say it in one line
    resource = Resource.create({"service.name": "mastery", "service.version": version("mastery")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    url = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(url, timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(_said_once(exporter, url)))
    return provider


def _said_once(exporter: SpanExporter, url: str) -> SpanExporter:
    """Returns an exporter that logs when sending begins to fail, and when it works again."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class SaidOnce(SpanExporter):
        works = True

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                result = exporter.export(spans)
            except Exception:  # of requests or urllib3; the spans are lost in any case
                result = SpanExportResult.FAILURE
            if self.works and result is not SpanExportResult.SUCCESS:
                log.warning(
                    "%s: traces cannot be sent there; requests are answered all the same.", url
                )
            elif not self.works and result is SpanExportResult.SUCCESS:
                log.info("%s: traces are sent again.", url)
            self.works = result is SpanExportResult.SUCCESS
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return SaidOnce()

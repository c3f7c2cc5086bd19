"""Metrics for Prometheus and traces by OpenTelemetry.

Metrics have the names of TensorFlow Serving, so that its dashboards and alerts work.
prometheus-client's own counters end in `_total` and would not be found under these names. So the
numbers are kept here and exported as families of samples; for the same reason, counters have the
type `untyped` in the output.

Traces have a span per request, and one for its time in the model, if an endpoint is configured. A
caller's `traceparent` (W3C Trace Context) becomes the parent. A thread of the library sends spans
by OTLP over HTTP, in batches; the library's environment variables (`OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER`, ...) apply. Spans hold names, sizes and status codes, but no inputs.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from grpc import StatusCode
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    from serving.prediction_log.recorder import Recorder
    from serving.server.shadow import Shadow

log = logging.getLogger("mastery.serving")

METRICS_PATH = "/monitoring/prometheus/metrics"
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# TensorFlow Serving's buckets: 10 µs to about 20 minutes.
_MICROSECONDS = tuple(10 * 1.8**power for power in range(32))
_COUNTS = tuple(float(2**power) for power in range(14))

SCOPE = "mastery.serving"
EXPORT_SECONDS = 2.0  # for a batch of spans with all retries; also the longest wait at the end
# Status codes that the conventions for RPC count as a server's error, not the caller's.
_SERVER_ERRORS = {
    StatusCode.UNKNOWN,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.UNIMPLEMENTED,
    StatusCode.INTERNAL,
    StatusCode.UNAVAILABLE,
    StatusCode.DATA_LOSS,
}

Labels = tuple[str, ...]


class _Histogram:
    """Counts of values by bucket, per set of labels."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float] = _MICROSECONDS
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: dict[Labels, float] = defaultdict(float)

    def add(self, value: float, *labels: str) -> None:
        self._counts[labels][bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def family(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        for labels, counts in self._counts.items():
            total = 0
            buckets = []
            for bound, count in zip(bounds, counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(labels, buckets, self._sums[labels])
        return family


class _Counter:
    """A sum per set of labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._values: dict[Labels, float] = defaultdict(float)

    def add(self, value: float, *labels: str) -> None:
        self._values[labels] += value

    def family(self) -> Metric:
        family = Metric(self._name, self._text, "unknown")
        for labels, value in self._values.items():
            family.add_sample(self._name, dict(zip(self._labels, labels, strict=True)), value)
        return family


class ServerMetrics(Collector):
    """The server's metrics; belongs to one event loop.

    Durations are in microseconds, as in TensorFlow Serving.

    Attributes:
        requests_in_progress: unanswered requests to predict.
        versions_available: numbers of the available versions.
        recorder: of the prediction log; None without one.
        shadow: what asks another version the same; None without one.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self.requests_in_progress = 0
        self.versions_available: list[int] = []
        self.recorder: Recorder | None = None
        self.shadow: Shadow | None = None

        serving = ":tensorflow:serving:"
        entry = ["model_name", "API", "entrypoint"]
        self._requests = _Counter(f"{serving}request_count", "Requests.", ["model_name", "status"])
        self._latency = _Histogram(f"{serving}request_latency", "Microseconds per request.", entry)
        self._runtime = _Histogram(
            f"{serving}runtime_latency",
            "Microseconds in TensorFlow.",
            ["model_name", "API", "runtime"],
        )
        self._rows = _Histogram(
            f"{serving}request_example_counts", "Rows per request.", ["model"], bounds=_COUNTS
        )
        self._row_total = _Counter(
            f"{serving}request_example_count_total", "Rows of all requests.", ["model"]
        )
        self._queuing = _Histogram(
            f"{serving}batching_session:queuing_latency", "Microseconds of waiting for a batch.", []
        )
        self._batch_rows = _Histogram(
            ":mastery:serving:batch_rows", "Rows per batch.", ["model_name"], bounds=_COUNTS
        )
        self._routed = _Counter(
            ":mastery:serving:routed_rows",
            "Rows by who answered them while there is a canary.",
            ["model_name", "by"],
        )
        self._add_counters_of_the_graph()

        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def _add_counters_of_the_graph(self) -> None:
        self._runs = _Counter(":tensorflow:core:graph_runs", "Calls of the graph: batches.", [])
        self._run_time = _Counter(
            ":tensorflow:core:graph_run_time_usecs", "Microseconds in the graph.", []
        )
        self._loads = _Counter(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "Attempts to load.",
            ["model_path", "status"],
        )
        self._load_time = _Counter(
            ":tensorflow:cc:saved_model:load_latency",
            "Microseconds of loading, warm-up included.",
            ["model_path"],
        )

    def request(self, seconds: float, status: str, entrypoint: str) -> None:
        """Counts a request that was answered or refused.

        Args:
            seconds: from its arrival to its answer.
            status: name of gRPC's status code.
            entrypoint: "REST" or "GRPC".
        """
        self._requests.add(1, self._model, status)
        self._latency.add(seconds * 1e6, self._model, "Predict", entrypoint)

    def rows(self, rows: int) -> None:
        """Counts the rows of a request."""
        self._rows.add(rows, self._model)
        self._row_total.add(rows, self._model)

    def routed(self, by: str, rows: int) -> None:
        """Counts rows of requests that left the choice of the version, while there is a canary.

        Args:
            by: "stable", "canary", or "unfit": rows of the canary's share that it could not answer.
            rows: their number.
        """
        self._routed.add(rows, self._model, by)

    def batch(self, seconds: float, requests: int, rows: int, waits: Sequence[float]) -> None:  # noqa: ARG002
        """Counts a batch, and the seconds that its requests had waited."""
        self._runs.add(1)
        self._run_time.add(seconds * 1e6)
        self._runtime.add(seconds * 1e6, self._model, "Predict", "TF1")
        self._batch_rows.add(rows, self._model)
        for wait in waits:
            self._queuing.add(wait * 1e6)

    def load(self, path: str, seconds: float, *, succeeded: bool) -> None:
        """Counts an attempt to load a version."""
        self._loads.add(1, path, "success" if succeeded else "fail")
        self._load_time.add(seconds * 1e6, path)

    def collect(self) -> Iterator[Metric]:
        """Yields all families."""
        for item in (
            self._requests, self._latency, self._runtime, self._rows, self._row_total,
            self._queuing, self._runs, self._run_time, self._batch_rows, self._loads,
            self._load_time, self._routed,
        ):  # fmt: skip
            yield item.family()

        unanswered = GaugeMetricFamily(
            ":mastery:serving:requests_under_way", "Unanswered requests.", labels=[]
        )
        unanswered.add_metric([], self.requests_in_progress)
        yield unanswered

        available = GaugeMetricFamily(
            ":mastery:serving:version_available",
            "1 for each available version.",
            labels=["model_name", "version"],
        )
        for number in self.versions_available:
            available.add_metric([self._model, str(number)], 1)
        yield available
        if self.recorder is not None:
            yield from _of_prediction_log(self.recorder)
        if self.shadow is not None:
            yield _of_shadow(self.shadow)

    def page(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return bytes(generate_latest(self._registry))


def _of_prediction_log(recorder: Recorder) -> Iterator[Metric]:
    rows = Metric(
        ":mastery:serving:prediction_log_rows",
        "Rows that were logged, flushed to the disk, lost, or not in the sample.",
        "unknown",
    )
    for state, count in asdict(recorder.tally).items():
        rows.add_sample(rows.name, {"state": state}, count)
    yield rows

    waiting = GaugeMetricFamily(
        ":mastery:serving:prediction_log_waiting_bytes",
        "Bytes that are not in the log yet, without the file in use.",
        labels=[],
    )
    waiting.add_metric([], recorder.waiting_bytes)
    yield waiting


def _of_shadow(shadow: Shadow) -> Metric:
    rows = Metric(
        ":mastery:serving:shadow_rows",
        "Rows that another version was asked as well: answered, failed, or dropped.",
        "unknown",
    )
    for state, count in asdict(shadow.tally).items():
        rows.add_sample(rows.name, {"state": state}, count)
    return rows


class RequestSpan(Protocol):
    """A span in progress."""

    def set_attribute(self, key: str, value: Any) -> None:
        """Adds an attribute."""


class Tracing:
    """Starts spans; without an endpoint, it starts none and imports nothing of the library."""

    def __init__(self, endpoint: str | None) -> None:
        """Connects to nothing yet.

        Args:
            endpoint: of a collector, such as `http://localhost:4318`.
        """
        self._provider = None if endpoint is None else _provider(endpoint)
        self._tracer: Any = None if self._provider is None else self._provider.get_tracer(SCOPE)

    @contextmanager
    def request(
        self, name: str, headers: Mapping[str, str], attributes: Mapping[str, Any]
    ) -> Iterator[RequestSpan | None]:
        """Yields the span of a request, a child of its caller's; None without traces.

        Args:
            name: one of few values: a route or a method.
            headers: the request's, by lower-case names.
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
        """Traces the block as a span within the request's."""
        if self._tracer is None:
            yield
            return
        # An exception's text may quote the request, so it is not recorded.
        with self._tracer.start_as_current_span(
            name, attributes=dict(attributes), record_exception=False, set_status_on_exception=False
        ):
            yield

    def close(self) -> None:
        """Sends the remaining spans, and ends the library's thread."""
        if self._provider is not None:
            self._provider.shutdown()


def note_http_status(span: RequestSpan | None, status: int) -> None:
    """Adds the result of a REST request to its span."""
    if span is not None:
        span.set_attribute("http.response.status_code", status)
        _note_error(span, str(status) if status >= 500 else None)


def note_grpc_status(span: RequestSpan | None, code: StatusCode) -> None:
    """Adds the result of a gRPC call to its span."""
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

    # It prints tracebacks; `_logging_once` logs one line instead.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    resource = Resource.create({"service.name": "mastery", "service.version": version("mastery")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    url = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(url, timeout=EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(_logging_once(exporter, url)))
    return provider


def _logging_once(exporter: SpanExporter, url: str) -> SpanExporter:
    """Returns an exporter that logs when sending begins to fail, and when it works again."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class LoggingOnce(SpanExporter):
        works = True

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                result = exporter.export(spans)
            except Exception:  # of requests or urllib3; the spans are lost anyway
                result = SpanExportResult.FAILURE

            works = result is SpanExportResult.SUCCESS
            if self.works and not works:
                log.warning("%s: traces cannot be sent; requests are answered as before.", url)
            elif works and not self.works:
                log.info("%s: traces are sent again.", url)
            self.works = works
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return LoggingOnce()

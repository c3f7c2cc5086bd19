"""Metrics have TensorFlow Serving's names, and traces hold no inputs."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.server.running import running
from tests.serving.server.tiny import example, steps, steps_request


def test_the_names_and_numbers(folder: Path) -> None:
    with running(folder) as server:
        server.predict({"instances": ["", ""]})
        server.predict({"instances": [1]})
        server.prediction.Predict(steps_request(steps([2])))
        response = server.rest.get("/monitoring/prometheus/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }

    def value(name: str, **labels: str) -> float:
        return samples[(name, *sorted(labels.items()))]

    serving = ":tensorflow:serving:"
    assert value(f"{serving}request_count", model_name="tiny", status="OK") == 2
    assert value(f"{serving}request_count", model_name="tiny", status="INVALID_ARGUMENT") == 1
    latency = {"model_name": "tiny", "API": "Predict"}
    assert value(f"{serving}request_latency_count", **latency, entrypoint="REST") == 2
    assert value(f"{serving}request_latency_bucket", **latency, entrypoint="GRPC", le="+Inf") == 1
    assert value(f"{serving}runtime_latency_sum", **latency, runtime="TF1") > 0
    assert value(f"{serving}request_example_count_total", model="tiny") == 3
    assert value(f"{serving}batching_session:queuing_latency_count") == 2
    assert value(":tensorflow:core:graph_runs") == 2
    assert value(":tensorflow:core:graph_run_time_usecs") > 0
    path = str(folder / "1")
    assert (
        value(":tensorflow:cc:saved_model:load_attempt_count", model_path=path, status="success")
        == 1
    )
    assert value(":mastery:serving:version_available", model_name="tiny", version="1") == 1


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Collector:
    """Keeps the spans that it receives."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        self.status = 200

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(group.resource.attributes))
            for span in (span for scope in group.scope_spans for span in scope.spans):
                found = {
                    "name": span.name,
                    "kind": span.kind,
                    "error": span.status.code == 2,
                    "events": len(span.events),
                }
                ids = {
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                }
                self.spans.append({**found, **ids, **attributes(span.attributes)})


def attributes(items: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in items}


@contextmanager
def collecting(port: int = 0) -> Iterator[tuple[Collector, str]]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            collector.take(
                gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body
            )
            self.send_response(collector.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield collector, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    with collecting() as started:
        yield started


def test_requests_become_spans(folder: Path, collector: tuple[Collector, str]) -> None:
    found, endpoint = collector
    with running(folder, otlp_endpoint=endpoint) as server:  # its end sends what there is
        headers = {"traceparent": TRACEPARENT}
        assert (
            server.predict({"instances": [""]}, "/versions/1", headers=headers).status_code == 200
        )
        server.prediction.Predict(steps_request(steps([2, 1])), metadata=tuple(headers.items()))
        assert server.rest.post("/v2/models/tiny/infer", content=b"{").status_code == 400
        with pytest.raises(grpc.RpcError):
            server.prediction.Predict(
                steps_request({**steps([1]), "level": steps([1])["level"] + 100})
            )
        assert server.rest.get("/secret/path").status_code == 404
    by_name = {span["name"]: span for span in found.spans if span["name"] != "predict"}

    rest = by_name["POST /v1/models/{model}/versions/{version}:predict"]
    assert (rest["trace"], rest["parent"], rest["kind"]) == (TRACE, PARENT, 2)
    assert (rest["http.request.method"], rest["http.response.status_code"]) == ("POST", 200)
    assert rest["http.route"] == "/v1/models/{model}/versions/{version}:predict"

    calls = [
        span
        for span in found.spans
        if span["name"] == "tensorflow.serving.PredictionService/Predict"
    ]
    assert [(span["rpc.grpc.status_code"], span["error"]) for span in calls] == [
        (0, False),
        (3, False),
    ]
    assert (calls[0]["trace"], calls[0]["parent"], calls[0]["rpc.method"]) == (
        TRACE,
        PARENT,
        "Predict",
    )

    steps_of = {span["parent"]: span for span in found.spans if span["name"] == "predict"}
    inner = steps_of[calls[0]["id"]]
    assert inner["trace"] == TRACE
    assert (inner["mastery.model.name"], inner["mastery.model.version"], inner["mastery.rows"]) == (
        "tiny",
        1,
        2,
    )
    assert inner["mastery.model.signature"] == "predict_steps"

    assert by_name["POST /v2/models/{model}/infer"]["http.response.status_code"] == 400
    assert by_name["GET"]["http.response.status_code"] == 404
    assert found.resources[0]["service.name"] == "mastery"
    assert "secret" not in str(found.spans)
    assert not any(span["events"] for span in found.spans), (
        "an exception's text may quote the request"
    )


def test_no_span_contains_values_of_a_request(
    folder: Path, collector: tuple[Collector, str]
) -> None:
    found, endpoint = collector
    with running(folder, otlp_endpoint=endpoint) as server:
        server.predict({"signature_name": "canary-signature", "instances": ["canary-value"]})
        server.predict({"instances": [{"b64": "canary!"}]})
        server.rest.post(
            "/v1/models/canary:predict", json={"instances": [example([1.0]).decode("latin1")]}
        )
    assert len(found.spans) == 3
    assert "canary" not in str(found.spans)


def test_a_missing_collector_is_logged_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as (_, endpoint):
        pass
    with running(folder, otlp_endpoint=endpoint) as server:
        for _ in range(2):
            assert server.predict({"instances": [""]}).status_code == 200
            server.server._predictor.tracing._provider.force_flush(1000)
    messages = [text for text in caplog.messages if "traces cannot be sent" in text]
    assert messages == [
        f"{endpoint}/v1/traces: traces cannot be sent; requests are answered as before."
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_without_an_endpoint_opentelemetry_is_not_imported() -> None:
    code = (
        "import sys; from serving.server.telemetry import Tracing; Tracing(None).close(); "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]
        ).returncode
        == 0
    )

"""Metrics have TensorFlow Serving's names, and Prometheus can read them."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.serving.server.running import running
from tests.serving.server.tiny import steps, steps_request


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

"""The files that TensorFlow Serving reads as text protos, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tests.serving.manifests.conftest import SERVING

F = descriptor_pb2.FieldDescriptorProto


def _message(name: str, *fields: tuple[str, int, Any]) -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name=name)
    for field, number, kind in fields:
        repeated = isinstance(kind, list)
        label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
        kind = kind[0] if repeated else kind
        typed = (
            {"type": F.TYPE_MESSAGE, "type_name": kind} if isinstance(kind, str) else {"type": kind}
        )
        message.field.add(name=field, number=number, label=label, **typed)
    return message


def _types() -> dict[str, Any]:
    """The two messages of TensorFlow Serving's public protos that its Python package leaves out."""
    integer, text = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
    file = descriptor_pb2.FileDescriptorProto(
        name="settings.proto",
        package="serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    file.message_type.extend(
        [
            _message(
                "BatchingParameters",
                ("max_batch_size", 1, integer),
                ("batch_timeout_micros", 2, integer),
                ("max_enqueued_batches", 3, integer),
                ("num_batch_threads", 4, integer),
                ("thread_pool_name", 5, text),
                ("allowed_batch_sizes", 6, [F.TYPE_INT64]),
                ("pad_variable_length_inputs", 7, F.TYPE_BOOL),
            ),
            _message("PrometheusConfig", ("enable", 1, F.TYPE_BOOL), ("path", 2, F.TYPE_STRING)),
            _message("MonitoringConfig", ("prometheus_config", 1, ".serving.PrometheusConfig")),
        ]
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    names = ("BatchingParameters", "MonitoringConfig")
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving.{name}"))
        for name in names
    }


TYPES = _types()


def read(path: Path, kind: Any) -> Any:
    return text_format.Parse(path.read_text(), kind())


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_batching_has_known_fields_that_fit_each_other(overlay: str) -> None:
    batching = read(SERVING / "overlays" / overlay / "batching.config", TYPES["BatchingParameters"])
    sizes = list(batching.allowed_batch_sizes)
    assert sizes == sorted(set(sizes))
    assert (
        not sizes or sizes[-1] == batching.max_batch_size.value
    )  # else the server refuses to start
    for name in (
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
    ):
        assert getattr(batching, name).value > 0
    assert (
        batching.pad_variable_length_inputs
    )  # predict_steps is asked about sequences of different length


def test_a_gpu_gets_larger_batches_and_waits_longer_for_them() -> None:
    cpu, gpu = (
        read(SERVING / "overlays" / overlay / "batching.config", TYPES["BatchingParameters"])
        for overlay in ("cpu", "gpu")
    )
    assert gpu.max_batch_size.value > cpu.max_batch_size.value
    assert gpu.batch_timeout_micros.value > cpu.batch_timeout_micros.value


def test_monitoring_is_on() -> None:
    monitoring = read(SERVING / "base" / "monitoring.config", TYPES["MonitoringConfig"])
    assert monitoring.prometheus_config.enable
    assert monitoring.prometheus_config.path.startswith("/monitoring/")


def test_a_field_that_is_not_known_is_refused() -> None:
    with pytest.raises(text_format.ParseError, match="max_batch_sise"):
        text_format.Parse("max_batch_sise { value: 3 }", TYPES["BatchingParameters"]())


def test_the_example_of_models_config_is_valid() -> None:
    [model] = read(SERVING / "models.config", ModelServerConfig).model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        "sample",
        "/models/sample",
        "tensorflow",
    )
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) == set(model.model_version_policy.specific.versions)

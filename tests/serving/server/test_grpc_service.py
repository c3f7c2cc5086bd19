"""gRPC by the official stubs: predict, health, and a client that knows only reflection."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, ModelVersionStatus
from tensorflow_serving.apis.inference_pb2 import MultiInferenceRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tests.serving.server.running import Running, running
from tests.serving.server.tiny import example, expected_scores, push, steps, steps_request


def test_predict_steps(server: Running) -> None:
    inputs = steps([3, 0, 5])
    response = server.prediction.Predict(steps_request(inputs))
    assert (response.model_spec.name, response.model_spec.signature_name) == (
        "tiny",
        "predict_steps",
    )
    assert response.model_spec.version.value == 1
    assert list(response.outputs["basis"].string_val) == [b"sequence", b"prior", b"sequence"]
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["score"]), expected_scores(inputs, 2.0), rtol=1e-5
    )


def test_predict_examples_with_a_filter(server: Running) -> None:
    request = PredictRequest(output_filter=["score"])
    request.model_spec.name = "tiny"
    request.model_spec.version.value = 1
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([example([1.0, 3.0]), example([])]))
    response = server.prediction.Predict(request)
    assert list(response.outputs) == ["score"]
    assert list(response.outputs["score"].float_val) == [4.0, 0.0]


def test_status(server: Running) -> None:
    request = GetModelStatusRequest(model_spec={"name": "tiny"})
    (status,) = server.models.GetModelStatus(request).model_version_status
    assert (status.version, status.state, status.status.error_code) == (
        1,
        ModelVersionStatus.AVAILABLE,
        0,
    )


def test_metadata(server: Running) -> None:
    request = GetModelMetadataRequest(model_spec={"name": "tiny"}, metadata_field=["signature_def"])
    response = server.prediction.GetModelMetadata(request)
    signatures = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 1
    assert (
        signatures.signature_def["predict_steps"].inputs["num_steps"].dtype
        == tf.int64.as_datatype_enum
    )


def refusal(call: object, request: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        (
            lambda request: setattr(request.model_spec, "name", "other"),
            "NOT_FOUND",
            "this server has 'tiny'",
        ),
        (
            lambda request: setattr(request.model_spec.version, "value", 9),
            "NOT_FOUND",
            "Specific version 9",
        ),
        (
            lambda request: setattr(request.model_spec, "version_label", "x"),
            "INVALID_ARGUMENT",
            "label: x",
        ),
        (
            lambda request: setattr(request.model_spec, "signature_name", "x"),
            "INVALID_ARGUMENT",
            "found 'x'",
        ),
        (lambda request: request.inputs.pop("level"), "INVALID_ARGUMENT", "found no level"),
        (lambda request: request.inputs["more"].SetInParent(), "INVALID_ARGUMENT", "found more"),
        (
            lambda request: request.inputs["level"].CopyFrom(tf.make_tensor_proto([1.0])),
            "INVALID_ARGUMENT",
            "DT_FLOAT",
        ),
        (
            lambda request: request.inputs["level"].int64_val.append(1),
            "INVALID_ARGUMENT",
            "expected",
        ),
        (
            lambda request: request.output_filter.append("x"),
            "INVALID_ARGUMENT",
            "expected some of basis",
        ),
    ],
)
def test_refused(server: Running, change: object, code: str, reason: str) -> None:
    request = steps_request(steps([2]))
    change(request)
    found, details = refusal(server.prediction.Predict, request)
    assert found.name == code
    assert reason in details


def test_rows_have_to_agree(server: Running) -> None:
    inputs = {**steps([2, 2]), "level": np.array([1], np.int64)}
    found, details = refusal(server.prediction.Predict, steps_request(inputs))
    assert found is grpc.StatusCode.INVALID_ARGUMENT
    assert "expected as many rows in every input" in details


def test_metadata_has_one_field(server: Running) -> None:
    request = GetModelMetadataRequest(model_spec={"name": "tiny"}, metadata_field=["other"])
    found, details = refusal(server.prediction.GetModelMetadata, request)
    assert found is grpc.StatusCode.INVALID_ARGUMENT
    assert "found other" in details


@settings(max_examples=60)
@given(raw=st.binary(max_size=100), size=st.integers(0, 2000), at=st.integers(0, 2000))
def test_no_message_is_the_servers_fault(server: Running, raw: bytes, size: int, at: int) -> None:
    """Parts of a serialized request are replaced by noise."""
    whole = steps_request(steps([3, 1])).SerializeToString(deterministic=True)
    body = whole[:at] + raw + whole[at + size :]
    call = server.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=None,
        response_deserializer=None,
    )
    try:
        call(body)
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
            raise


def test_multi_inference_is_not_implemented(server: Running) -> None:
    found, _ = refusal(server.prediction.MultiInference, MultiInferenceRequest())
    assert found is grpc.StatusCode.UNIMPLEMENTED


SERVING = health_pb2.HealthCheckResponse.SERVING


NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


NAMES = ("", "tiny", "tensorflow.serving.PredictionService", "inference.GRPCInferenceService")


def health(server: Running, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=name)).status)


def test_health_follows_the_versions(tmp_path: Path, twice: Path) -> None:
    with running(tmp_path, token="sesame") as server:  # probes have no token
        assert [health(server, name) for name in NAMES] == [NOT_SERVING] * 4
        watched = health_pb2_grpc.HealthStub(server.channel).Watch(
            health_pb2.HealthCheckRequest(service="tiny")
        )
        assert next(watched).status == NOT_SERVING
        push(twice, tmp_path, 1)
        server.poll()
        assert next(watched).status == SERVING
        assert [health(server, name) for name in NAMES] == [SERVING] * 4
        with pytest.raises(grpc.RpcError) as caught:
            health(server, "other")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        watched.cancel()


def call(
    channel: grpc.Channel, service: str, method: str, request: dict[str, object]
) -> dict[str, object]:
    """Calls as `grpcurl` does, with the services and messages that the server describes."""
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    described = pool.FindServiceByName(service).FindMethodByName(method)
    kinds = [
        message_factory.GetMessageClass(item)
        for item in (described.input_type, described.output_type)
    ]
    stub = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=kinds[0].SerializeToString,
        response_deserializer=kinds[1].FromString,
    )
    return json_format.MessageToDict(stub(json_format.ParseDict(request, kinds[0]())))


def test_reflection_is_enough_to_call(server: Running) -> None:
    database = ProtoReflectionDescriptorDatabase(server.channel)
    assert set(NAMES[2:]) | {"grpc.health.v1.Health", "tensorflow.serving.ModelService"} <= set(
        database.get_services()
    )
    model = {"modelSpec": {"name": "tiny"}}
    status = call(server.channel, "tensorflow.serving.ModelService", "GetModelStatus", model)
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    tensor = {"dtype": "DT_STRING", "tensorShape": {"dim": [{"size": "1"}]}, "stringVal": [""]}
    answer = call(
        server.channel,
        "tensorflow.serving.PredictionService",
        "Predict",
        {**model, "inputs": {"examples": tensor}},
    )
    assert answer["outputs"]["score"]["floatVal"] == [0.0]
    assert call(server.channel, "grpc.health.v1.Health", "Check", {"service": "tiny"}) == {
        "status": "SERVING"
    }
    item = {"name": "value", "datatype": "FP32", "contents": {"fp32Contents": [2.0]}}
    answer = call(
        server.channel,
        "inference.GRPCInferenceService",
        "ModelInfer",
        {"modelName": "tiny", "inputs": [item]},
    )
    assert answer["outputs"][0]["contents"] == {"fp32Contents": [4.0]}


def test_reflection_needs_the_token(folder: Path) -> None:
    with running(folder, token="sesame") as server, pytest.raises(grpc.RpcError) as caught:
        ProtoReflectionDescriptorDatabase(server.channel).get_services()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


# TensorFlow Serving's answers for a signature of another method, from its sources. In `tiny`,
# `serving_default` has two outputs and an input of another name than "inputs", `predict_steps` has
# four inputs, and `single` has one output.
@pytest.mark.parametrize(
    ("method", "signature", "reason"),
    [
        ("classify", "", "No classification inputs found in SignatureDef: "),
        ("classify", "predict_steps", "Expected one input Tensor."),
        ("classify", "single", "No classification inputs found in SignatureDef: "),
        ("classify", "x", "No signature was found with the name: x"),
        ("regress", "", "Expected one output Tensor."),
        ("regress", "single", "No regression inputs found in SignatureDef: "),
    ],
)
def test_signatures_of_another_method(
    server: Running, method: str, signature: str, reason: str
) -> None:
    kind, stub = {
        "classify": (ClassificationRequest, server.prediction.Classify),
        "regress": (RegressionRequest, server.prediction.Regress),
    }[method]
    request = kind()
    request.model_spec.name = "tiny"
    request.model_spec.signature_name = signature
    with pytest.raises(grpc.RpcError) as caught:
        stub(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(reason)
    body = {"signature_name": signature, "examples": [{"correct": 1.0}]}
    refused = server.rest.post(f"/v1/models/tiny:{method}", json=body)
    assert (refused.status_code, refused.json()["error"]) == (400, caught.value.details())


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("[", 400, "JSON Parse error"),
        (
            "{}",
            400,
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
        ),
        ('{"examples": 1}', 400, "Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', 400, "'examples' value is an empty array"),
        ('{"signature_name": 1}', 400, "'signature_name' key must be a string value."),
    ],
)
def test_bodies_that_do_not_fit_the_method_are_refused(
    server: Running, body: str, status: int, reason: str
) -> None:
    refused = server.rest.post("/v1/models/tiny/versions/1:classify", content=body)
    assert refused.status_code == status
    assert reason in refused.json()["error"]


def test_unknown_models_are_refused(server: Running) -> None:
    body = {"examples": [{}]}
    assert server.rest.post("/v1/models/other:classify", json=body).status_code == 404
    with pytest.raises(grpc.RpcError, match="Missing ModelSpec"):
        server.prediction.Classify(ClassificationRequest())

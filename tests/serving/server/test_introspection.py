"""What gRPC's own tools ask: health by the official stubs, and a client that knows nothing but reflection."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.regression_pb2 import RegressionRequest

from tests.serving.server.running import Running, running
from tests.serving.server.tiny import push

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
    """Calls as `grpcurl` does: services, methods and messages are those that the server describes."""
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


# What TensorFlow Serving's sources answer for a signature of another method: of `tiny`, `serving_default` has two
# outputs and an input of another name than "inputs", `predict_steps` has four inputs, `single` has one output.
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
def test_bodies_that_no_method_takes(server: Running, body: str, status: int, reason: str) -> None:
    refused = server.rest.post("/v1/models/tiny/versions/1:classify", content=body)
    assert refused.status_code == status
    assert reason in refused.json()["error"]


def test_models_that_are_not_there(server: Running) -> None:
    body = {"examples": [{}]}
    assert server.rest.post("/v1/models/other:classify", json=body).status_code == 404
    with pytest.raises(grpc.RpcError, match="Missing ModelSpec"):
        server.prediction.Classify(ClassificationRequest())

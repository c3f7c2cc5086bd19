"""What gRPC's own tools ask: whether the server answers (`grpc.health.v1`), and which services it has (reflection)."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResponse
from tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
)
from tensorflow_serving.apis.get_model_status_pb2 import (
    GetModelStatusRequest,
    GetModelStatusResponse,
)
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse

from serving.server.open_inference_grpc import MESSAGES, SERVICE
from serving.server.versions import Versions

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
SERVICES = (PREDICTION_SERVICE, MODEL_SERVICE, SERVICE)

_Status = health_pb2.HealthCheckResponse
_METHODS = {
    PREDICTION_SERVICE: {
        "Predict": (PredictRequest, PredictResponse),
        "Classify": (ClassificationRequest, ClassificationResponse),
        "Regress": (RegressionRequest, RegressionResponse),
        "GetModelMetadata": (GetModelMetadataRequest, GetModelMetadataResponse),
    },
    MODEL_SERVICE: {
        "GetModelStatus": (GetModelStatusRequest, GetModelStatusResponse),
        "HandleReloadConfigRequest": (ReloadConfigRequest, ReloadConfigResponse),
    },
}


class Health:
    """Tells `grpc.health.v1.Health` whether the model answers: by its name, by that of each service, and by ""."""

    def __init__(self, model: str, versions: Versions) -> None:
        self._names = ("", model, *SERVICES)
        self._versions = versions
        self._servicer = health.aio.HealthServicer()

    async def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        await self.refresh()

    async def refresh(self) -> None:
        """Looks whether a version answers."""
        status = _Status.SERVING if self._versions.available else _Status.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)

    async def stop(self) -> None:
        """Says from now on that nothing answers, so that callers go elsewhere while the rest is answered."""
        await self._servicer.enter_graceful_shutdown()


def add_reflection(server: grpc.aio.Server) -> None:
    """Registers the service that lists services and describes their messages."""
    names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    pools = _Pools(MESSAGES.pool, _tensorflow_serving(), descriptor_pool.Default())
    reflection.enable_server_reflection(names, server, pools)


def _tensorflow_serving() -> descriptor_pool.DescriptorPool:
    """Returns the descriptors of the services; their generated modules cannot be imported by today's protobuf."""
    pool = descriptor_pool.DescriptorPool()

    def add(file: Any) -> None:
        for dependency in file.dependencies:
            add(dependency)
        pool.AddSerializedFile(file.serialized_pb)

    for full_name, methods in _METHODS.items():
        package, _, name = full_name.rpartition(".")
        described = descriptor_pb2.FileDescriptorProto(
            name=f"mastery/{name}.proto", package=package, syntax="proto3"
        )
        service = described.service.add(name=name)
        for method, messages in methods.items():
            request, answer = (message.DESCRIPTOR for message in messages)
            service.method.add(
                name=method, input_type=f".{request.full_name}", output_type=f".{answer.full_name}"
            )
            for file in (request.file, answer.file):
                add(file)
                if file.name not in described.dependency:
                    described.dependency.append(file.name)
        pool.Add(described)
    return pool


class _Pools:
    """Several descriptor pools as one, for reflection, which takes one."""

    def __init__(self, *pools: Any) -> None:
        self._pools = pools

    def __getattr__(self, name: str) -> Any:
        """Returns a method that asks one pool after the other."""

        def find(*arguments: Any) -> Any:
            for pool in self._pools[:-1]:
                try:
                    return getattr(pool, name)(*arguments)
                except KeyError:
                    continue
            return getattr(self._pools[-1], name)(*arguments)

        return find

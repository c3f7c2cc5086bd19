"""The gRPC services: TensorFlow Serving's, the Open Inference Protocol's, health and reflection.

The methods are registered by hand, under the names of the official stubs. So a request is parsed
here: a large one in a thread, and bytes that cannot be decoded are the caller's error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
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
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from components.command.escape import shorten
from serving.client.calls import LEARNER_HEADER
from serving.prediction_log.settings import LOG_HEADERS
from serving.server.open_inference_grpc import MESSAGES, SERVICE, OpenInferenceGrpc
from serving.server.predictor import (
    SMALL,
    SMALL_ANSWER,
    ModelChoice,
    Predictor,
    as_request_error,
    in_thread_if,
)
from serving.server.protobuf_tensors import check_fields, decode_tensors, encode_tensor
from serving.server.request_error import RequestError, invalid, listed
from serving.server.server_settings import RELOAD_TOKEN
from serving.server.telemetry import note_grpc_status
from serving.server.version_policy import ModelConfigError, policy_of

if TYPE_CHECKING:
    from serving.server.grpc_call import GrpcCall
    from serving.server.grpc_server import GrpcServer
    from serving.server.model_signatures import Arrays, Signature
    from serving.server.served_versions import ServedVersions

log = logging.getLogger("mastery.serving")

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
SERVICES = (PREDICTION_SERVICE, MODEL_SERVICE, SERVICE)

# Requests and answers of TensorFlow Serving's methods, by service.
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

Method = Callable[[Any, "GrpcCall"], Awaitable[Message]]


class GrpcApi:
    """Answers calls with protocol buffers."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def add_to(self, server: GrpcServer) -> None:
        """Registers TensorFlow Serving's services and the Open Inference Protocol's."""
        own = {
            "Predict": self.predict,
            "Classify": self.classify,
            "Regress": self.regress,
            "GetModelMetadata": self.metadata,
            "GetModelStatus": self.status,
            "HandleReloadConfigRequest": self.reload,
        }
        services: dict[str, Mapping[str, tuple[type[Message], Method]]] = {
            service: {name: (request, own[name]) for name, (request, _) in methods.items()}
            for service, methods in _METHODS.items()
        }
        services[SERVICE] = OpenInferenceGrpc(self._predictor).methods

        for service, methods in services.items():
            handlers = {
                name: self._handler(f"{service}/{name}", request, method)
                for name, (request, method) in methods.items()
            }
            server.add_registered_method_handlers(service, handlers)

    async def predict(self, request: PredictRequest, call: GrpcCall) -> PredictResponse:
        """Answers with the outputs of a signature."""
        predictor = self._predictor
        choice = _choice(request.model_spec)
        with (
            predictor.request("GRPC", choice.label, call.headers.get(LEARNER_HEADER)) as asked,
            predictor.lease(choice) as servable,
        ):
            async with asyncio.timeout(predictor.settings.limits.request_timeout):
                signature = servable.model.signature(request.model_spec.signature_name)
                names = _requested_outputs(request, signature)
                is_large = request.ByteSize() > SMALL
                inputs = await in_thread_if(is_large, decode_tensors, request.inputs, signature)

                answered = await predictor.answer(choice, servable, signature, inputs, asked)
                if asked.is_logged:
                    call.set_trailing_metadata(LOG_HEADERS.items())

                response = PredictResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.signature_name = signature.name
                if answered.version is not None:
                    response.model_spec.version.value = answered.version
                outputs = {name: answered.outputs[name] for name in names}
                is_large = sum(values.size for values in outputs.values()) > SMALL_ANSWER
                await in_thread_if(is_large, _fill, response, outputs, signature)
                return response

    async def classify(self, request: ClassificationRequest, _: GrpcCall) -> Message:
        """Refuses, as TensorFlow Serving does for a signature of another method."""
        self._refuse(request, "classification")

    async def regress(self, request: RegressionRequest, _: GrpcCall) -> Message:
        """Refuses, as TensorFlow Serving does for a signature of another method."""
        self._refuse(request, "regression")

    def _refuse(self, request: ClassificationRequest | RegressionRequest, method: str) -> NoReturn:
        spec = request.model_spec
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        with self._predictor.request("GRPC"):
            raise self._predictor.refuse(_choice(spec), spec.signature_name, method)

    async def metadata(
        self, request: GetModelMetadataRequest, _: GrpcCall
    ) -> GetModelMetadataResponse:
        """Answers with the signatures."""
        fields = list(request.metadata_field)
        if fields != ["signature_def"]:
            raise invalid(f"metadata_field: expected 'signature_def', found {listed(fields)}.")
        return self._predictor.metadata(_choice(request.model_spec))

    async def status(self, request: GetModelStatusRequest, _: GrpcCall) -> GetModelStatusResponse:
        """Answers with the states of versions."""
        return self._predictor.status(_choice(request.model_spec))

    async def reload(self, request: ReloadConfigRequest, _: GrpcCall) -> ReloadConfigResponse:
        """Applies another version policy and other labels."""
        if self._predictor.settings.reload_token is None:  # a token was checked by `GrpcServer`
            raise RequestError(
                StatusCode.PERMISSION_DENIED,
                f"reloading by gRPC is off: the server was started without ${RELOAD_TOKEN}. Write "
                "a models.config into the folder of versions instead.",
            )

        model = self._requested_model(request)
        try:
            policy = policy_of(model)
        except ModelConfigError as error:
            raise invalid(str(error)) from error

        await self._predictor.versions.apply(policy)
        return ReloadConfigResponse()

    def _requested_model(self, request: ReloadConfigRequest) -> ModelConfig:
        """Returns the part of a request that is about this server's model.

        Raises:
            RequestError: the request is about another model, several, or another folder.
        """
        settings = self._predictor.settings
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid("config: expected a model_config_list, found none.")

        models = list(request.config.model_config_list.config)
        if [model.name for model in models] != [settings.name]:
            names = listed([model.name for model in models])
            raise invalid(
                f"config: expected only this server's model {settings.name}, found {names}."
            )

        folders = {"", str(settings.models), str(settings.models.resolve())}
        if models[0].base_path.rstrip("/") not in folders:
            raise invalid("base_path: expected the folder of this server, found another.")
        return models[0]

    def _handler(self, name: str, kind: type[Message], method: Method) -> grpc.RpcMethodHandler:
        service, _, short = name.partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": short}

        async def answer(raw: bytes, call: GrpcCall) -> bytes:
            """Parses a message, and turns exceptions into status codes."""
            with self._predictor.tracing.request(name, call.headers, attributes) as span:
                try:
                    request = await in_thread_if(len(raw) > SMALL, _parsed, raw, kind)
                    response = await method(request, call)
                    note_grpc_status(span, StatusCode.OK)
                    return bytes(response.SerializeToString())
                except Exception as error:
                    known = as_request_error(error)
                    if known.code in (StatusCode.INTERNAL, StatusCode.UNKNOWN):
                        log.exception("gRPC: %s", kind.__name__)
                    note_grpc_status(span, known.code)
                    raise known from None

        return grpc.unary_unary_rpc_method_handler(answer)


def _parsed(raw: bytes, kind: type[Message]) -> Message:
    if len(raw) > SMALL:
        check_fields(raw, kind.DESCRIPTOR)
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise invalid(f"expected a {kind.__name__}, found bytes that cannot be decoded.") from error


def _choice(spec: ModelSpec) -> ModelChoice:
    version = spec.version.value if spec.HasField("version") else None
    return ModelChoice(spec.name, version, spec.version_label or None)


def _requested_outputs(request: PredictRequest, signature: Signature) -> list[str]:
    names = list(request.output_filter) or list(signature.outputs)
    is_unique = len(set(names)) == len(names)
    if not is_unique or not set(names) <= signature.outputs.keys():
        known = ", ".join(signature.outputs)
        found = shorten(", ".join(names), 500)
        raise invalid(f"output_filter: expected some of {known}, each once; found {found}.")
    return names


def _fill(response: PredictResponse, outputs: Arrays, signature: Signature) -> None:
    for name, values in outputs.items():
        response.outputs[name].CopyFrom(encode_tensor(values, signature.outputs[name].enum))


class Health:
    """Serves `grpc.health.v1.Health`: by the model's name, by each service's, and by ""."""

    def __init__(self, model: str, versions: ServedVersions) -> None:
        self._names = ("", model, *SERVICES)
        self._versions = versions
        self._servicer = health.aio.HealthServicer()

    async def add_to(self, server: GrpcServer) -> None:
        """Registers the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        await self.refresh()

    async def refresh(self) -> None:
        """Updates the status: whether a version is available."""
        statuses = health_pb2.HealthCheckResponse
        status = statuses.SERVING if self._versions.available else statuses.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)

    async def stop(self) -> None:
        """Reports NOT_SERVING from now on, so that callers go elsewhere before the server stops."""
        await self._servicer.enter_graceful_shutdown()


def add_reflection(server: GrpcServer) -> None:
    """Registers the service that lists services and describes their messages."""
    names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    pools = _Pools(MESSAGES.pool, _tensorflow_serving(), descriptor_pool.Default())
    servicer = reflection.aio.ReflectionServicer(names, pools)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)


def _tensorflow_serving() -> descriptor_pool.DescriptorPool:
    """Returns the services' descriptors; current protobuf cannot import their generated modules."""
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
        """Returns a method that searches one pool after the other."""

        def find(*arguments: Any) -> Any:
            for pool in self._pools[:-1]:
                try:
                    return getattr(pool, name)(*arguments)
                except KeyError:
                    continue
            return getattr(self._pools[-1], name)(*arguments)

        return find

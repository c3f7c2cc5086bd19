"""The gRPC services of TensorFlow Serving that a model of ours needs.

The methods are registered by hand, under the names of the official stubs: so a request's bytes are parsed here, and
what is no message is the caller's error, not ours as the library has it. They are registered as streams of requests,
of which each call sends one: so it is read when we ask for it, after the token and the room for it have been looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
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
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse

from serving.server.grpc_front import receive_message
from serving.server.model_signatures import Arrays, Signature
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
from serving.server.served_versions import ServedVersions
from serving.server.server_settings import RELOAD_TOKEN
from serving.server.telemetry import note_grpc_status
from serving.server.version_policy import ModelConfigError, policy_of

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

    def __init__(self, model: str, versions: ServedVersions) -> None:
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


log = logging.getLogger("mastery.serving")


Context: TypeAlias = Any  # grpc.aio.ServicerContext, which has no types


Method = Callable[[Any], Awaitable[Message]]


class GrpcApi:
    """Answers by protocol buffers."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the services of TensorFlow Serving, and that of the Open Inference Protocol."""
        services: dict[str, Mapping[str, tuple[type[Message], Method]]] = {
            PREDICTION_SERVICE: {
                "Predict": (PredictRequest, self.predict),
                "Classify": (ClassificationRequest, self.classify),
                "Regress": (RegressionRequest, self.regress),
                "GetModelMetadata": (GetModelMetadataRequest, self.metadata),
            },
            MODEL_SERVICE: {
                "GetModelStatus": (GetModelStatusRequest, self.status),
                "HandleReloadConfigRequest": (ReloadConfigRequest, self.reload),
            },
            SERVICE: OpenInferenceGrpc(self._predictor).methods,
        }
        server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    name,
                    {
                        method: self._handler(name, method, *item)
                        for method, item in methods.items()
                    },
                )
                for name, methods in services.items()
            ]
        )

    async def predict(self, request: PredictRequest) -> PredictResponse:
        """Answers with the outputs of a signature."""
        predictor = self._predictor
        with predictor.request("GRPC"), predictor.lease(_choice(request.model_spec)) as servable:
            async with asyncio.timeout(predictor.settings.limits.request_timeout):
                signature = servable.model.signature(request.model_spec.signature_name)
                names = _wanted_outputs(request, signature)
                is_large = request.ByteSize() > SMALL
                inputs = await in_thread_if(is_large, decode_tensors, request.inputs, signature)
                outputs = await predictor.run(servable, signature, inputs)
                response = PredictResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.signature_name = signature.name
                response.model_spec.version.value = servable.version
                is_large = sum(outputs[name].size for name in names) > SMALL_ANSWER
                await in_thread_if(
                    is_large, _fill, response, {name: outputs[name] for name in names}, signature
                )
                return response

    async def classify(self, request: ClassificationRequest) -> Message:
        """Refuses, as TensorFlow Serving does for a signature of another method."""
        self._refuse(request, "classification")

    async def regress(self, request: RegressionRequest) -> Message:
        """Refuses, as TensorFlow Serving does for a signature of another method."""
        self._refuse(request, "regression")

    def _refuse(self, request: ClassificationRequest | RegressionRequest, method: str) -> NoReturn:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        with self._predictor.request("GRPC"):
            raise self._predictor.refuse(
                _choice(request.model_spec), request.model_spec.signature_name, method
            )

    async def metadata(self, request: GetModelMetadataRequest) -> GetModelMetadataResponse:
        """Answers with the signatures."""
        fields = list(request.metadata_field)
        if fields != ["signature_def"]:
            raise invalid(
                f"metadata_field: expected 'signature_def', found {', '.join(fields)[:200] or 'none'}."
            )
        return self._predictor.metadata(_choice(request.model_spec))

    async def status(self, request: GetModelStatusRequest) -> GetModelStatusResponse:
        """Answers with the stages of versions."""
        return self._predictor.status(_choice(request.model_spec))

    async def reload(self, request: ReloadConfigRequest) -> ReloadConfigResponse:
        """Follows another version policy and other labels."""
        settings = self._predictor.settings
        if (
            settings.reload_token is None
        ):  # else the token has been looked at before the message was read
            raise RequestError(
                StatusCode.PERMISSION_DENIED,
                f"reloading by gRPC is off; the server was started without ${RELOAD_TOKEN}. A models.config in the "
                "folder of the versions says the same, and is followed.",
            )
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid("config: expected a model_config_list, found none.")
        models = list(request.config.model_config_list.config)
        if [model.name for model in models] != [settings.name]:
            names = listed([model.name for model in models])
            raise invalid(
                f"config: expected the one model {settings.name}, which this server has; found {names}."
            )
        folders = {"", str(settings.models), str(settings.models.resolve())}
        if models[0].base_path.rstrip("/") not in folders:
            raise invalid(
                "base_path: expected the folder that this server was started with, found another."
            )
        try:
            policy = policy_of(models[0])
        except ModelConfigError as error:
            raise invalid(str(error)) from error
        await self._predictor.versions.apply(policy)
        return ReloadConfigResponse()

    def _handler(
        self, service: str, name: str, kind: type[Message], method: Method
    ) -> grpc.RpcMethodHandler:
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}

        async def answer(_: object, context: Context) -> bytes:
            """Reads and parses a message, and turns errors into gRPC's."""
            predictor = self._predictor
            headers = {
                key: value
                for key, value in context.invocation_metadata() or ()
                if isinstance(value, str)
            }
            with predictor.tracing.request(f"{service}/{name}", headers, attributes) as span:
                try:
                    async with receive_message(
                        context, predictor.settings.limits, predictor.budget
                    ) as raw:
                        response = await method(
                            await in_thread_if(len(raw) > SMALL, _parsed, raw, kind)
                        )
                        note_grpc_status(span, StatusCode.OK)
                        return bytes(response.SerializeToString())
                except Exception as error:
                    known = as_request_error(error)
                    if known.code in (StatusCode.INTERNAL, StatusCode.UNKNOWN):
                        log.exception("gRPC: %s", kind.__name__)
                    note_grpc_status(span, known.code)
            await context.abort(known.code, known.reason)
            raise AssertionError  # abort has raised

        return grpc.stream_unary_rpc_method_handler(answer)


def _parsed(raw: bytes, kind: type[Message]) -> Message:
    if len(raw) > SMALL:
        check_fields(raw, kind.DESCRIPTOR)
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise invalid(
            f"expected a {kind.__name__}, found bytes that could not be decoded."
        ) from error


def _fill(response: PredictResponse, outputs: Arrays, signature: Signature) -> None:
    for name, values in outputs.items():
        response.outputs[name].CopyFrom(encode_tensor(values, signature.outputs[name].enum))


def _choice(spec: ModelSpec) -> ModelChoice:
    version = spec.version.value if spec.HasField("version") else None
    return ModelChoice(spec.name, version, spec.version_label or None)


def _wanted_outputs(request: PredictRequest, signature: Signature) -> list[str]:
    wanted = list(request.output_filter) or list(signature.outputs)
    if len(set(wanted)) != len(wanted) or not set(wanted) <= signature.outputs.keys():
        known, found = ", ".join(signature.outputs), ", ".join(wanted)[:500]
        raise invalid(f"output_filter: expected some of {known}, each once; found {found}.")
    return wanted

"""The gRPC services, from the official stubs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import grpc
from grpc import StatusCode
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest, ReloadConfigResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    PredictionServiceServicer,
    add_PredictionServiceServicer_to_server,
)

from serving.server.errors import invalid
from serving.server.limits import check_token
from serving.server.model_config import ModelConfigError, policy_of
from serving.server.predictor import ModelChoice, Predictor, as_request_error
from serving.server.signatures import Signature
from serving.server.tensor_codec import decode_inputs, encode

log = logging.getLogger("mastery.serving")
T = TypeVar("T")
Context: TypeAlias = Any  # grpc.aio.ServicerContext, which has no types


class _Base:
    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def _answer(self, context: Context, work: Callable[[], Awaitable[T]]) -> T:
        """Asks for the token, and turns errors into gRPC's."""
        try:
            metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
            check_token(self._predictor.settings.token, _text(metadata.get("authorization")))
            return await work()
        except Exception as error:
            known = as_request_error(error)
            if known.code in (StatusCode.INTERNAL, StatusCode.UNKNOWN):
                log.exception("gRPC")
        await context.abort(known.code, known.reason)
        raise AssertionError  # abort has raised


class PredictionService(_Base, PredictionServiceServicer):  # type: ignore[misc]
    """Predict and GetModelMetadata."""

    async def Predict(self, request: PredictRequest, context: Context) -> PredictResponse:
        """Answers with the outputs of a signature."""
        return await self._answer(context, lambda: self._predict(request))

    async def GetModelMetadata(self, request: GetModelMetadataRequest, context: Context) -> GetModelMetadataResponse:
        """Answers with the signatures."""
        return await self._answer(context, lambda: self._metadata(request))

    async def _predict(self, request: PredictRequest) -> PredictResponse:
        predictor = self._predictor
        with predictor.request("GRPC"), predictor.lease(_choice(request.model_spec)) as servable:
            async with asyncio.timeout(predictor.settings.limits.request_timeout):
                signature = servable.model.signature(request.model_spec.signature_name)
                names = _wanted_outputs(request, signature)
                outputs = await predictor.run(servable, signature, decode_inputs(request.inputs, signature))
                response = PredictResponse()
                response.model_spec.name = request.model_spec.name
                response.model_spec.signature_name = signature.name
                response.model_spec.version.value = servable.version
                for name in names:
                    response.outputs[name].CopyFrom(encode(outputs[name], signature.outputs[name].enum))
                return response

    async def _metadata(self, request: GetModelMetadataRequest) -> GetModelMetadataResponse:
        fields = list(request.metadata_field)
        if fields != ["signature_def"]:
            raise invalid(f"metadata_field: expected 'signature_def', found {', '.join(fields)[:200] or 'none'}.")
        return self._predictor.metadata(_choice(request.model_spec))


class ModelService(_Base, ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus and HandleReloadConfigRequest."""

    async def GetModelStatus(self, request: GetModelStatusRequest, context: Context) -> GetModelStatusResponse:
        """Answers with the stages of versions."""

        async def status() -> GetModelStatusResponse:
            return self._predictor.status(_choice(request.model_spec))

        return await self._answer(context, status)

    async def HandleReloadConfigRequest(self, request: ReloadConfigRequest, context: Context) -> ReloadConfigResponse:
        """Follows another version policy and other labels."""
        return await self._answer(context, lambda: self._reload(request))

    async def _reload(self, request: ReloadConfigRequest) -> ReloadConfigResponse:
        settings = self._predictor.settings
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid("config: expected a model_config_list, found none.")
        models = list(request.config.model_config_list.config)
        if [model.name for model in models] != [settings.name]:
            names = ", ".join(model.name for model in models)[:200] or "none"
            raise invalid(f"config: expected the one model {settings.name}, which this server has; found {names}.")
        if models[0].base_path and models[0].base_path.rstrip("/") not in (
            str(settings.models), str(settings.models.resolve())
        ):  # fmt: skip
            raise invalid("base_path: expected the folder that this server was started with, found another.")
        try:
            policy = policy_of(models[0])
        except ModelConfigError as error:
            raise invalid(str(error)) from error
        await self._predictor.versions.apply(policy)
        return ReloadConfigResponse()


def add_services(server: grpc.aio.Server, predictor: Predictor) -> None:
    """Registers both services."""
    add_PredictionServiceServicer_to_server(PredictionService(predictor), server)
    add_ModelServiceServicer_to_server(ModelService(predictor), server)


def _choice(spec: ModelSpec) -> ModelChoice:
    version = spec.version.value if spec.HasField("version") else None
    return ModelChoice(spec.name, version, spec.version_label or None)


def _wanted_outputs(request: PredictRequest, signature: Signature) -> list[str]:
    wanted = list(request.output_filter) or list(signature.outputs)
    unknown = [name for name in wanted if name not in signature.outputs]
    if unknown or len(set(wanted)) != len(wanted):
        raise invalid(
            f"output_filter: expected some of {', '.join(signature.outputs)}, each once; found "
            f"{', '.join(wanted)[:500]}."
        )
    return wanted


def _text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value

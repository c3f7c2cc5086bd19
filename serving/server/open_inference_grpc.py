"""The Open Inference Protocol by gRPC: `inference.GRPCInferenceService`.

The messages are those of the public `open_inference_grpc.proto`. They have a descriptor pool of
their own, so that Triton's and KServe's modules, with the same names, can be in the same process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from components.command.escape import shorten
from serving.client.calls import LEARNER_HEADER
from serving.messages import describe
from serving.prediction_log.settings import LOG_HEADERS
from serving.server.open_inference import (
    SIGNATURE_NAME,
    InferRequest,
    InputTensor,
    choose_signature,
    datatype,
    decode_infer_inputs,
    raw_values,
    refuse_extensions,
    text_array,
)
from serving.server.open_inference_metadata import (
    model_choice,
    model_metadata,
    requested_outputs,
    server_metadata,
    to_raw,
)
from serving.server.predictor import SMALL, SMALL_ANSWER, Predictor, in_thread_if
from serving.server.request_error import QUOTED, RequestError, invalid

if TYPE_CHECKING:
    from serving.server.grpc_call import GrpcCall
    from serving.server.model_signatures import Array, Arrays, Signature, TensorSpec

SERVICE = "inference.GRPCInferenceService"

# Where a protocol buffer holds the values of a datatype; FP16 and BF16 are sent as raw bytes only.
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}  # fmt: skip

_TENSOR = {
    "name": (1, "string"),
    "datatype": (2, "string"),
    "shape": (3, "repeated int64"),
    "parameters": (4, "map InferParameter"),
    "contents": (5, "InferTensorContents"),
}


MESSAGES = describe(
    "open_inference_grpc.proto",
    "inference",
    {
        "ServerLiveRequest": {},
        "ServerLiveResponse": {"live": (1, "bool")},
        "ServerReadyRequest": {},
        "ServerReadyResponse": {"ready": (1, "bool")},
        "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
        "ModelReadyResponse": {"ready": (1, "bool")},
        "ServerMetadataRequest": {},
        "ServerMetadataResponse": {
            "name": (1, "string"), "version": (2, "string"), "extensions": (3, "repeated string")
        },
        "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
        "ModelMetadataResponse": {
            "name": (1, "string"),
            "versions": (2, "repeated string"),
            "platform": (3, "string"),
            "inputs": (4, "repeated ModelMetadataResponse.TensorMetadata"),
            "outputs": (5, "repeated ModelMetadataResponse.TensorMetadata"),
        },
        "ModelMetadataResponse.TensorMetadata": {
            "name": (1, "string"), "datatype": (2, "string"), "shape": (3, "repeated int64")
        },
        "InferParameter": {
            "bool_param": (1, "oneof parameter_choice bool"),
            "int64_param": (2, "oneof parameter_choice int64"),
            "string_param": (3, "oneof parameter_choice string"),
            "double_param": (4, "oneof parameter_choice double"),
            "uint64_param": (5, "oneof parameter_choice uint64"),
        },
        "InferTensorContents": {
            "bool_contents": (1, "repeated bool"),
            "int_contents": (2, "repeated int32"),
            "int64_contents": (3, "repeated int64"),
            "uint_contents": (4, "repeated uint32"),
            "uint64_contents": (5, "repeated uint64"),
            "fp32_contents": (6, "repeated float"),
            "fp64_contents": (7, "repeated double"),
            "bytes_contents": (8, "repeated bytes"),
        },
        "ModelInferRequest": {
            "model_name": (1, "string"),
            "model_version": (2, "string"),
            "id": (3, "string"),
            "parameters": (4, "map InferParameter"),
            "inputs": (5, "repeated ModelInferRequest.InferInputTensor"),
            "outputs": (6, "repeated ModelInferRequest.InferRequestedOutputTensor"),
            "raw_input_contents": (7, "repeated bytes"),
        },
        "ModelInferRequest.InferInputTensor": _TENSOR,
        "ModelInferRequest.InferRequestedOutputTensor": {
            "name": (1, "string"), "parameters": (2, "map InferParameter")
        },
        "ModelInferResponse": {
            "model_name": (1, "string"),
            "model_version": (2, "string"),
            "id": (3, "string"),
            "parameters": (4, "map InferParameter"),
            "outputs": (5, "repeated ModelInferResponse.InferOutputTensor"),
            "raw_output_contents": (6, "repeated bytes"),
        },
        "ModelInferResponse.InferOutputTensor": _TENSOR,
    },
    services={
        "GRPCInferenceService": {
            name: (f"{name}Request", f"{name}Response")
            for name in (
                "ServerLive", "ServerReady", "ModelReady",
                "ServerMetadata", "ModelMetadata", "ModelInfer",
            )
        }
    },
)  # fmt: skip


_CLASSES = MESSAGES.classes


class OpenInferenceGrpc:
    """Answers with the protocol's messages."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        methods = {
            "ServerLive": self.live,
            "ServerReady": self.ready,
            "ModelReady": self.model_ready,
            "ServerMetadata": self.metadata,
            "ModelMetadata": self.model_metadata,
            "ModelInfer": self.infer,
        }
        self.methods = {
            name: (_CLASSES[f"{name}Request"], method) for name, method in methods.items()
        }

    async def live(self, _: Any, __: GrpcCall) -> Any:
        """Reports that the server runs."""
        return _CLASSES["ServerLiveResponse"](live=True)

    async def ready(self, _: Any, __: GrpcCall) -> Any:
        """Reports whether a version is available."""
        return _CLASSES["ServerReadyResponse"](ready=bool(self._predictor.versions.available))

    async def model_ready(self, request: Any, _: GrpcCall) -> Any:
        """Reports whether a model, or one of its versions, is available."""
        try:
            with self._predictor.lease(model_choice(request.name, request.version)):
                return _CLASSES["ModelReadyResponse"](ready=True)
        except RequestError:
            return _CLASSES["ModelReadyResponse"](ready=False)

    async def metadata(self, _: Any, __: GrpcCall) -> Any:
        """Answers with the server's name and version."""
        return _CLASSES["ServerMetadataResponse"](**server_metadata())

    async def model_metadata(self, request: Any, _: GrpcCall) -> Any:
        """Answers with the tensors of `serving_default`."""
        predictor = self._predictor
        with predictor.lease(model_choice(request.name, request.version)) as servable:
            found = model_metadata(servable, request.name, predictor.versions.available)
            return _CLASSES["ModelMetadataResponse"](**found)

    async def infer(self, request: Any, call: GrpcCall) -> Any:
        """Answers with the outputs of a signature; raw if the inputs were."""
        predictor = self._predictor
        choice = model_choice(request.model_name, request.model_version)
        with (
            predictor.request("GRPC", choice.label, call.headers.get(LEARNER_HEADER)) as asked,
            predictor.lease(choice) as servable,
        ):
            async with asyncio.timeout(predictor.settings.limits.request_timeout):
                question = read_message(request)
                signature = choose_signature(question, servable.model.signatures)
                requested = requested_outputs(question, signature)
                is_large = request.ByteSize() > SMALL
                inputs = await in_thread_if(is_large, decode_infer_inputs, question, signature)

                answered = await predictor.answer(choice, servable, signature, inputs, asked)
                outputs = answered.outputs
                if asked.is_logged:
                    call.set_trailing_metadata(LOG_HEADERS.items())

                version = "" if answered.version is None else str(answered.version)
                response = _CLASSES["ModelInferResponse"](
                    model_name=choice.name, model_version=version, id=request.id
                )
                is_large = sum(outputs[name].size for name in requested) > SMALL_ANSWER
                await in_thread_if(is_large, _fill, response, outputs, signature, requested)
                return response


def read_message(request: Any) -> InferRequest:
    """Reads a ModelInferRequest; its values are read when the signature is known.

    Raises:
        RequestError: the number of raw contents is not the number of inputs.
    """
    raws: list[bytes | None] = list(request.raw_input_contents)
    is_raw = bool(raws)
    if is_raw and len(raws) != len(request.inputs):
        raise invalid(
            f"raw_input_contents: expected one for each of {len(request.inputs)} inputs, "
            f"found {len(raws)}."
        )
    raws = raws or [None] * len(request.inputs)

    for item in (*request.inputs, *request.outputs):
        refuse_extensions(item.parameters, shorten(item.name, QUOTED))
    has_name = SIGNATURE_NAME in request.parameters
    return InferRequest(
        inputs=tuple(map(_input, request.inputs, raws)),
        signature_name=request.parameters[SIGNATURE_NAME].string_param if has_name else "",
        outputs={output.name: is_raw for output in request.outputs},
        id=request.id,
        is_raw=is_raw,
    )


def _input(tensor: Any, raw: bytes | None) -> InputTensor:
    def values(spec: TensorSpec, size: int) -> Array:
        if raw is None:
            return _content_values(tensor.contents, spec)
        if tensor.HasField("contents"):
            raise invalid(f"input {spec.name}: expected raw contents or others, found both.")
        return raw_values(raw, spec, size)

    return InputTensor(tensor.name, tensor.datatype, tuple(tensor.shape), values)


def _content_values(contents: Any, spec: TensorSpec) -> Array:
    """Returns the values that a message holds in the field of their datatype, [N].

    Raises:
        RequestError: they are in another field, or a number is out of the datatype's range.
    """
    field = CONTENTS.get(datatype(spec))
    filled = {item.name for item, _ in contents.ListFields()}
    if field is None or not filled <= {field}:
        place = field or "raw_input_contents"
        raise invalid(f"input {spec.name}: expected its values in {place}.")

    values: Sequence[Any] = getattr(contents, field)
    if spec.dtype == object:
        return text_array(list(values))
    wide = np.asarray(values)
    array = wide.astype(spec.dtype)
    if spec.dtype.kind in "iu" and (array != wide).any():
        raise invalid(f"input {spec.name}: a number is out of the range of {datatype(spec)}.")
    return array


def _fill(
    response: Any, outputs: Arrays, signature: Signature, requested: Mapping[str, bool]
) -> None:
    for name, is_raw in requested.items():
        values, spec = outputs[name], signature.outputs[name]
        tensor = response.outputs.add(name=name, datatype=datatype(spec), shape=values.shape)
        field = CONTENTS.get(tensor.datatype)
        if is_raw:
            response.raw_output_contents.append(to_raw(values))
        elif field is None:
            raise invalid(
                f"output {name}: {tensor.datatype} is sent as raw bytes only; send raw inputs."
            )
        else:
            getattr(tensor.contents, field).extend(values.ravel().tolist())

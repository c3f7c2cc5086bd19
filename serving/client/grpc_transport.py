"""Calls by gRPC, with TensorFlow Serving's messages but without its package.

Its generated modules import TensorFlow: ten seconds and half a gigabyte to send a request. The few
fields that are needed are described here, by their numbers in the public .proto files
(tensorflow_serving/apis/{model,predict}.proto, tensorflow/core/framework/
{tensor,tensor_shape,types}.proto), in a descriptor pool of their own, so that both can be in one
process. Other fields are ignored.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import wrappers_pb2

from serving.client.calls import LEARNER_HEADER, PredictError, Target, Transient
from serving.messages import describe

PREDICT = "/tensorflow.serving.PredictionService/Predict"

MOST_DIMENSIONS = 3  # attributions of examples, steps and features

# Numbers of tensorflow.DataType.
DT_FLOAT = 1
DT_DOUBLE = 2
DT_INT32 = 3
DT_STRING = 7
DT_INT64 = 9
DT_BOOL = 10

# By type: the field that holds values one by one, and the type code of bytes in `tensor_content`.
_NUMBERS = {
    DT_FLOAT: ("float_val", "f"),
    DT_DOUBLE: ("double_val", "d"),
    DT_INT32: ("int_val", "i"),
    DT_INT64: ("int64_val", "q"),
    DT_BOOL: ("bool_val", "b"),
}

_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorShapeProto": {"dim": (2, "repeated Dim"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "int32"),  # an enum, which has the same encoding
        "tensor_shape": (2, "TensorShapeProto"),
        "version_number": (3, "int32"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "repeated float"),
        "double_val": (6, "repeated double"),
        "int_val": (7, "repeated int32"),
        "string_val": (8, "repeated bytes"),
        "int64_val": (10, "repeated int64"),
        "bool_val": (11, "repeated bool"),
    },
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "oneof version_choice google.protobuf.Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "oneof version_choice string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "map TensorProto"),
        "output_filter": (3, "repeated string"),
    },
    "PredictResponse": {"outputs": (1, "map TensorProto"), "model_spec": (2, "ModelSpec")},
}
_CLASSES = describe(
    "mastery_wire.proto", "mastery.wire", _MESSAGES, dependencies=(wrappers_pb2,)
).classes
TensorProto = _CLASSES["TensorProto"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]

# One connection per address of a name, in turn. gRPC's own retries are off: `Retry` makes them.
OPTIONS = [
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
]


class GrpcTransport:
    """Sends Predict requests over one channel, which stays open."""

    def __init__(
        self, address: str, target: Target, *, secure: bool, token: str | None = None
    ) -> None:
        """Prepares the transport; sends nothing yet.

        Args:
            address: host and port, or another name of gRPC's, such as `dns:///serving-pods:8500`.
            target: the model.
            secure: whether to use TLS.
            token: sent to the server; use TLS with one.
        """
        self._address = address
        self._target = target
        self._metadata = [("authorization", f"Bearer {token}")] if token else None

        if secure:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, OPTIONS)

        self._predict = self._channel.unary_unary(
            PREDICT,
            request_serializer=PredictRequest.SerializeToString,
            response_deserializer=PredictResponse.FromString,
        )

    def call(
        self,
        signature: str,
        inputs: Mapping[str, Sequence[Any]],
        timeout: float,
        learners: str | None = None,
    ) -> dict[str, list[Any]]:
        """Returns the outputs of a signature.

        Args:
            signature: its name.
            inputs: columns of serialized examples (bytes), text or numbers.
            timeout: seconds.
            learners: the metadata `x-learner`.

        Raises:
            Transient: the server cannot be reached or is busy.
            PredictError: it refuses the request, does not answer within `timeout` seconds, or
                answers with tensors of an unknown form.
        """
        request = build_predict_request(self._target, signature, inputs)
        metadata = self._metadata
        if learners is not None:
            metadata = [*(metadata or ()), (LEARNER_HEADER, learners)]
        try:
            response = self._predict(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            where = f"{self._address}, {self._target.describe()}"
            text = str(error.details()).rstrip(".")
            message = f"{where}: the call failed with {error.code().name}: {text}."
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise Transient(message) from error
            raise PredictError(message) from error
        return {name: to_lists(tensor) for name, tensor in response.outputs.items()}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


def build_predict_request(
    target: Target, signature: str, inputs: Mapping[str, Sequence[Any]]
) -> Any:
    """Returns the PredictRequest for columns of a signature's inputs."""
    request = PredictRequest()
    request.model_spec.name = target.model
    request.model_spec.signature_name = signature
    if target.version is not None:
        request.model_spec.version.value = target.version
    if target.label is not None:
        request.model_spec.version_label = target.label
    for name, column in inputs.items():
        request.inputs[name].CopyFrom(to_tensor(column))
    return request


def to_tensor(column: Sequence[Any]) -> Any:
    """Returns a TensorProto of text, whole numbers or floats, [B] or [B, T].

    >>> to_lists(to_tensor([["a", ""], ["b", "c"]]))
    [['a', ''], ['b', 'c']]
    """
    sizes = [len(column)]
    values: Sequence[Any] = column
    if column and isinstance(column[0], list):
        sizes.append(len(column[0]))
        values = [value for row in column for value in row]

    if values and isinstance(values[0], str | bytes):
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        tensor = TensorProto(dtype=DT_STRING, string_val=encoded)
    elif all(isinstance(value, int) for value in values):
        tensor = TensorProto(dtype=DT_INT64, int64_val=values)
    else:
        tensor = TensorProto(dtype=DT_FLOAT, float_val=values)
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def to_lists(tensor: Any) -> list[Any]:
    """Returns the values of a TensorProto of one to three dimensions as nested lists; text as str.

    Raises:
        PredictError: it has another type or rank, or its number of values does not fit its shape.

    >>> to_lists(to_tensor(["low", "high"]))
    ['low', 'high']
    """
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    values = _values(tensor, math.prod(sizes))
    if not 1 <= len(sizes) <= MOST_DIMENSIONS or len(values) != math.prod(sizes):
        raise PredictError(
            f"expected a tensor of one to three dimensions, found {len(values)} values of shape "
            f"{sizes}."
        )
    return _nested(values, sizes)


def _nested(values: list[Any], sizes: list[int]) -> list[Any]:
    """Returns values in rows, the last dimension innermost."""
    for place in range(len(sizes) - 1, 0, -1):
        width, rows = sizes[place], math.prod(sizes[:place])
        values = [values[row * width : (row + 1) * width] for row in range(rows)]
    return values


def _values(tensor: Any, size: int) -> list[Any]:
    if tensor.dtype == DT_STRING:
        return [value.decode() for value in tensor.string_val]
    if tensor.dtype not in _NUMBERS:
        raise PredictError(
            "expected numbers or text, "
            f"found a tensor of type {tensor.dtype} (tensorflow.DataType)."
        )

    field, code = _NUMBERS[tensor.dtype]
    if tensor.tensor_content:
        content = array.array(code, tensor.tensor_content)
        if sys.byteorder == "big":
            content.byteswap()
        return content.tolist()
    values = list(getattr(tensor, field))
    # Trailing values that repeat the last one may be missing.
    return values + values[-1:] * (size - len(values))

"""TensorProto to arrays and back, without trusting a message's own claims.

A message's fields are counted before it is parsed. The library parses in one go, and no other
thread runs meanwhile. A message of tensors takes milliseconds per megabyte; one of the same size
that consists of empty fields takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto

from serving.server.model_signatures import (
    MAX_RANK,
    MAX_SIZE,
    MAX_TEXTS,
    Array,
    Signature,
    TensorSpec,
)
from serving.server.request_error import RequestError, invalid, listed

# Fields that TensorFlow Serving fills, and that clients read without `tf.make_ndarray`.
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
# Values copied at a time: other threads cannot run while a thread copies them.
STEP = 16 * 2**10

MAX_FIELDS = 2**20  # in all levels of a message; parsing as many takes some 50 ms
MAX_DEPTH = 64  # of messages in messages; the library's own limit is 100

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


def decode_tensors(tensors: Mapping[str, TensorProto], signature: Signature) -> dict[str, Array]:
    """Returns the arrays of a signature's inputs; the signature checks that none is missing.

    Raises:
        RequestError: an input is unknown, or does not fit.
    """
    unknown = sorted(set(tensors) - set(signature.inputs))
    if unknown:
        raise invalid(
            f"{signature.name}: expected the inputs {', '.join(signature.inputs)}; "
            f"found {listed(unknown)}."
        )
    return {name: decode_tensor(tensor, signature.inputs[name]) for name, tensor in tensors.items()}


def decode_tensor(tensor: TensorProto, spec: TensorSpec) -> Array:
    """Returns the array of a tensor.

    Raises:
        RequestError: the dtype or the shape does not fit the input, or the number of values does
            not fit the shape.
    """
    where = f"input {spec.name}"
    if tensor.dtype != spec.enum:
        raise invalid(f"{where}: expected {spec}, found dtype {_dtype_name(tensor.dtype)}.")

    shape = _shape_of(tensor, spec)
    size = prod(shape)
    if tensor.tensor_content:
        return _from_content(tensor.tensor_content, spec, size).reshape(shape)

    field = _FIELDS.get(spec.enum)
    if field is None:
        return _made_by_tensorflow(tensor, spec, size)
    if spec.dtype == object and size > MAX_TEXTS:
        raise invalid(f"{where}: expected at most {MAX_TEXTS} texts, found {size}.")

    # TensorFlow would repeat the last value: a few bytes could then ask for any amount of memory.
    values = getattr(tensor, field)
    if len(values) != size:
        found = len(values)
        raise invalid(f"{where}: expected {size} values for shape {list(shape)}, found {found}.")
    array = np.empty(size, spec.dtype)
    for at in range(0, size, STEP):
        array[at : at + STEP] = values[at : at + STEP]
    return array.reshape(shape)


def _shape_of(tensor: TensorProto, spec: TensorSpec) -> tuple[int, ...]:
    shape = tuple(int(dimension.size) for dimension in tensor.tensor_shape.dim)
    is_allowed = (
        not tensor.tensor_shape.unknown_rank
        and all(0 <= size < MAX_SIZE for size in shape)
        and len(shape) <= MAX_RANK
    )
    if not is_allowed or not spec.fits(shape):
        raise invalid(f"input {spec.name}: expected {spec}, found shape {list(shape[:40])}.")
    return shape


def _from_content(content: bytes, spec: TensorSpec, size: int) -> Array:
    if spec.dtype == object or len(content) != size * spec.dtype.itemsize:
        raise invalid(f"input {spec.name}: expected {size} values, found {len(content)} bytes.")
    return np.frombuffer(content, spec.dtype)


def _made_by_tensorflow(tensor: TensorProto, spec: TensorSpec, size: int) -> Array:
    if size > max(1, tensor.ByteSize()):  # each value takes a byte or more
        found = tensor.ByteSize()
        raise invalid(f"input {spec.name}: expected {size} values, found {found} bytes.")
    try:
        return np.asarray(tf.make_ndarray(tensor))
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(f"input {spec.name}: {spec} could not be read: {error}") from error


def _dtype_name(enum: int) -> str:
    is_known = enum in types_pb2.DataType.values()
    return str(types_pb2.DataType.Name(enum)) if is_known else f"number {enum}"


def encode_tensor(values: Array, enum: int) -> TensorProto:
    """Returns an array in the form that TensorFlow Serving sends."""
    field = _FIELDS.get(enum)
    if field is None:
        return tf.make_tensor_proto(values)

    tensor = TensorProto(dtype=enum)
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    flat = values.ravel()
    target = getattr(tensor, field)
    for at in range(0, flat.size, STEP):
        target.extend(flat[at : at + STEP].tolist())
    return tensor


def check_fields(raw: bytes, descriptor: Any) -> None:
    """Counts the fields of a message; bytes that are not a message are left to the parser.

    Args:
        raw: the message.
        descriptor: its type's, such as `PredictRequest.DESCRIPTOR`.

    Raises:
        RequestError: it has more than `MAX_FIELDS` fields, or messages are nested too deep.
    """
    try:
        _count(raw, 0, len(raw), descriptor, MAX_FIELDS, 0)
    except IndexError:
        return


def _count(raw: bytes, at: int, end: int, descriptor: Any, left: int, depth: int) -> int:
    """Returns how many fields may follow those from `at` to `end`."""
    if depth > MAX_DEPTH:
        raise invalid(f"expected a message of at most {MAX_DEPTH} levels.")

    messages = _messages(descriptor)
    while at < end:
        left -= 1
        if left < 0:
            raise _too_many()

        tag, at = _varint(raw, at)
        kind = tag & 7
        if kind == BYTES:
            length, at = _varint(raw, at)
            inner = messages.get(tag >> 3)
            if inner is not None:
                left = _count(raw, at, min(at + length, end), inner, left, depth + 1)
            at += length
        elif kind == VARINT:
            _, at = _varint(raw, at)
        elif kind == FIXED32:
            at += 4
        elif kind == FIXED64:
            at += 8
    return left


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """Returns the number at a position, and the position after it."""
    byte = raw[at]
    if byte < 128:
        return byte, at + 1

    value = byte & 127
    shift = 7
    while byte >= 128:
        at += 1
        byte = raw[at]
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise IndexError
    return value, at + 1


@lru_cache
def _messages(descriptor: Any) -> dict[int, Any]:
    """Returns the types of the fields that are messages, by field number."""
    return {
        field.number: field.message_type
        for field in descriptor.fields
        if field.message_type is not None
    }


def _too_many() -> RequestError:
    return invalid(
        f"expected a message of at most {MAX_FIELDS} fields and values; send fewer rows at a time."
    )

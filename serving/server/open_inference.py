"""Requests of the Open Inference Protocol, version 2, which KServe, Triton and their clients speak.

A tensor has a datatype by the protocol's name, a shape, and flat values in row-major order: as
JSON, as numbers of a protocol buffer, or as raw bytes (little endian; a text is its length in four
bytes, then itself). The protocol has no signatures: a request names one by the parameter
`signature_name`, or its inputs decide.

JSON requests may be read in a process without TensorFlow, so nothing here imports it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from components.command.escape import shorten
from components.contracts.names import SERVING_DEFAULT
from serving.server.json_tensors import decode_leaves, json_excerpt, json_kind, refuse_overflow
from serving.server.model_signatures import (
    MAX_RANK,
    MAX_SIZE,
    MAX_TEXTS,
    Array,
    Arrays,
    Signature,
    TensorSpec,
)
from serving.server.request_error import QUOTED, invalid, listed, quoted

HEADER_LENGTH = "Inference-Header-Content-Length"  # bytes of JSON ahead of the raw tensors
SIGNATURE_NAME = "signature_name"

DATATYPES = {  # by TensorFlow's names
    "DT_BOOL": "BOOL",
    "DT_UINT8": "UINT8", "DT_UINT16": "UINT16", "DT_UINT32": "UINT32", "DT_UINT64": "UINT64",
    "DT_INT8": "INT8", "DT_INT16": "INT16", "DT_INT32": "INT32", "DT_INT64": "INT64",
    "DT_HALF": "FP16", "DT_BFLOAT16": "BF16", "DT_FLOAT": "FP32", "DT_DOUBLE": "FP64",
    "DT_STRING": "BYTES",
}  # fmt: skip

_REQUIRED: Any = object()
_TYPES: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class InputTensor:
    """One input of a request, before its values are read.

    Attributes:
        name: the input's.
        datatype: by the protocol's name.
        shape: as the request gives it.
        values: reads the values; takes the input's spec and their number, after the shape was
            checked, and returns a flat array.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Callable[[TensorSpec, int], Array]


@dataclass(frozen=True)
class InferRequest:
    """A request.

    Attributes:
        inputs: in their order.
        signature_name: "" if the inputs decide which signature is meant.
        outputs: the requested outputs in their order, and whether as raw bytes; empty for all.
        id: repeated in the answer.
        is_raw: whether outputs are raw unless the request says otherwise.
    """

    inputs: tuple[InputTensor, ...]
    signature_name: str = ""
    outputs: Mapping[str, bool] = field(default_factory=dict)
    id: str = ""
    is_raw: bool = False


@dataclass(frozen=True)
class InferQuestion:
    """A request whose inputs have been read.

    Attributes:
        request: without its inputs.
        signature_name: the signature for which they were read.
        inputs: arrays by name.
    """

    request: InferRequest
    signature_name: str
    inputs: Arrays


def choose_signature(request: InferRequest, signatures: Mapping[str, Signature]) -> Signature:
    """Returns the signature that a request names, or else the one that has its inputs.

    If several have them, `serving_default` comes first.

    Raises:
        RequestError: there is none.
    """
    if request.signature_name:
        named = signatures.get(request.signature_name)
        if named is None:
            raise invalid(
                f"parameter {SIGNATURE_NAME}: expected one of {listed(sorted(signatures))}; "
                f"found {quoted(request.signature_name)}."
            )
        return named

    names = {tensor.name for tensor in request.inputs}
    default_first = sorted(
        signatures.values(),
        key=lambda signature: (signature.name != SERVING_DEFAULT, signature.name),
    )
    for signature in default_first:
        if signature.inputs.keys() == names:
            return signature

    inputs = [f"{signature.name}: {', '.join(signature.inputs)}" for signature in default_first]
    raise invalid(
        f"expected the inputs of one of the signatures ({shorten('; '.join(inputs), 1000)}); "
        f"found {listed(sorted(names))}."
    )


def decode_infer_inputs(request: InferRequest, signature: Signature) -> Arrays:
    """Returns the arrays of a request; the signature checks that none is missing.

    Raises:
        RequestError: an input is unknown, occurs twice, or does not fit.
    """
    inputs: Arrays = {}
    for tensor in request.inputs:
        spec = signature.inputs.get(tensor.name)
        if spec is None or tensor.name in inputs:
            raise invalid(
                f"{signature.name}: expected the inputs {', '.join(signature.inputs)}, each once; "
                f"found {quoted(tensor.name)}."
            )
        inputs[tensor.name] = _decode_input(tensor, spec)
    return inputs


def _decode_input(tensor: InputTensor, spec: TensorSpec) -> Array:
    expected = f"input {spec.name}: expected {datatype(spec)} {wire_shape(spec)}"
    if tensor.datatype != datatype(spec):
        raise invalid(f"{expected}, found datatype {quoted(tensor.datatype, 50)}.")

    shape = tensor.shape
    is_allowed = len(shape) <= MAX_RANK and all(0 <= size < MAX_SIZE for size in shape)
    if not is_allowed or not spec.fits(shape):
        raise invalid(f"{expected}, found shape {list(shape[:40])}.")

    size = prod(shape)
    if spec.dtype == object and size > MAX_TEXTS:
        raise invalid(f"input {spec.name}: expected at most {MAX_TEXTS} texts, found {size}.")
    values = tensor.values(spec, size)
    if len(values) != size:
        raise invalid(
            f"input {spec.name}: expected {size} values for shape {list(shape)}, "
            f"found {len(values)}."
        )
    return values.reshape(shape)


def datatype(spec: TensorSpec) -> str:
    """Returns the protocol's name of a tensor's dtype.

    Raises:
        RequestError: the protocol has none.
    """
    name = DATATYPES.get(spec.dtype_name)
    if name is None:
        raise invalid(
            f"{spec.name}: {spec.dtype_name} has no datatype in this protocol; use /v1 instead."
        )
    return name


def wire_shape(spec: TensorSpec) -> list[int]:
    """Returns a shape as the protocol writes it: -1 stands for any size."""
    return [-1] if spec.shape is None else [-1 if size is None else size for size in spec.shape]


def raw_values(raw: bytes, spec: TensorSpec, size: int) -> Array:
    """Returns the values that raw bytes hold, [size].

    Raises:
        RequestError: the number of bytes does not fit the shape, or the lengths of texts point
            beyond the end.
    """
    if spec.dtype == object:
        return _raw_texts(raw, spec, size)

    expected = size * spec.dtype.itemsize
    if len(raw) != expected:
        raise invalid(f"input {spec.name}: expected {expected} bytes, found {len(raw)}.")
    if spec.dtype == bool and size and np.frombuffer(raw, np.uint8).max() > 1:
        raise invalid(f"input {spec.name}: expected bytes 0 and 1 for BOOL, found others.")
    return np.frombuffer(raw, spec.dtype.newbyteorder("<"))


def _raw_texts(raw: bytes, spec: TensorSpec, size: int) -> Array:
    texts: list[bytes] = []
    at = 0
    while at < len(raw):
        has_length = at + 4 <= len(raw)
        length = struct.unpack_from("<I", raw, at)[0] if has_length else 2**32
        end = at + 4 + length
        if end > len(raw) or len(texts) == size:
            raise invalid(
                f"input {spec.name}: expected {size} texts, each after its length; "
                "found other bytes."
            )
        texts.append(raw[at + 4 : end])
        at = end
    return text_array(texts)


def text_array(texts: list[bytes]) -> Array:
    """Returns an array of texts, [N]."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def read_question(
    body: bytes, signatures: Mapping[str, Signature], header_length: str | None = None
) -> InferQuestion:
    """Reads a REST request and its inputs.

    Raises:
        RequestError: none of the signatures can answer it.
    """
    request = parse_infer_request(body, header_length)
    signature = choose_signature(request, signatures)
    inputs = decode_infer_inputs(request, signature)
    refuse_overflow(body[: json_length(body, header_length)].decode(), inputs)
    return InferQuestion(replace(request, inputs=()), signature.name, inputs)


def json_length(body: bytes, header_length: str | None) -> int:
    """Returns how many bytes of a body are JSON; raw tensors follow.

    Args:
        body: the whole body.
        header_length: value of the header `Inference-Header-Content-Length`; None if all is JSON.

    Raises:
        RequestError: the header is not a number, or larger than the body.
    """
    if header_length is None:
        return len(body)

    is_number = header_length.isascii() and header_length.isdecimal() and len(header_length) < 20
    if not is_number:
        raise invalid(
            f"{HEADER_LENGTH}: expected a number of bytes, found {quoted(header_length, 50)}."
        )
    if int(header_length) > len(body):
        raise invalid(
            f"{HEADER_LENGTH}: expected at most the {len(body)} bytes of the body, "
            f"found {header_length}."
        )
    return int(header_length)


def parse_infer_request(body: bytes, header_length: str | None) -> InferRequest:
    """Reads a REST request: JSON, then the raw bytes of the inputs with a `binary_data_size`.

    Args:
        body: the whole body.
        header_length: see `json_length`.

    Raises:
        RequestError: it is not such a request.
    """
    end = json_length(body, header_length)
    try:
        document = json.loads(body[:end].decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"expected a JSON object, found {json_kind(document)}.")

    parameters = _typed(document, "parameters", dict, {})
    is_raw = parameters.get("binary_data_output") is True
    return InferRequest(
        inputs=_parse_inputs(document, body, end),
        signature_name=str(parameters.get(SIGNATURE_NAME, "")),
        outputs=_parse_outputs(document, is_raw=is_raw),
        id=_typed(document, "id", str, ""),
        is_raw=is_raw,
    )


def _parse_inputs(document: Mapping[str, Any], body: bytes, at: int) -> tuple[InputTensor, ...]:
    """Returns the inputs; the raw bytes of the first begin at `at`."""
    inputs = []
    for item in _objects_of(document, "inputs"):
        size = _binary_size(item)
        raw = None if size is None else body[at : at + size]
        inputs.append(_parse_input(item, raw, size))
        at += size or 0

    if at != len(body):
        raise invalid(
            f"expected {at} bytes, the sum of the sizes of the JSON and of the raw inputs; "
            f"found {len(body)}."
        )
    if not inputs:
        raise invalid("inputs: expected a list of one or more, found none.")
    return tuple(inputs)


def _parse_input(item: Mapping[str, Any], raw: bytes | None, size: int | None) -> InputTensor:
    name = _typed(item, "name", str)
    where = f"input {shorten(name, QUOTED)}"
    shape = _typed(item, "shape", list)
    if any(type(size) is not int for size in shape):
        raise invalid(f"{where}: expected whole numbers as shape, found {json_excerpt(shape)}.")

    refuse_extensions(_typed(item, "parameters", dict, {}), where)
    if (raw is None) == ("data" not in item):
        raise invalid(f"{where}: expected either data or a parameter binary_data_size.")
    if raw is not None and len(raw) != size:
        raise invalid(f"{where}: expected {size} raw bytes after the JSON, found {len(raw)}.")

    def values(spec: TensorSpec, count: int) -> Array:
        if raw is not None:
            return raw_values(raw, spec, count)
        return decode_leaves(_flat(item["data"], len(shape)), spec)

    return InputTensor(name, _typed(item, "datatype", str), tuple(shape), values)


def _flat(data: Any, rank: int) -> list[Any]:
    """Returns the values of lists, which may be nested as deep as the shape is."""
    values = data if type(data) is list else [data]
    for _ in range(min(rank, MAX_RANK) - 1):
        if not values or type(values[0]) is not list:
            break
        values = [leaf for part in values for leaf in (part if type(part) is list else [part])]
    return values


def _binary_size(item: Mapping[str, Any]) -> int | None:
    size = _typed(item, "parameters", dict, {}).get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise invalid(f"binary_data_size: expected a number of bytes, found {json_excerpt(size)}.")
    return size


def _parse_outputs(document: Mapping[str, Any], *, is_raw: bool) -> dict[str, bool]:
    outputs = {}
    for item in _objects_of(document, "outputs"):
        name = _typed(item, "name", str)
        parameters = _typed(item, "parameters", dict, {})
        refuse_extensions(parameters, f"output {shorten(name, QUOTED)}")
        outputs[name] = parameters.get("binary_data", is_raw) is True
    return outputs


def refuse_extensions(parameters: Mapping[str, Any], where: str) -> None:
    """Refuses parameters of extensions that would change the content of a request or its answer.

    Raises:
        RequestError: there is one.
    """
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise invalid(f"{where}: this server has no {name.replace('_', ' ')}.")


def _objects_of(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = _typed(document, key, list, [])
    if any(type(item) is not dict for item in items):
        raise invalid(f"{key}: expected a list of objects.")
    return items


def _typed(item: Mapping[str, Any], key: str, kind: type, default: Any = _REQUIRED) -> Any:
    if key not in item and default is not _REQUIRED:
        return default

    if type(item.get(key, _REQUIRED)) is not kind:
        found = json_kind(item[key]) if key in item else "none"
        raise invalid(f"{key}: expected {_TYPES[kind]}, found {found}.")
    return item[key]

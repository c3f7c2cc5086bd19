"""The Open Inference Protocol, version 2: what KServe, Triton and their clients speak, beside TensorFlow Serving's.

A tensor has a datatype by the protocol's name, a shape, and its values flat, in row-major order: as JSON, as numbers of
a protocol buffer, or as raw bytes (little endian; a text is its length in four bytes, then itself). The protocol knows
no signatures. A request says which it means by the parameter `signature_name`, or by the inputs that it brings.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from components.contracts.names import SERVING_DEFAULT
from serving.server.json_tensors import json_excerpt, json_kind, leaves, refuse_overflow
from serving.server.model_signatures import (
    MAX_RANK,
    MAX_SIZE,
    MAX_TEXTS,
    Array,
    Arrays,
    Signature,
    TensorSpec,
)
from serving.server.request_error import invalid, listed

HEADER_LENGTH = "Inference-Header-Content-Length"  # bytes of JSON ahead of the raw tensors


SIGNATURE_NAME = "signature_name"


DATATYPES = {  # by TensorFlow's names
    "DT_BOOL": "BOOL", "DT_UINT8": "UINT8", "DT_UINT16": "UINT16", "DT_UINT32": "UINT32", "DT_UINT64": "UINT64",
    "DT_INT8": "INT8", "DT_INT16": "INT16", "DT_INT32": "INT32", "DT_INT64": "INT64", "DT_HALF": "FP16",
    "DT_BFLOAT16": "BF16", "DT_FLOAT": "FP32", "DT_DOUBLE": "FP64", "DT_STRING": "BYTES",
}  # fmt: skip


@dataclass(frozen=True)
class InputTensor:
    """One input of a request, before its values are read.

    Attributes:
        name: the input's.
        datatype: by the protocol's name.
        shape: as the request says.
        values: from the input's spec, with the shape checked, to its values in a row.
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
        signature_name: "" where the inputs are to say which signature is meant.
        outputs: wanted, in their order, and whether as raw bytes; none for all.
        id: for the answer.
        is_raw: whether outputs are to be raw where the request does not say.
    """

    inputs: tuple[InputTensor, ...]
    signature_name: str = ""
    outputs: Mapping[str, bool] = field(default_factory=dict)
    id: str = ""
    is_raw: bool = False


def choose_signature(request: InferRequest, signatures: Mapping[str, Signature]) -> Signature:
    """Returns the signature that a request names, or else the one that has its inputs; `serving_default` before others.

    Raises:
        RequestError: there is none.
    """
    if request.signature_name:
        found = signatures.get(request.signature_name)
        if found is None:
            raise invalid(
                f"parameter {SIGNATURE_NAME}: expected one of {listed(sorted(signatures))}; found "
                f"{request.signature_name[:200]!r}."
            )
        return found
    brought = {tensor.name for tensor in request.inputs}
    by_default = sorted(
        signatures.values(),
        key=lambda signature: (signature.name != SERVING_DEFAULT, signature.name),
    )
    fitting = [signature for signature in by_default if signature.inputs.keys() == brought]
    if fitting:
        return fitting[0]
    known = "; ".join(
        f"{signature.name}: {', '.join(signature.inputs)}" for signature in by_default
    )
    raise invalid(
        f"expected the inputs of one of the signatures ({known[:1000]}); found {listed(sorted(brought))}."
    )


def decode_infer_inputs(request: InferRequest, signature: Signature) -> Arrays:
    """Returns the arrays of a request; that none is missing is checked by the signature.

    Raises:
        RequestError: an input is unknown, is there twice, or is not what it says or what the signature wants.
    """
    inputs: Arrays = {}
    for tensor in request.inputs:
        spec = signature.inputs.get(tensor.name)
        if spec is None or tensor.name in inputs:
            known = ", ".join(signature.inputs)
            raise invalid(
                f"{signature.name}: expected the inputs {known}, each once; found {tensor.name[:200]!r}."
            )
        if tensor.datatype != datatype(spec):
            raise invalid(
                f"input {spec.name}: expected {datatype(spec)} {wire_shape(spec)}, found datatype {tensor.datatype[:50]!r}."
            )
        allowed = len(tensor.shape) <= MAX_RANK and all(
            0 <= size < MAX_SIZE for size in tensor.shape
        )
        if not allowed or not spec.fits(tensor.shape):
            found = list(tensor.shape[:40])
            raise invalid(
                f"input {spec.name}: expected {datatype(spec)} {wire_shape(spec)}, found shape {found}."
            )
        size = prod(tensor.shape)
        if spec.dtype == object and size > MAX_TEXTS:
            raise invalid(f"input {spec.name}: expected at most {MAX_TEXTS} texts, found {size}.")
        values = tensor.values(spec, size)
        if len(values) != size:
            raise invalid(
                f"input {spec.name}: expected {size} values for shape {list(tensor.shape)}, found {len(values)}."
            )
        inputs[tensor.name] = values.reshape(tensor.shape)
    return inputs


@dataclass(frozen=True)
class InferQuestion:
    """A request whose inputs have been read.

    Attributes:
        request: without its inputs.
        signature_name: the signature that they are for.
        inputs: arrays by name.
    """

    request: InferRequest
    signature_name: str
    inputs: Arrays


def read_question(
    body: bytes, signatures: Mapping[str, Signature], header_length: str | None = None
) -> InferQuestion:
    """Reads a REST request; see `parse_infer_request`, `choose_signature` and `decode_infer_inputs`.

    Raises:
        RequestError: it is no request that one of the signatures can answer.
    """
    request = parse_infer_request(body, header_length)
    signature = choose_signature(request, signatures)
    inputs = decode_infer_inputs(request, signature)
    refuse_overflow(body[: json_length(body, header_length)].decode(), inputs)
    return InferQuestion(replace(request, inputs=()), signature.name, inputs)


def json_length(body: bytes, header_length: str | None) -> int:
    """Returns how many bytes of a body are JSON, the raw tensors after it not counted.

    Args:
        body: all of it.
        header_length: value of the header `Inference-Header-Content-Length`; None where all is JSON.

    Raises:
        RequestError: the header holds no number, or more than the body has.
    """
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 20):
        raise invalid(f"{HEADER_LENGTH}: expected a number of bytes, found {header_length[:50]!r}.")
    if int(header_length) > len(body):
        raise invalid(
            f"{HEADER_LENGTH}: expected at most the {len(body)} bytes of the body, found {header_length}."
        )
    return int(header_length)


def datatype(spec: TensorSpec) -> str:
    """Returns the protocol's name of a tensor's dtype.

    Raises:
        RequestError: the protocol has none.
    """
    name = DATATYPES.get(spec.dtype_name)
    if name is None:
        raise invalid(
            f"{spec.name}: {spec.dtype_name} has no datatype in this protocol; ask by /v1."
        )
    return name


def raw_values(raw: bytes, spec: TensorSpec, size: int) -> Array:
    """Reads raw bytes.

    Raises:
        RequestError: they are not as many as the shape wants, or the lengths of texts lead beyond their end.
    """
    if spec.dtype != object:
        if len(raw) != size * spec.dtype.itemsize:
            raise invalid(
                f"input {spec.name}: expected {size * spec.dtype.itemsize} bytes, found {len(raw)}."
            )
        values = np.frombuffer(raw, spec.dtype.newbyteorder("<"))
        if spec.dtype == bool and size and np.frombuffer(raw, np.uint8).max() > 1:
            raise invalid(f"input {spec.name}: expected bytes 0 and 1 for BOOL, found others.")
        return values
    texts: list[bytes] = []
    at = 0
    while at < len(raw):
        end = at + 4 + (struct.unpack_from("<I", raw, at)[0] if at + 4 <= len(raw) else 2**32)
        if end > len(raw) or len(texts) == size:
            raise invalid(
                f"input {spec.name}: expected {size} texts, each after its length; found other bytes."
            )
        texts.append(raw[at + 4 : end])
        at = end
    return text_array(texts)


def to_raw(values: Array) -> bytes:
    """Returns an array's raw bytes."""
    if values.dtype == object:
        return b"".join(struct.pack("<I", len(text)) + text for text in values.ravel().tolist())
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def parse_infer_request(body: bytes, header_length: str | None) -> InferRequest:
    """Reads a REST request: JSON, and after it the raw bytes of the inputs that have a `binary_data_size`.

    Args:
        body: all of it.
        header_length: see `json_length`.

    Raises:
        RequestError: it is no such request.
    """
    end = json_length(body, header_length)
    try:
        document = json.loads(body[:end].decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error

    parameters = _typed(document, "parameters", dict, {}) if isinstance(document, dict) else {}
    inputs, at = [], end
    for item in _objects_of(document, "inputs"):
        size = _binary_size(item)
        inputs.append(_json_input(item, None if size is None else body[at : at + size], size))
        at += size or 0
    if at != len(body):
        raise invalid(
            f"expected {at} bytes, by the sizes of the JSON and of the raw inputs; found {len(body)}."
        )
    if not inputs:
        raise invalid("inputs: expected a list of one or more, found none.")

    is_raw = parameters.get("binary_data_output") is True
    outputs = {}
    for item in _objects_of(document, "outputs"):
        wishes = _typed(item, "parameters", dict, {})
        refuse_extensions(wishes, f"output {_typed(item, 'name', str)[:200]}")
        outputs[item["name"]] = wishes.get("binary_data", is_raw) is True
    return InferRequest(
        tuple(inputs),
        str(parameters.get(SIGNATURE_NAME, "")),
        outputs,
        _typed(document, "id", str, ""),
        is_raw,
    )


def _json_input(item: Mapping[str, Any], raw: bytes | None, size: int | None) -> InputTensor:
    name, shape = _typed(item, "name", str), _typed(item, "shape", list)
    if any(type(size) is not int for size in shape):
        raise invalid(
            f"input {name[:200]}: expected whole numbers as shape, found {json_excerpt(shape)}."
        )
    refuse_extensions(_typed(item, "parameters", dict, {}), f"input {name[:200]}")
    if (raw is None) == ("data" not in item):
        raise invalid(f"input {name[:200]}: expected either data or a parameter binary_data_size.")
    if raw is not None and len(raw) != size:
        raise invalid(
            f"input {name[:200]}: expected {size} raw bytes after the JSON, found {len(raw)}."
        )

    def values(spec: TensorSpec, count: int) -> Array:
        if raw is not None:
            return raw_values(raw, spec, count)
        return leaves(_flat(item["data"], len(shape)), spec)

    return InputTensor(name, _typed(item, "datatype", str), tuple(shape), values)


def _flat(data: Any, rank: int) -> list[Any]:
    """Returns the values of lists that may be nested as deep as the shape is."""
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


def refuse_extensions(parameters: Mapping[str, Any], where: str) -> None:
    """Refuses parameters of extensions that would change what a request or its answer holds.

    Raises:
        RequestError: there is one.
    """
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise invalid(f"{where}: this server has no {name.replace('_', ' ')}.")


def _objects_of(document: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        raise invalid(f"expected a JSON object, found {json_kind(document)}.")
    items: list[dict[str, Any]] = _typed(document, key, list, [])
    if any(type(item) is not dict for item in items):
        raise invalid(f"{key}: expected a list of objects.")
    return items


_MISSING: Any = object()


_TYPES: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}


def _typed(item: Mapping[str, Any], key: str, kind: type, default: Any = _MISSING) -> Any:
    value = item.get(key, default)
    if value is default and default is not _MISSING:
        return default
    if type(value) is not kind:
        found = "none" if value is _MISSING else json_kind(value)
        raise invalid(f"{key}: expected {_TYPES[kind]}, found {found}.")
    return value


def text_array(texts: list[bytes]) -> Array:
    """Returns an array of texts, [N]."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def wire_shape(spec: TensorSpec) -> list[int]:
    """Returns a shape as the protocol writes it: -1 stands for any size."""
    return [-1] if spec.shape is None else [-1 if size is None else size for size in spec.shape]

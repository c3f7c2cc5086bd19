"""JSON to arrays and back, in the row and the column form of TensorFlow Serving's REST API.

What is particular about TensorFlow Serving's JSON: `NaN`, `Infinity` and `-Infinity` are numbers; bytes are
`{"b64": "..."}`; whole numbers stand for floats, never the other way.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from serving.server.errors import invalid
from serving.server.signatures import Array, Arrays, Signature, TensorSpec

B64 = "b64"
BYTES_SUFFIX = "_bytes"  # outputs of such a name are bytes, not text
MAX_RANK = 32


@dataclass(frozen=True)
class JsonRequest:
    """A request before its tensors are read.

    Attributes:
        signature_name: "" for the default.
        is_row_form: whether it has `instances`, rather than `inputs`.
        content: the value of that key.
    """

    signature_name: str
    is_row_form: bool
    content: Any


def parse_request(body: bytes) -> JsonRequest:
    """Reads the outer object of a request.

    Raises:
        RequestError: no JSON object with either `instances` or `inputs`.
    """
    try:
        document = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error or 'nested too deeply'}") from error
    if not isinstance(document, dict):
        raise invalid(f"expected a JSON object, found {_kind(document)}.")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"signature_name: expected a string, found {_kind(name)}.")
    forms = [key for key in ("instances", "inputs") if key in document]
    if len(forms) != 1:
        raise invalid(f"expected one of the keys 'instances' and 'inputs', found {'both' if forms else 'neither'}.")
    return JsonRequest(name, forms == ["instances"], document[forms[0]])


def decode_inputs(request: JsonRequest, signature: Signature) -> Arrays:
    """Returns the arrays of a request.

    Raises:
        RequestError: lists of unequal lengths, values of another type, unknown inputs.
    """
    columns = _columns_of_rows if request.is_row_form else _columns
    return {
        name: decode(values, signature.inputs[name]) for name, values in columns(request.content, signature).items()
    }


def decode(value: Any, spec: TensorSpec) -> Array:
    """Returns the array of nested lists.

    Raises:
        RequestError: lists of unequal lengths, values of another type, or a shape that does not fit.
    """
    shape: list[int] = []
    values = [value]
    while values and type(values[0]) is list:
        if set(map(type, values)) != {list}:
            raise invalid(f"input {spec.name}: expected lists at level {len(shape)}, found other values among them.")
        lengths = set(map(len, values))
        if len(lengths) != 1:
            raise invalid(f"input {spec.name}: expected lists of one length, found {sorted(lengths)[:10]}; pad them.")
        shape.append(lengths.pop())
        if len(shape) > MAX_RANK:
            raise invalid(f"input {spec.name}: expected {spec}, found more than {MAX_RANK} levels of lists.")
        values = list(chain.from_iterable(values))
    if not values and spec.shape is not None:  # [] stands for no rows of any shape
        shape += [size or 0 for size in spec.shape[len(shape) :]]
    if not spec.fits(tuple(shape)):
        raise invalid(f"input {spec.name}: expected {spec}, found shape {shape}.")
    return _leaves(values, spec).reshape(shape)


def encode_outputs(outputs: Arrays, *, in_rows: bool) -> bytes:
    """Returns the body of an answer: `predictions` for a request in rows, `outputs` for one in columns.

    Raises:
        RequestError: in rows, an output does not have a row for each input row.
    """
    columns = {name: _encode(name, values) for name, values in outputs.items()}
    if not in_rows:
        return _dump({"outputs": next(iter(columns.values())) if len(columns) == 1 else columns})
    if any(values.ndim == 0 for values in outputs.values()) or len({len(values) for values in outputs.values()}) != 1:
        shapes = {name: list(values.shape) for name, values in outputs.items()}
        raise invalid(f"expected outputs with one row an instance, found {shapes}; ask with 'inputs'.")
    if len(columns) == 1:
        return _dump({"predictions": next(iter(columns.values()))})
    rows = zip(*columns.values(), strict=True)
    return _dump({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})


def encode_error(reason: str) -> bytes:
    """Returns the body of a refusal."""
    return _dump({"error": reason})


def _columns(content: Any, signature: Signature) -> Mapping[str, Any]:
    if type(content) is not dict or _is_b64(content):
        return {_only_input(signature, "inputs"): content}
    _know(content.keys(), signature)
    return content


def _columns_of_rows(content: Any, signature: Signature) -> Mapping[str, Any]:
    if type(content) is not list or not content:
        raise invalid(
            f"instances: expected a list of one or more, found {'none' if content == [] else _kind(content)}."
        )
    named = [type(row) is dict and not _is_b64(row) for row in content]
    if not any(named):
        return {_only_input(signature, "instances"): content}
    if not all(named):
        raise invalid(f"instances: expected objects, found {_kind(content[named.index(False)])} among them.")
    keys = content[0].keys()
    _know(keys, signature)
    for at, row in enumerate(content):
        if row.keys() != keys:
            raise invalid(f"instances, element {at}: expected the keys {', '.join(keys)}; found {_shown(row)}.")
    return {name: [row[name] for row in content] for name in keys}


def _only_input(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        raise invalid(f"{key}: expected values by the names {', '.join(signature.inputs)}; found them without names.")
    return next(iter(signature.inputs))


def _know(names: Any, signature: Signature) -> None:
    unknown = [name for name in names if name not in signature.inputs]
    if unknown:
        raise invalid(f"{signature.name}: expected the inputs {', '.join(signature.inputs)}; found {_shown(unknown)}.")


def _leaves(values: Sequence[Any], spec: TensorSpec) -> Array:
    """Returns a flat array of values, none of which may be of another type than the input's."""
    accepted, convert = _ACCEPTED.get(spec.dtype.kind, (frozenset(), None))
    if convert is None:
        raise invalid(f"input {spec.name}: {spec.dtype_name} cannot be written as JSON.")
    found = set(map(type, values))
    if not found <= accepted:
        wrong = next(value for value in values if type(value) not in accepted)
        raise invalid(f"input {spec.name}: expected {spec.dtype_name}, found {_kind(wrong)}{_shown(wrong, ' ')}.")
    try:
        return convert(values, spec.dtype)
    except (OverflowError, UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise invalid(f"input {spec.name}: expected {spec.dtype_name}, found what is none: {error}.") from error


def _numbers(values: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        array = np.array(values, dtype)
    if (
        dtype.kind == "f"
        and np.isinf(array).any()
        and not np.array_equal(np.isinf(array), np.isinf(np.array(values, float)))
    ):
        raise OverflowError(f"a number is out of the range of {dtype.name}")
    return array


def _texts(values: Sequence[Any], _: np.dtype[Any]) -> Array:
    array = np.empty(len(values), object)
    array[:] = [value.encode() if type(value) is str else _unpack(value) for value in values]
    return array


def _unpack(value: Mapping[str, Any]) -> bytes:
    if not _is_b64(value):
        raise ValueError('bytes are written {"b64": "..."}')
    return base64.b64decode(value[B64], validate=True)


Convert = Callable[[Sequence[Any], "np.dtype[Any]"], Array]
_ACCEPTED: dict[str, tuple[frozenset[type], Convert]] = {
    "f": (frozenset({int, float}), _numbers),
    "i": (frozenset({int}), _numbers),
    "u": (frozenset({int}), _numbers),
    "b": (frozenset({bool}), _numbers),
    "O": (frozenset({str, dict}), _texts),
}


def _encode(name: str, values: Array) -> Any:
    if values.dtype == object:
        texts = [_text(value, name.endswith(BYTES_SUFFIX)) for value in values.ravel().tolist()]
        array = np.empty(len(texts), object)
        array[:] = texts
        return array.reshape(values.shape).tolist()
    if values.dtype.kind == "f" and values.dtype.itemsize < 8:
        # As short as the float's own text: 0.2, not the 0.20000000298 that it is as a double.
        return values.astype("U32").astype(np.float64).tolist()
    if values.dtype.kind == "V" or values.dtype.kind == "c":
        raise invalid(f"output {name}: {values.dtype} cannot be written as JSON; ask by gRPC.")
    return values.tolist()


def _text(value: bytes, is_bytes: bool) -> Any:
    if not is_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # TensorFlow Serving would write what is no JSON
    return {B64: base64.b64encode(value).decode()}


def _is_b64(value: Any) -> bool:
    return type(value) is dict and value.keys() == {B64} and type(value[B64]) is str


def _dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": ")).encode(errors="replace")


_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")


def _shown(value: Any, before: str = "") -> str:
    if isinstance(value, dict | list) and before:
        return ""
    return f"{before}{str(value)[:80]}"

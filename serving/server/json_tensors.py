"""Tensors as JSON: nested lists to arrays and back, in the form of TensorFlow Serving's REST API.

Its particulars: `NaN`, `Infinity` and `-Infinity` are numbers; bytes are `{"b64": "..."}`; whole
numbers may stand for floats, never the other way round.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from components.command.escape import shorten
from serving.server.model_signatures import MAX_RANK, MAX_TEXTS, Array, Arrays, TensorSpec
from serving.server.request_error import invalid

B64 = "b64"
BYTES_SUFFIX = "_bytes"  # outputs with such a name are bytes, not text
# Values written at a time: other threads cannot run while a thread writes them.
STEP = 1024

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


def json_kind(value: Any) -> str:
    """Returns JSON's name for the type of a value."""
    return _KINDS.get(type(value), "a number")


def json_excerpt(value: Any) -> str:
    """Returns the beginning of a value's text, for messages."""
    return shorten(str(value), 80)


def is_b64(value: Any) -> bool:
    """Returns whether a value is `{"b64": "..."}`."""
    return type(value) is dict and value.keys() == {B64} and type(value[B64]) is str


def decode_json(value: Any, spec: TensorSpec) -> Array:
    """Returns the array that nested lists hold.

    Raises:
        RequestError: lists have unequal lengths, values have another type, or the shape does not
            fit.
    """
    shape, values = _flatten(value, spec)
    if not values and spec.shape is not None:  # [] stands for no rows of any shape
        shape += [size or 0 for size in spec.shape[len(shape) :]]
    if not spec.fits(tuple(shape)):
        raise invalid(f"input {spec.name}: expected {spec}, found shape {shape}.")
    return decode_leaves(values, spec).reshape(shape)


def _flatten(value: Any, spec: TensorSpec) -> tuple[list[int], list[Any]]:
    """Returns the shape of nested lists, and their values in row-major order."""
    where = f"input {spec.name}"
    shape: list[int] = []
    values = [value]
    while values and type(values[0]) is list:
        if set(map(type, values)) != {list}:
            raise invalid(
                f"{where}: expected lists at level {len(shape)}, found other values among them."
            )
        lengths = set(map(len, values))
        if len(lengths) != 1:
            found = sorted(lengths)[:10]
            raise invalid(f"{where}: expected lists of one length, found {found}; pad them.")

        shape.append(lengths.pop())
        if len(shape) > MAX_RANK:
            raise invalid(f"{where}: expected {spec}, found more than {MAX_RANK} levels of lists.")
        values = list(chain.from_iterable(values))
    return shape, values


def decode_leaves(values: Sequence[Any], spec: TensorSpec) -> Array:
    """Returns a flat array of values, all of the input's type.

    Raises:
        RequestError: a value has another type or is out of range.
    """
    accepted, convert = _ACCEPTED.get(spec.dtype.kind, (frozenset(), None))
    if convert is None:
        raise invalid(f"input {spec.name}: {spec.dtype_name} cannot be written as JSON.")

    expected = f"input {spec.name}: expected {spec.dtype_name}"
    if not set(map(type, values)) <= accepted:
        wrong = next(value for value in values if type(value) not in accepted)
        is_nested = isinstance(wrong, dict | list)
        found = json_kind(wrong) if is_nested else f"{json_kind(wrong)} {json_excerpt(wrong)}"
        raise invalid(f"{expected}, found {found}.")

    try:
        return convert(values, spec.dtype)
    except (OverflowError, UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise invalid(f"{expected}, found a value that could not be converted: {error}.") from error


def _numbers(values: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        array = np.array(values, dtype)
    if dtype.kind == "f" and (np.isinf(array) & np.isfinite(np.array(values, float))).any():
        raise OverflowError(f"a number is out of the range of {dtype.name}")
    return array


def _texts(values: Sequence[Any], _: np.dtype[Any]) -> Array:
    if len(values) > MAX_TEXTS:
        raise ValueError(f"expected at most {MAX_TEXTS} texts, found {len(values)}")
    array = np.empty(len(values), object)
    array[:] = [value.encode() if type(value) is str else _unpack(value) for value in values]
    return array


def _unpack(value: Mapping[str, Any]) -> bytes:
    """Decodes base64 as TensorFlow Serving does: with any white space, with or without padding."""
    if not is_b64(value):
        raise ValueError('bytes are written {"b64": "..."}')

    text = b"".join(value[B64].encode("ascii").split())
    digits = text.rstrip(b"=.")
    padding = -len(digits) % 4
    if len(text) - len(digits) not in (0, padding):
        raise binascii.Error("Incorrect padding")
    return base64.b64decode(digits + b"=" * padding, validate=True)


Convert = Callable[[Sequence[Any], "np.dtype[Any]"], Array]
# By NumPy's kind: the types of JSON values that are accepted, and how they are converted.
_ACCEPTED: dict[str, tuple[frozenset[type], Convert]] = {
    "f": (frozenset({int, float}), _numbers),
    "i": (frozenset({int}), _numbers),
    "u": (frozenset({int}), _numbers),
    "b": (frozenset({bool}), _numbers),
    "O": (frozenset({str, dict}), _texts),
}


def refuse_overflow(text: str, arrays: Arrays) -> None:
    """Refuses numbers such as `1e400`, which a double cannot hold; `Infinity` is a valid value.

    Python reads both as infinity. So the text is read a second time if some value is infinite.

    Args:
        text: JSON.
        arrays: the arrays that were read from it.

    Raises:
        RequestError: a number is out of range.
    """
    if any(values.dtype.kind == "f" and np.isinf(values).any() for values in arrays.values()):
        json.loads(text, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise invalid(
            "JSON Parse error: expected a number in the range of a double, "
            f"found {shorten(text, 80)}."
        )
    return value


def encode_json(name: str, values: Array) -> Any:
    """Returns the nested lists of an output.

    Raises:
        RequestError: JSON has no such values.
    """
    if values.dtype == object:
        texts = [_text(value, name.endswith(BYTES_SUFFIX)) for value in values.ravel().tolist()]
        array = np.empty(len(texts), object)
        array[:] = texts
        return array.reshape(values.shape).tolist()
    if values.dtype.kind == "f" and values.dtype.itemsize < 8:
        # As short as the float's own text: 0.2, not the 0.20000000298 that it is as a double.
        return values.astype("U32").astype(np.float64).tolist()
    if values.dtype.kind in "Vc":
        raise invalid(f"output {name}: {values.dtype} cannot be written as JSON; use gRPC.")
    return values.tolist()


def _text(value: bytes, is_bytes: bool) -> Any:
    if not is_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass  # TensorFlow Serving would write invalid JSON
    return {B64: base64.b64encode(value).decode()}


def encode_outputs(outputs: Arrays, *, in_rows: bool) -> bytes:
    """Returns the body of an answer: `predictions` for a request in rows, else `outputs`.

    Raises:
        RequestError: in rows, an output does not have a row per input row.
    """
    if in_rows:
        _check_rows(outputs)

    if len(outputs) == 1:
        content = _values(*next(iter(outputs.items())))
    elif in_rows:
        content = _rows(outputs)
    else:
        content = _named(outputs)
    key = "predictions" if in_rows else "outputs"
    return "".join([f'{{"{key}": ', *content, "}"]).encode(errors="replace")


def encode_error(reason: str) -> bytes:
    """Returns the body of a refusal."""
    return _dumps({"error": reason}).encode(errors="replace")


def _check_rows(outputs: Arrays) -> None:
    lengths = {len(values) if values.ndim else None for values in outputs.values()}
    if len(lengths) != 1 or None in lengths:
        shapes = {name: list(values.shape) for name, values in outputs.items()}
        raise invalid(
            f"expected outputs with one row per instance, found {shapes}; use 'inputs' instead."
        )


def _values(name: str, values: Array) -> Iterator[str]:
    """Yields the text of one output."""
    if values.size <= STEP:
        yield _dumps(encode_json(name, values))
        return

    rows = max(1, STEP * len(values) // values.size)
    yield "["
    for at in range(0, len(values), rows):
        yield ", " if at else ""
        if rows == 1:
            yield from _values(name, _row(values, at))
        else:
            yield _dumps(encode_json(name, values[at : at + rows]))[1:-1]
    yield "]"


def _named(outputs: Arrays) -> Iterator[str]:
    """Yields the text of an object with a value per output."""
    for at, (name, values) in enumerate(outputs.items()):
        yield f"{', ' if at else '{'}{_dumps(name)}: "
        yield from _values(name, values)
    yield "}"


def _rows(outputs: Arrays) -> Iterator[str]:
    """Yields the text of a list with an object per row."""
    total = len(next(iter(outputs.values())))
    rows = STEP * total // max(1, sum(values.size for values in outputs.values()))
    yield "["
    for at in range(0, total, max(1, rows)):
        yield ", " if at else ""
        if not rows:
            yield from _named({name: _row(values, at) for name, values in outputs.items()})
            continue

        columns = [encode_json(name, values[at : at + rows]) for name, values in outputs.items()]
        objects = [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]
        yield _dumps(objects)[1:-1]
    yield "]"


def _row(values: Array, at: int) -> Array:
    """Returns one row as an array, even if it is a single value."""
    return values[at : at + 1].reshape(values.shape[1:])


def _dumps(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": "))

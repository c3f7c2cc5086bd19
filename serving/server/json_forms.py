"""Requests and answers of TensorFlow Serving's REST API: rows (`instances`) and columns (`inputs`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.server.errors import invalid
from serving.server.json_codec import decode, encode, is_b64, kind, refuse_overflow, shown
from serving.server.signatures import Array, Arrays, Signature

STEP = 1024  # values that are written at a time: a thread that writes more would let no other work meanwhile


@dataclass(frozen=True)
class JsonRequest:
    """A request before its tensors are read.

    Attributes:
        signature_name: "" for the default.
        is_row_form: whether it has `instances`, rather than `inputs`.
        content: the value of that key.
        text: the whole of it.
    """

    signature_name: str
    is_row_form: bool
    content: Any
    text: str


def parse_request(body: bytes) -> JsonRequest:
    """Reads the outer object of a request.

    Raises:
        RequestError: no JSON object with either `instances` or `inputs`.
    """
    text, document = _parse_object(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"signature_name: expected a string, found {kind(name)}.")
    forms = [key for key in ("instances", "inputs") if key in document]
    if len(forms) != 1:
        raise invalid(
            f"expected one of the keys 'instances' and 'inputs', found {'both' if forms else 'neither'}."
        )
    return JsonRequest(name, forms == ["instances"], document[forms[0]], text)


def parse_examples_request(body: bytes) -> str:
    """Reads the outer object of a request to classify or regress; returns the signature's name, "" for the default.

    Raises:
        RequestError: no JSON object with `examples`, in TensorFlow Serving's words.
    """
    text, document = _parse_object(body)
    quoted = f"JSON Value: {text[:500]}"
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"{quoted} not formatted correctly. 'signature_name' key must be a string value."
        )
    if "examples" not in document:
        raise invalid(
            f"{quoted} When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(document["examples"], list):
        raise invalid(f"{quoted} Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise invalid(f"{quoted} 'examples' value is an empty array")
    return name


def _parse_object(body: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = body.decode()
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"expected a JSON object, found {kind(document)}.")
    return text, document


def decode_inputs(request: JsonRequest, signature: Signature) -> Arrays:
    """Returns the arrays of a request.

    Raises:
        RequestError: lists of unequal lengths, values of another type or out of its range, unknown inputs.
    """
    columns = _columns_of_rows if request.is_row_form else _columns
    arrays = {
        name: decode(values, signature.inputs[name])
        for name, values in columns(request.content, signature).items()
    }
    refuse_overflow(request.text, arrays)
    return arrays


def encode_outputs(outputs: Arrays, *, in_rows: bool) -> bytes:
    """Returns the body of an answer: `predictions` for a request in rows, `outputs` for one in columns.

    Raises:
        RequestError: in rows, an output does not have a row for each input row.
    """
    if in_rows:
        lengths = {len(values) if values.ndim else -1 for values in outputs.values()}
        if len(lengths) != 1 or -1 in lengths:
            shapes = {name: list(values.shape) for name, values in outputs.items()}
            raise invalid(
                f"expected outputs with one row an instance, found {shapes}; ask with 'inputs'."
            )
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
    return _dump({"error": reason})


def _columns(content: Any, signature: Signature) -> Mapping[str, Any]:
    if type(content) is not dict or is_b64(content):
        return {_only_input(signature, "inputs"): content}
    _know(content.keys(), signature)
    return content


def _columns_of_rows(content: Any, signature: Signature) -> Mapping[str, Any]:
    if type(content) is not list or not content:
        raise invalid(
            f"instances: expected a list of one or more, found {'none' if content == [] else kind(content)}."
        )
    named = [type(row) is dict and not is_b64(row) for row in content]
    if not any(named):
        return {_only_input(signature, "instances"): content}
    if not all(named):
        raise invalid(
            f"instances: expected objects, found {kind(content[named.index(False)])} among them."
        )
    keys = content[0].keys()
    _know(keys, signature)
    for at, row in enumerate(content):
        if row.keys() != keys:
            raise invalid(
                f"instances, element {at}: expected the keys {', '.join(keys)}; found {shown(row)}."
            )
    return {name: [row[name] for row in content] for name in keys}


def _only_input(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        raise invalid(
            f"{key}: expected values by the names {', '.join(signature.inputs)}; found them without names."
        )
    return next(iter(signature.inputs))


def _know(names: Any, signature: Signature) -> None:
    unknown = [name for name in names if name not in signature.inputs]
    if unknown:
        raise invalid(
            f"{signature.name}: expected the inputs {', '.join(signature.inputs)}; found {shown(unknown)}."
        )


def _values(name: str, values: Array) -> Iterator[str]:
    """Yields the text of one output."""
    if values.size <= STEP:
        yield _text(encode(name, values))
        return
    rows = max(1, STEP * len(values) // values.size)
    yield "["
    for at in range(0, len(values), rows):
        yield ", " if at else ""
        if rows == 1:
            yield from _values(name, _row(values, at))
        else:
            yield _text(encode(name, values[at : at + rows]))[1:-1]
    yield "]"


def _named(outputs: Arrays) -> Iterator[str]:
    """Yields the text of an object with a value for each output."""
    for at, (name, values) in enumerate(outputs.items()):
        yield f"{', ' if at else '{'}{_text(name)}: "
        yield from _values(name, values)
    yield "}"


def _rows(outputs: Arrays) -> Iterator[str]:
    """Yields the text of a list with an object for each row."""
    total = len(next(iter(outputs.values())))
    rows = STEP * total // max(1, sum(values.size for values in outputs.values()))
    yield "["
    for at in range(0, total, max(1, rows)):
        yield ", " if at else ""
        if rows:
            columns = [encode(name, values[at : at + rows]) for name, values in outputs.items()]
            yield _text(
                [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]
            )[1:-1]
        else:
            yield from _named({name: _row(values, at) for name, values in outputs.items()})
    yield "]"


def _row(values: Array, at: int) -> Array:
    """Returns one row, as an array also where it is a single value."""
    return values[at : at + 1].reshape(values.shape[1:])


def _dump(document: Any) -> bytes:
    return _text(document).encode(errors="replace")


def _text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": "))

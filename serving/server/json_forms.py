"""Requests and answers of TensorFlow Serving's REST API: rows (`instances`) and columns (`inputs`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.server.errors import invalid
from serving.server.json_codec import decode, encode, is_b64, kind, shown
from serving.server.signatures import Arrays, Signature


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
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"expected a JSON object, found {kind(document)}.")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"signature_name: expected a string, found {kind(name)}.")
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


def encode_outputs(outputs: Arrays, *, in_rows: bool) -> bytes:
    """Returns the body of an answer: `predictions` for a request in rows, `outputs` for one in columns.

    Raises:
        RequestError: in rows, an output does not have a row for each input row.
    """
    columns = {name: encode(name, values) for name, values in outputs.items()}
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
    if type(content) is not dict or is_b64(content):
        return {_only_input(signature, "inputs"): content}
    _know(content.keys(), signature)
    return content


def _columns_of_rows(content: Any, signature: Signature) -> Mapping[str, Any]:
    if type(content) is not list or not content:
        raise invalid(f"instances: expected a list of one or more, found {'none' if content == [] else kind(content)}.")
    named = [type(row) is dict and not is_b64(row) for row in content]
    if not any(named):
        return {_only_input(signature, "instances"): content}
    if not all(named):
        raise invalid(f"instances: expected objects, found {kind(content[named.index(False)])} among them.")
    keys = content[0].keys()
    _know(keys, signature)
    for at, row in enumerate(content):
        if row.keys() != keys:
            raise invalid(f"instances, element {at}: expected the keys {', '.join(keys)}; found {shown(row)}.")
    return {name: [row[name] for row in content] for name in keys}


def _only_input(signature: Signature, key: str) -> str:
    if len(signature.inputs) != 1:
        raise invalid(f"{key}: expected values by the names {', '.join(signature.inputs)}; found them without names.")
    return next(iter(signature.inputs))


def _know(names: Any, signature: Signature) -> None:
    unknown = [name for name in names if name not in signature.inputs]
    if unknown:
        raise invalid(f"{signature.name}: expected the inputs {', '.join(signature.inputs)}; found {shown(unknown)}.")


def _dump(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": ")).encode(errors="replace")

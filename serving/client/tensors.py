"""Tensors as lists."""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Sequence
from typing import Any

from serving.client import wire
from serving.client.errors import PredictError

# For each type: the field that holds its values one by one, and the code of its bytes in `tensor_content`.
_NUMBERS = {
    wire.DT_FLOAT: ("float_val", "f"),
    wire.DT_DOUBLE: ("double_val", "d"),
    wire.DT_INT32: ("int_val", "i"),
    wire.DT_INT64: ("int64_val", "q"),
    wire.DT_BOOL: ("bool_val", "b"),
}


def text_tensor(values: Sequence[bytes]) -> Any:
    """Returns a TensorProto of strings, [B]."""
    tensor = wire.TensorProto(dtype=wire.DT_STRING, string_val=values)
    tensor.tensor_shape.dim.add(size=len(values))
    return tensor


def to_lists(tensor: Any) -> list[Any]:
    """Returns the values of a TensorProto of one or two dimensions, nested as it is; text as str.

    Raises:
        PredictError: it has another type or rank, or not as many values as its shape says.
    """
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    values = _values(tensor, math.prod(sizes))
    if len(sizes) not in (1, 2) or len(values) != math.prod(sizes):
        raise PredictError(
            f"expected a tensor of one or two dimensions, found {len(values)} values of shape {sizes}."
        )
    if len(sizes) == 1:
        return values
    rows, width = sizes
    return [values[row * width : (row + 1) * width] for row in range(rows)]


def _values(tensor: Any, size: int) -> list[Any]:
    if tensor.dtype == wire.DT_STRING:
        return [value.decode() for value in tensor.string_val]
    if tensor.dtype not in _NUMBERS:
        raise PredictError(
            f"expected numbers or text, found a tensor of type {tensor.dtype} (tensorflow.DataType)."
        )
    field, code = _NUMBERS[tensor.dtype]
    if tensor.tensor_content:
        content = array.array(code, tensor.tensor_content)
        if sys.byteorder == "big":
            content.byteswap()
        return content.tolist()
    values = list(getattr(tensor, field))
    # Trailing values that repeat the last one may be left out.
    return values + values[-1:] * (size - len(values))

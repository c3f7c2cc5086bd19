"""One hash per row of a request, the same however the row was sent, batched or padded.

The log holds no inputs: only whoever has an input can find its rows. A serialized example has the
SHA-256 of its bytes. Tensors have the SHA-256 of, in the order of their names: a line with each
one's name, dtype and shape, then the row's values of each one, little endian; texts are their
lengths in four bytes each, then themselves. Steps after `num_steps` are padding and do not count.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np

from components.contracts.names import NUM_STEPS

Array = np.ndarray[Any, Any]


def row_hashes(inputs: Mapping[str, Array], step_inputs: Collection[str] = ()) -> list[bytes]:
    """Returns a SHA-256 per row.

    Args:
        inputs: arrays by name, each [rows, ...]; texts are bytes in an array of objects.
        step_inputs: names of those [rows, steps] whose number of steps is in `num_steps`.

    >>> examples = np.array([b"", b"abc"], object)
    >>> [digest.hex()[:8] for digest in row_hashes({"examples": examples})]
    ['e3b0c442', 'ba7816bf']
    """
    if len(inputs) == 1:
        (values,) = inputs.values()
        if values.dtype == object and values.ndim == 1:
            return [sha256(example).digest() for example in values.tolist()]

    names = sorted(inputs)
    if len({inputs[name].shape[1] for name in step_inputs}) > 1:
        step_inputs = ()  # no request of a pipeline's model: the graph decides what counts
    counts = _step_counts(inputs, step_inputs)

    heads, columns = [], []
    for name in names:
        values = inputs[name]
        if counts is not None and name == NUM_STEPS:
            heads.append(_head(name, values.dtype, ()))
            columns.append([struct.pack("<q", count) for count in counts])
        elif name in step_inputs:
            heads.append(_head(name, values.dtype, None))
            columns.append(_contents(values, counts))
        else:
            heads.append(_head(name, values.dtype, values.shape[1:]))
            columns.append(_contents(values))
    head = b"".join(heads)
    return [sha256(b"".join((head, *row))).digest() for row in zip(*columns, strict=True)]


def little_endian(values: Array) -> bytes:
    """Returns the bytes of an array of numbers."""
    if sys.byteorder == "big" or values.dtype.byteorder == ">":
        values = values.astype(values.dtype.newbyteorder("<"))
    return values.tobytes()


def _step_counts(inputs: Mapping[str, Array], step_inputs: Collection[str]) -> list[int] | None:
    """Returns how many steps of each row count; None if the inputs have no steps."""
    width = next((inputs[name].shape[1] for name in step_inputs), None)
    if width is None:
        return None
    return [min(max(count, 0), width) for count in inputs[NUM_STEPS].tolist()]


@lru_cache
def _head(name: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> bytes:
    """Returns the line of a tensor; `shape` is None for steps."""
    kind = "text" if dtype.kind == "O" else dtype.newbyteorder("<").str
    sizes = "steps" if shape is None else ",".join(map(str, shape))
    return f"{name!r} {kind} [{sizes}]\n".encode()


def _contents(values: Array, counts: list[int] | None = None) -> list[bytes]:
    """Returns the bytes of each row's values; of the first `counts` of them, if given."""
    rows = len(values)
    if values.dtype == object:
        texts = values.reshape(rows, -1).tolist()
        if counts is not None:
            texts = [row[:count] for row, count in zip(texts, counts, strict=True)]
        return [struct.pack(f"<{len(row)}I", *map(len, row)) + b"".join(row) for row in texts]

    content = little_endian(values)
    stride = len(content) // rows
    if counts is None:
        return [content[at * stride : (at + 1) * stride] for at in range(rows)]
    size = values.dtype.itemsize
    return [content[at * stride : at * stride + count * size] for at, count in enumerate(counts)]

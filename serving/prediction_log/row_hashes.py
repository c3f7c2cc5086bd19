"""One hash per row of a request, the same however the row was sent, batched or padded.

The log holds no inputs: only whoever has an input can find its rows. A serialized example has the
SHA-256 of its bytes. Tensors have the SHA-256 of, in the order of their names: a line with each
one's name, dtype and shape, then the row's values of each one, little endian; texts are their
lengths in four bytes each, then themselves. Steps after `num_steps` are padding and do not count.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
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
    head = "".join(_head(name, inputs[name], name in step_inputs) for name in names).encode()
    columns = []
    for name in names:
        if counts is not None and name == NUM_STEPS:
            columns.append([struct.pack("<q", count) for count in counts])
        else:
            columns.append(_contents(inputs[name], counts if name in step_inputs else None))
    return [sha256(b"".join((head, *row))).digest() for row in zip(*columns, strict=True)]


def _step_counts(inputs: Mapping[str, Array], step_inputs: Collection[str]) -> list[int] | None:
    """Returns how many steps of each row count; None if the inputs have no steps."""
    width = next((inputs[name].shape[1] for name in step_inputs), None)
    if width is None:
        return None
    counts: list[int] = np.clip(inputs[NUM_STEPS], 0, width).tolist()
    return counts


def _head(name: str, values: Array, is_steps: bool) -> str:
    dtype = "text" if values.dtype == object else values.dtype.newbyteorder("<").str
    shape = "steps" if is_steps else ",".join(map(str, values.shape[1:]))
    return f"{name!r} {dtype} [{shape}]\n"


def _contents(values: Array, counts: list[int] | None) -> list[bytes]:
    """Returns the bytes of each row's values, the first `counts` of them."""
    rows = len(values)
    if values.dtype == object:
        texts = values.reshape(rows, -1).tolist()
        if counts is not None:
            texts = [row[:count] for row, count in zip(texts, counts, strict=True)]
        return [struct.pack(f"<{len(row)}I", *map(len, row)) + b"".join(row) for row in texts]

    content = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    stride = len(content) // rows
    if counts is None:
        return [content[at * stride : (at + 1) * stride] for at in range(rows)]
    size = values.dtype.itemsize
    starts = range(0, rows * stride, stride) if stride else [0] * rows
    return [
        content[start : start + count * size] for start, count in zip(starts, counts, strict=True)
    ]

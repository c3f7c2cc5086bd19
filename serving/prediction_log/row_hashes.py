"""One hash per row of a request, the same however the row was sent, batched or padded.

The log holds no inputs: only whoever has an input can find its rows. A serialized example has the
SHA-256 of its bytes. Tensors have the SHA-256 of, in the order of their names: a line with each
one's name, dtype and shape, then the row's values of each one, little endian; texts are their
lengths in four bytes each, then themselves. Steps after `num_steps` are padding and do not count.

A request waits for this, alone or with the others of its batch, so both ways are short.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from components.contracts.names import NUM_STEPS

Array = np.ndarray[Any, Any]

# Bytes that hashlib takes at a time without releasing the interpreter. Under load, to get it back
# takes many times as long as the hash of a row.
UNRELEASED = 2047
MOST_HEADS = 100
LARGE = 64 * 2**10  # bytes: hashing as many shall not hold up others


def row_hashes(inputs: Mapping[str, Array], step_inputs: Collection[str] = ()) -> list[bytes]:
    """Returns a SHA-256 per row.

    Args:
        inputs: arrays by name, each [rows, ...]; texts are bytes in an array of objects.
        step_inputs: names of those [rows, steps] whose number of steps is in `num_steps`.

    >>> examples = np.array([b"", b"abc"], object)
    >>> [digest.hex()[:8] for digest in row_hashes({"examples": examples})]
    ['e3b0c442', 'ba7816bf']
    """
    return RowHasher(step_inputs).hash(inputs)


class RowHasher:
    """Hashes the rows of requests to one signature."""

    def __init__(self, step_inputs: Collection[str] = ()) -> None:
        """Takes what requests have in common.

        Args:
            step_inputs: see `row_hashes`.
        """
        self._steps = frozenset(step_inputs)
        self._heads: dict[tuple[tuple[int, ...], ...], bytes] = {}

    def hash(self, inputs: Mapping[str, Array]) -> list[bytes]:
        """Returns a SHA-256 per row; see `row_hashes`."""
        if len(inputs) == 1:
            (values,) = inputs.values()
            if values.dtype.kind == "O" and values.ndim == 1:
                return [_digest(example) for example in values.tolist()]

        steps = self._steps
        if steps and len({inputs[name].shape[1] for name in steps}) > 1:
            steps = frozenset()  # no request of a pipeline's model: the graph decides what counts
        counts = _step_counts(inputs, steps)
        names = sorted(inputs)
        columns: list[list[bytes]] = []
        for name in names:
            if name in steps:
                columns.append(_contents(inputs[name], counts))
            elif counts and name == NUM_STEPS:
                columns.append([count.to_bytes(8, "little") for count in counts])
            else:
                columns.append(_contents(inputs[name]))

        head = self._head(names, inputs, steps)
        return [_digest(b"".join((head, *row))) for row in zip(*columns, strict=True)]

    def _head(self, names: list[str], inputs: Mapping[str, Array], steps: frozenset[str]) -> bytes:
        """Returns the lines of all tensors, which seldom differ between requests."""
        shapes = tuple([() if name in steps else inputs[name].shape[1:] for name in names])
        if shapes in self._heads:
            return self._heads[shapes]

        lines = []
        for name, shape in zip(names, shapes, strict=True):
            dtype = inputs[name].dtype
            kind = "text" if dtype.kind == "O" else dtype.newbyteorder("<").str
            sizes = "steps" if name in steps else ",".join(map(str, shape))
            lines.append(f"{name!r} {kind} [{sizes}]\n")
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        return self._heads.setdefault(shapes, "".join(lines).encode())


def _step_counts(inputs: Mapping[str, Array], steps: frozenset[str]) -> list[int]:
    """Returns how many steps of each row count; none if the inputs have no steps."""
    for name in steps:
        width = inputs[name].shape[1]
        return [min(max(count, 0), width) for count in inputs[NUM_STEPS].tolist()]
    return []


def _contents(values: Array, counts: list[int] | None = None) -> list[bytes]:
    """Returns the bytes of each row's values; of the first `counts` of them, if given."""
    rows = len(values)
    if values.dtype.kind == "O":
        texts = values.reshape(rows, -1).tolist()
        if counts is not None:
            texts = [row[:count] for row, count in zip(texts, counts, strict=True)]
        return [struct.pack(f"<{len(row)}I", *map(len, row)) + b"".join(row) for row in texts]

    if not (sys.byteorder == "little" and values.dtype.isnative):
        values = values.astype(values.dtype.newbyteorder("<"))
    content = values.tobytes()
    stride = len(content) // rows
    if counts is None:
        return [content[at * stride : (at + 1) * stride] for at in range(rows)]
    size = values.itemsize
    return [content[at * stride : at * stride + count * size] for at, count in enumerate(counts)]


def _digest(content: bytes) -> bytes:
    size = len(content)
    if size <= UNRELEASED or size >= LARGE:
        return sha256(content).digest()
    digest = sha256(content[:UNRELEASED])
    for at in range(UNRELEASED, size, UNRELEASED):
        digest.update(content[at : at + UNRELEASED])
    return digest.digest()

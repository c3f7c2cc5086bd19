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
from typing import Any, TypeAlias

import numpy as np

from components.contracts.names import NUM_STEPS

Array = np.ndarray[Any, Any]
Columns: TypeAlias = list[tuple[str, Array, bool]]  # name, values, and whether they are steps

# Bytes that hashlib takes at a time without releasing the interpreter. Under load, to get it back
# takes many times as long as the hash of a row.
UNRELEASED = 2047
MOST_HEADS = 100
IS_LITTLE = sys.byteorder == "little"
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
        columns = [(name, inputs[name], name in steps) for name in sorted(inputs)]
        head = self._head(columns)
        if not steps:
            rows = len(columns[0][1])
            return [_hash_row(head, columns, at, None) for at in range(rows)]

        width = inputs[next(iter(steps))].shape[1]
        return [
            _hash_row(head, columns, at, min(max(count, 0), width))
            for at, count in enumerate(inputs[NUM_STEPS].tolist())
        ]

    def _head(self, columns: Columns) -> bytes:
        """Returns the lines of all tensors, which seldom differ between requests."""
        shapes = tuple([values.shape[1:] for _, values, is_steps in columns if not is_steps])
        if shapes in self._heads:
            return self._heads[shapes]

        lines = []
        for name, values, is_steps in columns:
            dtype = values.dtype
            kind = "text" if dtype.kind == "O" else dtype.newbyteorder("<").str
            sizes = "steps" if is_steps else ",".join(map(str, values.shape[1:]))
            lines.append(f"{name!r} {kind} [{sizes}]\n")
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        return self._heads.setdefault(shapes, "".join(lines).encode())


def _hash_row(head: bytes, columns: Columns, at: int, count: int | None) -> bytes:
    """Returns the hash of a row; `count` is its number of steps, None without steps."""
    parts = [head]
    for name, values, is_steps in columns:
        if count is not None and name == NUM_STEPS:
            parts.append(count.to_bytes(8, "little"))
            continue

        row = values[at, :count] if is_steps else values[at : at + 1]
        if row.dtype.kind == "O":
            texts = row.ravel().tolist()
            parts.append(struct.pack(f"<{len(texts)}I", *map(len, texts)))
            parts += texts
        elif IS_LITTLE and row.dtype.isnative:
            parts.append(row.tobytes())
        else:
            parts.append(row.astype(row.dtype.newbyteorder("<")).tobytes())
    return _digest(b"".join(parts))


def _digest(content: bytes) -> bytes:
    size = len(content)
    if size <= UNRELEASED or size >= LARGE:
        return sha256(content).digest()
    digest = sha256(content[:UNRELEASED])
    for at in range(UNRELEASED, size, UNRELEASED):
        digest.update(content[at : at + UNRELEASED])
    return digest.digest()

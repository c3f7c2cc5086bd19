"""The form of the spool's files: frames of rows, each with a checksum, in the order of writing.

A frame is written by one call of the system, is read whole or not at all, and holds the rows of one
batch in columns. What its outputs are called is in a frame of its own, once per file.

    file    MAGIC, then frames
    frame   size of the body (4 bytes), CRC-32 of the body (4), body
    body    b"L", a layout as JSON
            b"R", number of rows (4), SHA-256 of each row's input (32 each), `Rows`

Numbers are little endian. A row whose hash is all zeros has been erased. Everything else about rows
is written by `marshal`, whose form of version 2 every Python reads: one call takes bytes and
numbers, and waiting requests pay for each call.
"""

from __future__ import annotations

import json
import marshal
import math
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from serving.server.json_tensors import encode_json

MAGIC = b"mastery prediction log 1\n"
ERASED = bytes(32)
VERSION = 2  # of `marshal`
_FRAME = struct.Struct("<II")
_ROWS = struct.Struct("<cI")

Array = np.ndarray[Any, Any]


class Row(NamedTuple):
    """A row of the prediction log.

    Attributes:
        id: unique; the same however often the row is read from the spool.
        at: when the request arrived, in UTC.
        model: the model's name.
        version: the version that answered.
        label: the version label that was asked for, if any.
        input_hash: see `row_hashes`, in hexadecimal.
        answer: the outputs of this row, by name.
        latency: seconds from the request's arrival until its answer was computed.
        shadow: whether the answer was returned to nobody; see `serving.server.shadow`.
    """

    id: str
    at: datetime
    model: str
    version: int
    label: str | None
    input_hash: str
    answer: dict[str, Any]
    latency: float
    shadow: bool = False


# What rows of one request share: when it arrived, in seconds since 1970; seconds until its answer
# was computed; the version label that was asked for, if any.
Request: TypeAlias = tuple[float, float, str | None]


@dataclass(frozen=True)
class Layout:
    """What frames of rows leave out: who answered, and the outputs' names and dtypes.

    Attributes:
        model: the model's name.
        version: the version.
        outputs: names and dtypes; "O" for bytes.
        shadow: whether the answers were returned to nobody.
    """

    model: str
    version: int
    outputs: tuple[tuple[str, str], ...]
    shadow: bool = False

    @classmethod
    def of(
        cls, model: str, version: int, outputs: Mapping[str, Array], *, shadow: bool = False
    ) -> Layout:
        """Returns the layout of a version's outputs."""
        named = ((name, _plain(values).dtype) for name, values in outputs.items())
        dtypes = tuple((name, dtype.str.lstrip("<>|=")) for name, dtype in named)
        return cls(model, version, dtypes, shadow)

    @cached_property
    def body(self) -> bytes:
        """The body of its frame."""
        mark = [True] if self.shadow else []  # without one, as files had it before there were any
        return b"L" + json.dumps([self.model, self.version, self.outputs, *mark]).encode()

    @cached_property
    def frame(self) -> bytes:
        """Its frame."""
        return _framed(self.body)

    @cached_property
    def number(self) -> int:
        """How frames of rows refer to it."""
        return zlib.crc32(self.body)

    @classmethod
    def parse(cls, body: bytes) -> Layout:
        """Returns the layout that a frame holds."""
        model, version, outputs, *mark = json.loads(body[1:])
        return cls(model, version, tuple((name, dtype) for name, dtype in outputs), any(mark))


class Rows(NamedTuple):
    """The rows of a batch, without the hashes of their inputs.

    Attributes:
        layout: the number of the outputs' layout.
        owners: which of the requests each row belongs to.
        requests: what their rows share: see `Request`.
        outputs: nested lists, each with an element per row, in the layout's order.
    """

    layout: int
    owners: list[int]
    requests: list[Request]
    outputs: list[list[Any]]


def encode_rows(
    layout: Layout,
    hashes: Sequence[bytes],
    owners: list[int],
    requests: list[Request],
    outputs: Mapping[str, Array],
) -> bytes:
    """Returns a frame.

    Args:
        layout: of the outputs.
        hashes: of the inputs, one per row.
        owners: which of the requests each row belongs to.
        requests: what their rows share: see `Request`.
        outputs: arrays by name, each [rows, ...], in the layout's order.
    """
    values = [_plain(array).tolist() for array in outputs.values()]
    rest = marshal.dumps((layout.number, owners, requests, values), VERSION)
    return _framed(b"".join((_ROWS.pack(b"R", len(hashes)), *hashes, rest)))


def answers_as_logged(outputs: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Returns what the log keeps of outputs, arrays [rows, ...] by name: one answer per row."""
    columns = {name: _storable(name, _plain(values)) for name, values in outputs.items()}
    rows = len(next(iter(columns.values()), ()))
    return [{name: column[row] for name, column in columns.items()} for row in range(rows)]


def _framed(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _plain(values: Array) -> Array:
    """Returns an array of a dtype that NumPy alone can read back."""
    kind = values.dtype.kind
    if kind == "V":  # bfloat16 and its like
        return values.astype(np.float32)
    if kind == "c":
        return np.stack([values.real, values.imag], axis=-1)
    return values


@dataclass
class SegmentContent:
    """What a file of the spool holds.

    Attributes:
        rows: in the order of writing, without erased ones.
        damaged: bytes that could not be read: the end of a file that a crash cut off.
    """

    rows: list[Row]
    damaged: int


def read_segment(path: Path) -> SegmentContent:
    """Reads a file of the spool, also while a server appends to it.

    Raises:
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    layouts: dict[int, Layout] = {}
    rows: list[Row] = []
    read = len(MAGIC) if content.startswith(MAGIC) else 0
    for at, body in _bodies(content):
        if body[:1] == b"L":
            layout = Layout.parse(body)
            layouts[layout.number] = layout
        elif (found := _decode_rows(body, layouts, f"{path.stem}-{at:x}")) is not None:
            rows += found
        else:
            continue
        read += _FRAME.size + len(body)
    return SegmentContent(rows, len(content) - read)


def _bodies(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields where each readable frame begins, and its body."""
    if not content.startswith(MAGIC):
        return
    at = len(MAGIC)
    while at + _FRAME.size <= len(content):
        size, checksum = _FRAME.unpack_from(content, at)
        body = content[at + _FRAME.size : at + _FRAME.size + size]
        if not size or len(body) < size:  # zeros, or a frame that was cut off
            return
        if zlib.crc32(body) == checksum:
            yield at, body
        at += _FRAME.size + size


def _decode_rows(body: bytes, layouts: Mapping[int, Layout], prefix: str) -> Iterator[Row] | None:
    """Returns the rows of a frame; None if the frame of its layout is damaged."""
    _, count = _ROWS.unpack_from(body)
    begin = _ROWS.size + 32 * count
    rows = Rows(*marshal.loads(memoryview(body)[begin:]))
    layout = layouts.get(rows.layout)
    if layout is None:
        return None
    hashes = [body[at : at + 32] for at in range(_ROWS.size, begin, 32)]
    return _rows(hashes, rows, layout, prefix)


def _rows(hashes: list[bytes], rows: Rows, layout: Layout, prefix: str) -> Iterator[Row]:
    names = [name for name, _ in layout.outputs]
    columns = [
        _storable(name, _array(values, dtype))
        for (name, dtype), values in zip(layout.outputs, rows.outputs, strict=True)
    ]
    requests = [
        (datetime.fromtimestamp(at, UTC), latency, (label or "").replace("\0", "�") or None)
        for at, latency, label in rows.requests
    ]
    for place, (digest, owner) in enumerate(zip(hashes, rows.owners, strict=True)):
        if digest == ERASED:
            continue
        at, latency, label = requests[owner]
        yield Row(
            id=f"{prefix}-{place}",
            at=at,
            model=layout.model,
            version=layout.version,
            label=label,
            input_hash=digest.hex(),
            answer={name: column[place] for name, column in zip(names, columns, strict=True)},
            latency=latency,
            shadow=layout.shadow,
        )


def _array(values: list[Any], dtype: str) -> Array:
    if dtype != "O":
        return np.array(values, dtype)
    shape, inner = [len(values)], values
    while inner and isinstance(inner[0], list):  # NumPy would take a text for a sequence
        shape.append(len(inner[0]))
        inner = inner[0]
    array = np.empty(shape, object)
    array[...] = values
    return array


def _storable(name: str, values: Array) -> Any:
    """Returns the values as lists that every database takes as JSON."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return _finite(encode_json(name, values))
    if values.dtype == object and any(b"\0" in text for text in values.ravel().tolist()):
        return encode_json(f"{name}_bytes", values)  # PostgreSQL keeps no text with NUL
    return encode_json(name, values)


def _finite(value: Any) -> Any:
    """Returns values in which NaN and infinities are texts, as protocol buffers write them."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def erase_from_segment(path: Path, hashes: Collection[bytes]) -> int:
    """Erases the rows of some inputs, in place: a server may be appending to the file.

    The answers stay in the file until its rows are moved, but belong to nobody.

    Returns:
        The number of rows.
    """
    content = path.read_bytes()
    erased = 0
    with path.open("r+b", buffering=0) as file:
        for at, body in _bodies(content):
            if body[:1] != b"R":
                continue
            _, count = _ROWS.unpack_from(body)
            found = [
                place
                for place in range(_ROWS.size, _ROWS.size + 32 * count, 32)
                if body[place : place + 32] in hashes
            ]
            if not found:
                continue

            changed = bytearray(body)
            for place in found:
                changed[place : place + 32] = ERASED
            head = _FRAME.pack(len(changed), zlib.crc32(changed))
            os.pwrite(file.fileno(), head + changed[: _ROWS.size + 32 * count], at)
            erased += len(found)
        os.fsync(file.fileno())
    return erased

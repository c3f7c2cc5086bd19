"""The form of the spool's files: frames of rows, each with a checksum, in the order of writing.

A frame is written by one call of the system, is read whole or not at all, and holds the rows of one
batch in columns, so that writing costs the server little. What its outputs are called is in a frame
of its own, once per file.

    file    MAGIC, then frames
    frame   size of the body (4 bytes), CRC-32 of the body (4), body
    body    b"L", a layout as JSON
            b"R", number of rows (4), SHA-256 of each row's input (32 each), layout (4), number of
            requests (4), of each request: moment and latency in seconds (8 each), length of the
            label (2), then the labels; of each row: which request it belongs to (4); the outputs

Numbers are little endian. A row whose hash is all zeros has been erased.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from serving.prediction_log.row_hashes import little_endian
from serving.server.json_tensors import encode_json

MAGIC = b"mastery prediction log 1\n"
ERASED = bytes(32)
_FRAME = struct.Struct("<II")
_ROWS = struct.Struct("<cI")
_LAYOUT = struct.Struct("<II")

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
    """

    id: str
    at: datetime
    model: str
    version: int
    label: str | None
    input_hash: str
    answer: dict[str, Any]
    latency: float


class Request(NamedTuple):
    """What rows of one request share.

    Attributes:
        at: when it arrived, in seconds since 1970.
        latency: seconds until its answer was computed.
        label: the version label that was asked for, if any.
    """

    at: float
    latency: float
    label: str | None


@dataclass(frozen=True)
class Layout:
    """What frames of rows leave out: who answered, and the outputs' names and dtypes.

    Attributes:
        model: the model's name.
        version: the version.
        outputs: names and dtypes; "text" for bytes.
    """

    model: str
    version: int
    outputs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, model: str, version: int, outputs: Mapping[str, Array]) -> Layout:
        """Returns the layout of a version's outputs."""
        named = tuple((name, _dtype(_plain(values))) for name, values in outputs.items())
        return cls(model, version, named)

    @cached_property
    def body(self) -> bytes:
        """The body of its frame."""
        return b"L" + json.dumps([self.model, self.version, self.outputs]).encode()

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
        model, version, outputs = json.loads(body[1:])
        return cls(model, version, tuple((name, dtype) for name, dtype in outputs))


def encode_rows(
    layout: Layout,
    hashes: Sequence[bytes],
    owners: Sequence[int],
    requests: Sequence[Request],
    outputs: Mapping[str, Array],
) -> bytes:
    """Returns a frame.

    Args:
        layout: of the outputs.
        hashes: of the inputs, one per row.
        owners: which of the requests each row belongs to.
        requests: what their rows share.
        outputs: arrays by name, each [rows, ...], in the layout's order.
    """
    labels = [(request.label or "").encode() for request in requests]
    times = [number for request in requests for number in (request.at, request.latency)]
    count = len(requests)
    return _framed(
        b"".join(
            [
                _ROWS.pack(b"R", len(hashes)),
                *hashes,
                _LAYOUT.pack(layout.number, count),
                struct.pack(f"<{2 * count}d{count}H", *times, *map(len, labels)),
                *labels,
                struct.pack(f"<{len(owners)}I", *owners),
                *(_encode_values(_plain(values)) for values in outputs.values()),
            ]
        )
    )


def _framed(body: bytes) -> bytes:
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _plain(values: Array) -> Array:
    """Returns an array of a dtype that NumPy alone can read back."""
    if values.dtype.kind == "V":  # bfloat16 and its like
        return values.astype(np.float32)
    if values.dtype.kind == "c":
        return np.stack([values.real, values.imag], axis=-1)
    return values


def _dtype(values: Array) -> str:
    return "text" if values.dtype == object else values.dtype.newbyteorder("<").str


def _encode_values(values: Array) -> bytes:
    """Returns the shape of a row, and the values of all rows."""
    shape = values.shape[1:]
    head = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    if values.dtype == object:
        texts = values.ravel().tolist()
        return b"".join([head, struct.pack(f"<{len(texts)}I", *map(len, texts)), *texts])
    return head + little_endian(values)


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
        elif (found := _layout_of(body, layouts)) is not None:
            rows += _decode_rows(body, found, f"{path.stem}-{at:x}")
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


def _layout_of(body: bytes, layouts: Mapping[int, Layout]) -> Layout | None:
    _, count = _ROWS.unpack_from(body)
    number, _ = _LAYOUT.unpack_from(body, _ROWS.size + 32 * count)
    return layouts.get(number)


def _decode_rows(body: bytes, layout: Layout, prefix: str) -> Iterator[Row]:
    reader = _Reader(body)
    _, count = reader.unpack(_ROWS.format)
    hashes = [reader.take(32) for _ in range(count)]
    _, requests = reader.unpack(_LAYOUT.format)
    times = reader.unpack(f"<{2 * requests}d")
    sizes = reader.unpack(f"<{requests}H")
    labels = [reader.take(size).decode(errors="replace").replace("\0", "�") for size in sizes]
    owners = reader.unpack(f"<{count}I")
    columns = [_storable(name, reader.values(count, dtype)) for name, dtype in layout.outputs]

    names = [name for name, _ in layout.outputs]
    moments = [datetime.fromtimestamp(at, UTC) for at in times[::2]]
    for place, (digest, owner) in enumerate(zip(hashes, owners, strict=True)):
        if digest != ERASED:
            yield Row(
                id=f"{prefix}-{place}",
                at=moments[owner],
                model=layout.model,
                version=layout.version,
                label=labels[owner] or None,
                input_hash=digest.hex(),
                answer={name: column[place] for name, column in zip(names, columns, strict=True)},
                latency=times[2 * owner + 1],
            )


class _Reader:
    """Reads a body from its beginning to its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        self._at += size
        return self._body[self._at - size : self._at]

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def values(self, rows: int, dtype: str) -> Array:
        (rank,) = self.unpack("<B")
        shape = (rows, *self.unpack(f"<{rank}I"))
        count = math.prod(shape)
        if dtype != "text":
            size = count * np.dtype(dtype).itemsize
            return np.frombuffer(self.take(size), dtype).reshape(shape)

        texts = np.empty(count, object)
        texts[:] = [self.take(size) for size in self.unpack(f"<{count}I")]
        return texts.reshape(shape)


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

"""Writes and reads compressed TFRecord files without TensorFlow, which takes seconds to import.

The format, of which readers check both sums:
    length: uint64, little endian
    masked CRC32C of the length: uint32
    record: `length` bytes
    masked CRC32C of the record: uint32

The bytes are those of `tf.io.TFRecordWriter`, if Python's zlib is the one that TensorFlow is built
with; any other writes the same records. A test compares the two.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from components.files.atomic import new_file

BATCH_BYTES = 8 << 20  # of records that are worked on at once
BATCH_ROWS = 8192

_LEVEL = 3  # half the time of level 6, files a fifth larger
_GZIP = 16 + zlib.MAX_WBITS
_MEMORY = 9  # as TensorFlow; zlib's default is 8, and gives other bytes
_MASK = 0xA282EAD8
_UINT32 = 0xFFFFFFFF
_HEADER, _SUM = 12, 4  # bytes of length and its sum, and of the record's sum


class RecordWriter:
    """Writes records into one GZIP file.

    Args:
        file: where to write.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP, _MEMORY)

    def write(self, record: bytes) -> None:
        """Adds a record."""
        length = struct.pack("<Q", len(record))
        framed = b"".join((length, _checksum(length), record, _checksum(record)))
        self._file.write(self._compressor.compress(framed))

    def flush(self) -> None:
        """Writes the end of the compressed file; no record may follow."""
        self._file.write(self._compressor.flush())


@contextmanager
def open_records(path: Path) -> Iterator[RecordWriter]:
    """Opens a new file of records, which is complete after the block."""
    with path.open("wb") as file:
        writer = RecordWriter(file)
        yield writer
        writer.flush()


def in_batches(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yields records in their order, `BATCH_BYTES` at once but at most `BATCH_ROWS`."""
    batch: list[bytes] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record)
        if size >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def new_records(path: str | Path, drafts: str | Path | None = None) -> Iterator[RecordWriter]:
    """Opens a file of records that is there, whole, after the block; see `new_file`."""
    with new_file(path, drafts) as beside, open_records(beside) as writer:
        yield writer


def _checksum(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    rotated = (crc >> 15 | crc << 17) & _UINT32
    return struct.pack("<I", (rotated + _MASK) & _UINT32)


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the records of a GZIP file; sums are not checked, GZIP has one of its own."""
    with gzip.open(path) as file:
        while header := file.read(_HEADER):
            (length,) = struct.unpack_from("<Q", header)
            yield file.read(length)
            file.read(_SUM)

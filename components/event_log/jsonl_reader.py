"""Reading JSON lines."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

from components.event_log.files import LogFile
from components.event_log.problems import SHOWN_PLACES, Place, Problem, describe
from components.event_log.readers import Chunk

BLOCK_BYTES = 16 << 20


@dataclass
class _Faults:
    """Lines that hold no JSON object."""

    places: list[Place] = field(default_factory=list)
    count: int = 0

    def add(self, number: int, found: str) -> None:
        self.count += 1
        if len(self.places) < SHOWN_PLACES:
            self.places.append(Place(row=number, found=found))


def read_jsonl(file: LogFile, columns: Sequence[str]) -> Iterator[Chunk | Problem]:
    """Reads JSON lines as text, one object a line, `null` or no key for a missing value; see `readers.read_chunks`.

    Numbers and booleans become their text, so that lines that differ in type do not matter here.
    """
    faults = _Faults()
    header: list[str] | None = None
    try:
        with _open(file.path) as source:
            for line, block in _blocks(source):
                frame, numbers = _parse(block, line, columns, faults)
                header = _keys(frame, block) if header is None else header
                yield Chunk(frame.select(name for name in columns if name in header), numbers, header, typed=False)
    except (OSError, EOFError, zlib.error) as error:
        yield Problem(subject=file.path, expected="readable JSON lines", found=str(error))
    if faults.count:
        advice = "a JSON object in UTF-8"
        yield Problem(subject=file.path, expected=advice, unit="line", places=tuple(faults.places), count=faults.count)


def _open(path: str) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if path.lower().endswith(".gz") else Path(path).open("rb")


def _blocks(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yields blocks of whole lines with the number of the first."""
    line, rest = 1, b""
    while block := source.read(BLOCK_BYTES):
        block = rest + block
        cut = block.rfind(b"\n") + 1
        rest, block = block[cut:], block[:cut]
        if block:
            yield line, block
            line += block.count(b"\n")
    if rest.strip():
        yield line, rest


def _parse(block: bytes, line: int, columns: Sequence[str], faults: _Faults) -> tuple[pl.DataFrame, Sequence[int]]:
    """Returns a block's rows, all columns as text, and the number of each one's line."""
    schema = dict.fromkeys(columns, pl.String)
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    try:
        frame = pl.read_ndjson(io.BytesIO(block), schema=schema)
        if frame.height == lines:
            return frame, range(line, line + lines)
    except pl.exceptions.PolarsError:
        pass  # some line is no JSON object: find out which
    good = list(_good_lines(block, line, faults))
    text = "\n".join(text for _, text in good)
    frame = pl.read_ndjson(io.BytesIO(text.encode()), schema=schema) if good else pl.DataFrame(schema=schema)
    return frame, [number for number, _ in good]


def _good_lines(block: bytes, line: int, faults: _Faults) -> Iterator[tuple[int, str]]:
    """Yields the lines that hold an object, with their numbers; one by one, for blocks with blank or bad lines."""
    for number, text in enumerate(block.split(b"\n"), start=line):
        if not text.strip():
            continue
        try:
            value = json.loads(text, parse_constant=str)  # Python's writers put NaN and Infinity, which are no JSON
        except UnicodeDecodeError as error:
            faults.add(number, f"{describe(text[max(error.start - 20, 0) : error.end + 20])}, which is not UTF-8")
        except json.JSONDecodeError as error:
            faults.add(number, f"{describe(text.decode())} ({error.msg} at character {error.colno})")
        else:
            if isinstance(value, dict):
                yield number, json.dumps(value)
            else:
                faults.add(number, describe(text.decode()))


def _keys(frame: pl.DataFrame, block: bytes) -> list[str]:
    """Returns the keys of the file's first block: those with a value, and those of its first object."""
    filled = [name for name in frame.columns if frame[name].null_count() < frame.height]
    for text in block.split(b"\n", 1000):
        try:
            first = json.loads(text)
        except ValueError:
            continue
        if isinstance(first, dict):
            return list(dict.fromkeys([*first, *filled]))
    return filled

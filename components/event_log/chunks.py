"""What the readers of all formats share: the chunk they yield, and how text files are opened."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

from components.event_log.problems import Place, Problem, describe
from components.event_log.sources import LogFile


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, as the file has them.

    Attributes:
        frame: the columns that were asked for and are there.
        numbers: what the file calls each row: row numbers of Parquet, line numbers of text, both
            from 1.
        header: all columns of the file.
        typed: whether the file says of which type its columns are; otherwise all of them are text.
        lines: what the lines of a text file are that this chunk covers: `rows`, `header`, `blank`,
            `within quotes`.
    """

    frame: pl.DataFrame
    numbers: Sequence[int]
    header: Sequence[str]
    typed: bool
    lines: Counter[str] = field(default_factory=Counter)


def repeated_column(file: LogFile, header: Sequence[str], columns: Sequence[str]) -> Problem | None:
    """Returns the problem of a file that has a wanted column twice: which one is meant?"""
    names = [name for name in dict.fromkeys(columns) if header.count(name) > 1]
    if not names:
        return None
    places = [number for number, name in enumerate(header, start=1) if name == names[0]]
    found = f"{len(places)} of them, in the places {', '.join(map(str, places))}"
    return Problem(
        subject=file.path, column=names[0], expected="one column of this name", found=found
    )


BLOCK_BYTES = 16 << 20
MAX_RECORD_BYTES = 64 << 20  # what goes on for longer without a line end is a broken file
BOM = b"\xef\xbb\xbf"
READ_ERRORS = (OSError, EOFError, zlib.error)

_UTF16 = "UTF-16 text; save it as UTF-8 (Excel: 'CSV UTF-8', PowerShell: -Encoding utf8)"
_SIGNATURES = {
    b"\xff\xfe": _UTF16, b"\xfe\xff": _UTF16,
    b"\x1f\x8b": "gzip-compressed data; let the file's name end in .gz",
    b"(\xb5/\xfd": "Zstandard-compressed data; decompress it, or compress it with gzip",
    b"BZh": "bzip2-compressed data; decompress it, or compress it with gzip",
    b"\xfd7zXZ": "xz-compressed data; decompress it, or compress it with gzip",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; unpack it, or export it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; export it as CSV",
    b"PAR1": "Parquet; let the file's name end in .parquet",
    b"Obj\x01": "Avro; export it as Parquet, CSV or JSON lines",
    b"ORC": "ORC; export it as Parquet, CSV or JSON lines",
    b"SQLite format 3": "an SQLite database; export its tables as CSV",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with git lfs pull",
    b"<": "a page of HTML or XML; was the download an error page?",
}  # fmt: skip


class TextFault(Exception):
    """A place where a text file is not what its name promises.

    Attributes:
        line: where it is, from 1.
        found: what is there.
    """

    def __init__(self, line: int, found: str) -> None:
        super().__init__(f"line {line}: {found}")
        self.line, self.found = line, found


def open_text(path: str) -> BinaryIO:
    """Opens a text file of a log for reading bytes, decompressed where its name ends in `.gz`."""
    return (
        cast("BinaryIO", gzip.open(path)) if path.lower().endswith(".gz") else Path(path).open("rb")
    )


def read_blocks(source: BinaryIO) -> Iterator[bytes]:
    """Yields the content in blocks of `BLOCK_BYTES`, without a byte order mark.

    Raises:
        OSError, EOFError, zlib.error: see `READ_ERRORS`.
    """
    block = source.read(BLOCK_BYTES).removeprefix(BOM)
    while block:
        yield block
        block = source.read(BLOCK_BYTES)


def foreign_format(block: bytes) -> str | None:
    """Returns what begins with these bytes, if it is one of those often taken for text.

    >>> foreign_format(b"PAR1...")
    "Parquet; let the file's name end in .parquet"
    """
    start = block[:64].lstrip()
    nuls = max(start[::2].count(0), start[1::2].count(0))
    if len(start) > 3 and 3 * nuls >= len(start) and b"\0\0" not in start[:4]:
        return _UTF16  # without a byte order mark
    return next(
        (name for signature, name in _SIGNATURES.items() if start.startswith(signature)), None
    )


def excerpt(data: bytes | memoryview) -> str:
    """Returns the beginning of some bytes as an error message shows it, on one line."""
    return describe(b" ".join(bytes(data[:80]).splitlines()).decode(errors="replace"))


def explain_unreadable(file: LogFile, error: Exception, expected: str) -> Problem:
    """Returns the problem behind one of `READ_ERRORS`."""
    found = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, gzip.BadGzipFile):
        found = f"no gzip-compressed data in a file named .gz, or damaged data ({found})"
    elif isinstance(error, EOFError | zlib.error):
        found = f"compressed data that is damaged or cut off ({found}); write the file again"
    return Problem(subject=file.path, expected=expected, found=found)


def find_not_utf8(text: bytes, line: int) -> Place | None:
    """Returns the first line that is not UTF-8.

    Args:
        text: some lines.
        line: the number of the first.
    """
    for number, content in enumerate(text.splitlines(), start=line):
        try:
            content.decode()
        except UnicodeDecodeError as error:
            return Place(
                row=number, found=describe(content[max(error.start - 20, 0) : error.end + 20])
            )
    return None

"""What the readers of all formats share: the chunk they yield, and how a text file is opened.

How they word what is wrong with a file is in `problems`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import polars as pl

if TYPE_CHECKING:
    from components.event_log.problems import Hint

BLOCK_BYTES = 16 << 20
MAX_RECORD_BYTES = 64 << 20  # a file without a line end for longer than this is broken
FILE_SHIFT = 40  # bits of the column ORDER that count rows; those above count files
_LAST = (1 << FILE_SHIFT) - 1
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
    b"sep=": "the line in which Excel names the separator; delete it, and name the separator in "
    "`data.csv.delimiter` if it is no comma",
    b"<": "a page of HTML or XML; was the download an error page?",
}  # fmt: skip


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file, unchanged.

    Attributes:
        frame: the requested columns that the file has.
        numbers: the number of each row in the file, from 1: rows of Parquet, lines of text, records
            of a JSON array.
        header: all columns of the file.
        typed: whether the file has typed columns; if not, all columns are text.
        unit: what `numbers` count: `row`, `line` or `record`.
        lines: number of lines of a text file in this chunk by kind: `rows`, `header`, `blank`,
            `within quotes`, `left out`.
        hints: what the reader has to say about these rows.
        origin: of a mapped chunk: says where the value of a column, in a row, is from.
        newest_first: whether later rows are earlier events.
    """

    frame: pl.DataFrame
    numbers: Sequence[int]
    header: Sequence[str]
    typed: bool
    unit: str = "line"
    lines: Counter[str] = field(default_factory=Counter)
    hints: Sequence[Hint] = ()
    origin: Callable[[str, int], str] | None = None
    newest_first: bool = False


def orders_of(numbers: pl.Series, file_index: int, *, newest_first: bool) -> pl.Series:
    """Returns the places of a file's rows in the log, which order events of the same time.

    >>> orders_of(pl.Series([1, 2]), 0, newest_first=True).is_sorted(descending=True)
    True

    Args:
        numbers: of the rows, from 1.
        file_index: number of the file in its table.
        newest_first: whether later rows of the file are earlier events.
    """
    places = _LAST - numbers if newest_first else numbers
    return places + (file_index << FILE_SHIFT)


def number_of(order: int) -> int:
    """Returns the number of a row in its file, from its place in the log."""
    place = order & _LAST
    return place if place <= _LAST // 2 else _LAST - place


def may_be_nested(text: pl.Series) -> pl.Series:
    """Returns which values begin as a JSON object or list does; null counts as no."""
    return text.str.contains(r"^[{\[]").fill_null(False)


def is_nested(text: pl.Series) -> pl.Series:
    """Returns which values are a JSON object or list; a GUID in braces is not."""
    candidates = may_be_nested(text)
    if not candidates.any():
        return candidates
    nested = [item for item in text.filter(candidates).unique() if _is_json(item)]
    return candidates & text.is_in(nested)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class TextFault(Exception):
    """A place where a text file is not in the format of its name.

    Attributes:
        line: its line, from 1.
        reason: what is wrong there.
        text: the bytes that show it; empty if the reason is enough. `problems.describe_fault` cuts
            them to what a message shows.
    """

    def __init__(self, line: int, reason: str, text: bytes | memoryview = b"") -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason
        self.text = text


def open_text(path: str) -> BinaryIO:
    """Opens a text file of a log for reading bytes, decompressed if its name ends in `.gz`."""
    if path.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.open(path))
    return Path(path).open("rb")


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
    """Returns which other format begins with these bytes, of those often mistaken for text.

    >>> foreign_format(b"PAR1...")
    "Parquet; let the file's name end in .parquet"
    """
    start = block[:64].lstrip()
    nuls = max(start[::2].count(0), start[1::2].count(0))
    if len(start) > 3 and 3 * nuls >= len(start) and b"\0\0" not in start[:4]:
        return _UTF16  # without a byte order mark
    names = (name for signature, name in _SIGNATURES.items() if start.startswith(signature))
    return next(names, None)

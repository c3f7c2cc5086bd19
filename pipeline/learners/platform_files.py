"""Finds one learner's records in the files of a platform, and rewrites files without them.

The mapping says whose a record is, as for training; but here records count that are left out there.
Lines of others keep their bytes, also within compressed files. An envelope that held some of the
learner's records, and a file that is one JSON document, are written anew without them.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.config.value_sources import Source
from components.contracts.names import LEARNER
from components.errors import MasteryError
from components.event_log.problems import Problem
from components.event_log.readers import read_chunks
from components.event_log.sources import LogFile
from components.files.atomic import new_file

if TYPE_CHECKING:
    from components.config.mapping import EventMapping
    from components.config.value_sources import Sources

LARGEST_DOCUMENT = 256 << 20  # bytes of a JSON document, which has to be read as a whole
_OWNER = "owner"  # a column of events without which no record is left out, unlike the learner's
_DECODER = json.JSONDecoder()
_GAP = re.compile(r"[ \t\r\n,]*")

Owned = Iterator[tuple[int, bool]]  # by record: its number in the file, whether it is the learner's


def count_records(file: LogFile, learner: str, mapping: EventMapping) -> int:
    """Returns how many records of a file are a learner's.

    Raises:
        MasteryError: the file cannot be read to its end.
    """
    return sum(int(owned.sum()) for _, owned, _ in _read(file, learner, _for_owner(mapping)))


def remove_records(file: LogFile, learner: str, mapping: EventMapping) -> None:
    """Rewrites a file without a learner's records, whole or not at all.

    A file that held nothing else is removed: its name may be the learner's.

    Raises:
        MasteryError: the file cannot be read to its end, or is a JSON document too large to be
            rewritten.
    """
    mapping = _for_owner(mapping)
    found = [
        (len(owned), int(owned.sum()), unit) for _, owned, unit in _read(file, learner, mapping)
    ]
    theirs = sum(count for _, count, _ in found)
    if not theirs:
        return
    path = Path(file.path)
    if theirs == sum(rows for rows, _, _ in found):
        path.unlink()
    elif file.format == "parquet":
        _rewrite_parquet(path, _read(file, learner, mapping))
    elif file.format == "json":
        _rewrite_document(file, learner, mapping)
    elif any(unit == "record" for _, _, unit in found):
        _rewrite_envelopes(file, learner, mapping)
    else:
        _rewrite_lines(path, _read(file, learner, mapping))


def _for_owner(mapping: EventMapping) -> EventMapping:
    """Returns a mapping that says of every record whose it is, and nothing else."""

    def owner(columns: dict[str, Sources]) -> dict[str, Sources]:
        return {_OWNER: columns[LEARNER]} if LEARNER in columns else {}

    own = {_OWNER: [Source.model_validate(LEARNER)]}  # of a column that is not mapped
    kinds = {
        name: kind.model_copy(
            update={"columns": owner(kind.columns), "leave_out": {}, "time": None}
        )
        for name, kind in mapping.kinds.items()
    }
    return mapping.model_copy(
        update={"columns": owner(mapping.columns) or own, "leave_out": {}, "kinds": kinds}
    )


def _read(
    file: LogFile, learner: str, mapping: EventMapping
) -> Iterator[tuple[pl.Series, pl.Series, str]]:
    """Yields numbers of records, which of them are the learner's, and what is counted."""
    for chunk in read_chunks(file, [_OWNER], mapping):
        if isinstance(chunk, Problem):
            raise MasteryError(
                f"{chunk}. Whose these records are cannot be said, so nothing in the "
                "file was changed; `mastery check-log` lists all of its problems."
            )
        numbers = pl.Series("number", chunk.numbers, dtype=pl.Int64)
        yield numbers, chunk.frame[_OWNER].eq(learner).fill_null(value=False), chunk.unit


def _records(parts: Iterator[tuple[pl.Series, pl.Series, str]]) -> Owned:
    for numbers, owned, _ in parts:
        yield from zip(numbers, owned, strict=True)


def _rewrite_parquet(path: Path, parts: Iterator[tuple[pl.Series, pl.Series, str]]) -> None:
    """Rewrites a Parquet file without rows, one piece in memory at a time."""
    owned = _records(parts)
    with (
        pq.ParquetFile(path) as source,
        new_file(path) as beside,
        pq.ParquetWriter(beside, source.schema_arrow) as target,
    ):
        for batch in source.iter_batches():
            kept = pa.array([not is_theirs for _, is_theirs in _take(owned, len(batch))])
            target.write_batch(batch.filter(kept))


def _take(owned: Owned, count: int) -> Iterator[tuple[int, bool]]:
    for _ in range(count):
        yield next(owned)


def _rewrite_lines(path: Path, parts: Iterator[tuple[pl.Series, pl.Series, str]]) -> None:
    """Rewrites a text file without records; a record ends where the next one begins."""
    owned = _records(parts)
    start, is_theirs = next(owned)
    dropping = False
    with _text(path) as source, _new_text(path) as target:
        for number, line in enumerate(source, start=1):
            if number == start:
                dropping = is_theirs
                start, is_theirs = next(owned, (0, False))
            if not dropping:
                target.write(line)


def _rewrite_envelopes(file: LogFile, learner: str, mapping: EventMapping) -> None:
    """Rewrites JSON lines of which some are envelopes."""
    path = Path(file.path)

    def envelopes() -> Iterator[_Envelope]:
        with _text(path) as source:
            yield from (_Envelope.of_line(line, mapping.records) for line in source if line.strip())

    with _whose(file, envelopes, learner, mapping) as owned, _new_text(path) as target:
        for envelope in envelopes():
            kept = envelope.without(owned)
            if kept is not None:
                target.write(kept)


def _rewrite_document(file: LogFile, learner: str, mapping: EventMapping) -> None:
    """Rewrites a file of JSON: an array, or objects one after the other; some may be envelopes."""
    path = Path(file.path)
    with _text(path) as source:
        text = source.read(LARGEST_DOCUMENT + 1)
    if len(text) > LARGEST_DOCUMENT:
        raise MasteryError(
            f"{path}: records of this learner are in a JSON document of more than "
            f"{LARGEST_DOCUMENT >> 20} MiB, which cannot be rewritten; nothing was changed. Turn "
            "it into JSON lines with jq -c '.[]' first, and remove it."
        )
    text = text.encode("latin-1").decode("utf-8-sig").strip()
    is_array = text.startswith("[")
    items = json.loads(text) if is_array else [*_objects(text)]
    envelopes = [_Envelope.of_value(item, mapping.records) for item in items]
    with _whose(file, lambda: iter(envelopes), learner, mapping) as owned:
        kept = [line.strip() for item in envelopes if (line := item.without(owned)) is not None]
    joined = ",\n".join(kept) if is_array else "\n".join(kept)
    with _new_text(path) as target:
        target.write(f"[{joined}]\n" if is_array else f"{joined}\n")


def _objects(text: str) -> Iterator[Any]:
    place = 0
    while place < len(text):
        value, end = _DECODER.raw_decode(text, place)
        yield value
        gap = _GAP.match(text, end)
        place = gap.end() if gap else end


@dataclass
class _Envelope:
    """A line or item: a record, or an envelope with a list of them.

    Attributes:
        text: as it is in the file, or how it would be written, with a line end.
        value: of an envelope, the object.
        key: of the list.
    """

    text: str
    value: dict[str, Any] = field(default_factory=dict)
    key: str = ""

    @classmethod
    def of_line(cls, line: str, key: str | None) -> _Envelope:
        """Returns a line of a file."""
        if key and f'"{key}"' in line:
            try:
                return replace(cls.of_value(json.loads(line.encode("latin-1")), key), text=line)
            except ValueError:
                pass  # reading has said what is wrong with it, or it has another start
        return cls(line)

    @classmethod
    def of_value(cls, value: Any, key: str | None) -> _Envelope:
        """Returns an item of a document."""
        text = f"{json.dumps(value)}\n"
        if key and isinstance(value, dict) and isinstance(value.get(key), list):
            return cls(text, value, key)
        return cls(text)

    @property
    def records(self) -> Iterator[str]:
        """The records, each on a line."""
        if not self.key:
            yield self.text
        for item in self.value.get(self.key, []):
            yield f"{json.dumps(item)}\n"

    def without(self, owned: Owned) -> str | None:
        """Returns the text without the learner's records; None if none is left."""
        theirs = [is_theirs for _, is_theirs in _take(owned, sum(1 for _ in self.records))]
        if not any(theirs):
            return self.text
        if all(theirs):
            return None
        items = zip(self.value[self.key], theirs, strict=True)
        kept = [item for item, is_theirs in items if not is_theirs]
        return f"{json.dumps({**self.value, self.key: kept})}\n"


@contextmanager
def _whose(
    file: LogFile,
    envelopes: Callable[[], Iterator[_Envelope]],
    learner: str,
    mapping: EventMapping,
) -> Iterator[Owned]:
    """Yields of each record whether it is the learner's, as the mapping says."""
    if any(source.file for sources in mapping.columns.values() for source in sources):
        raise MasteryError(
            f"{file.path}: the mapping finds learners in the names of files, so a file of "
            "envelopes cannot be rewritten; nothing was changed."
        )
    with TemporaryDirectory(prefix="mastery-learner-") as folder:
        lines = Path(folder, "records.jsonl")
        with lines.open("w", encoding="latin-1", newline="") as target:
            for envelope in envelopes():
                target.writelines(f"{record.rstrip()}\n" for record in envelope.records)
        on_lines = mapping.model_copy(update={"records": None})
        yield _records(_read(LogFile(str(lines), "jsonl", 0), learner, on_lines))


# As Latin-1 every byte is a character: text is divided into lines, and what is kept stays as it is.


def _text(path: Path) -> IO[str]:
    opened: Callable[..., IO[str]] = gzip.open if _is_gzip(path) else open
    return opened(path, "rt", encoding="latin-1", newline="")


@contextmanager
def _new_text(path: Path) -> Iterator[IO[str]]:
    opened: Callable[..., IO[str]] = gzip.open if _is_gzip(path) else open
    with new_file(path) as beside, opened(beside, "wt", encoding="latin-1", newline="") as target:
        yield target


def _is_gzip(path: Path) -> bool:
    return path.name.lower().endswith(".gz")

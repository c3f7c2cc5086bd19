"""Divides a log of any size into parts of learners, by way of files in a scratch folder.

While the log is read, its rows are appended to *runs*: Arrow files with one batch per part. Then a
part is the batch of its number in every run, and one part at a time is in memory.

Learners are divided into shards, and each shard into ranges of the hash that outcomes are sorted
by. So the ranges of a shard, one after the other, are the shard in its order: how many ranges there
are changes memory, and no result.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.contracts.names import LEARNER
from components.event_log.derived_outcomes import join_part
from components.event_log.learners import number_parts
from components.event_log.timescales import common_clock

if TYPE_CHECKING:
    from components.event_log.log_spec import LogSpec
    from components.event_log.point_in_time import Part
    from components.event_log.sources import LogFile
    from components.event_log.tally import Tally

VALUES_PER_PART = 5_000_000  # cells of a table; about 300 MB while a part is joined
VALUES_PER_RUN = 5_000_000  # cells that are collected before they are written
PARTS_PER_RUN = 1000  # of a run of that size; with more parts runs are larger, for fewer batches
MOST_TIMES = 8  # how many times larger
BYTES_PER_ROW = 50  # of text, rather too few: too many parts cost less than parts too large
GZIP_RATIO = 8  # bytes of text per compressed byte
GROUP_BYTES = 64 << 20  # of small files that one task reads into the same runs

_SUFFIX = ".arrow"
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True)
class Parts:
    """How learners are divided.

    Attributes:
        seed: put before each id that is hashed.
        shards: number of shards.
        ranges: number of ranges of each shard; part `shard * ranges + range` is one of them.
    """

    seed: str
    shards: int
    ranges: int

    def of_shard(self, shard: int) -> range:
        """Returns the numbers of a shard's parts, in the order of its outcomes."""
        return range(shard * self.ranges, (shard + 1) * self.ranges)

    @property
    def count(self) -> int:
        """Number of all parts."""
        return self.shards * self.ranges


def divide(files: Iterable[LogFile], columns: int, seed: str, shards: int) -> Parts:
    """Returns parts of which each fits into memory, with its rows joined.

    Args:
        files: of both tables.
        columns: how many are read of a table.
        seed: put before each id that is hashed.
        shards: number of shards.
    """
    values = columns * sum(map(estimate_rows, files))
    return Parts(seed, shards, max(1, round(values / (shards * VALUES_PER_PART))))


def estimate_rows(file: LogFile) -> int:
    """Returns about how many rows a file has; 0 if it cannot be read, which reading it explains."""
    try:
        if file.format == "parquet":
            return int(pq.read_metadata(file.path).num_rows)
        ratio = GZIP_RATIO if file.path.lower().endswith(".gz") else 1
        return Path(file.path).stat().st_size * ratio // BYTES_PER_ROW
    except (OSError, pa.ArrowException):
        return 0


@dataclass(frozen=True)
class FileGroup:
    """Files of a table that one worker reads.

    Attributes:
        table: `events` or `outcomes`.
        files: in their order.
    """

    table: str
    files: tuple[LogFile, ...]


def group_files(table: str, files: Sequence[LogFile]) -> list[FileGroup]:
    """Returns the files in groups, so that a thousand small files do not become as many runs."""
    groups: list[list[LogFile]] = []
    room = 0
    for file in files:
        size = Path(file.path).stat().st_size
        if not groups or size > room:
            groups.append([])
            room = GROUP_BYTES
        groups[-1].append(file)
        room -= size
    return [FileGroup(table, tuple(group)) for group in groups]


class RunWriter:
    """Appends rows of a table to runs in a folder."""

    def __init__(self, folder: Path, name: str, parts: Parts) -> None:
        """Opens nothing yet.

        Args:
            folder: of all runs.
            name: of these runs: no other writer has it, and the same rows get it at a second try.
            parts: how learners are divided.
        """
        self._folder = folder
        self._name = name
        self._parts = parts
        self._most = VALUES_PER_RUN * min(max(1, parts.count // PARTS_PER_RUN), MOST_TIMES)
        self._waiting: list[pl.DataFrame] = []
        self._runs = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Appends rows; those of one run have the same columns, so others begin the next one."""
        if self._waiting and self._waiting[0].schema != rows.schema:
            self.flush()
        self._waiting.append(rows)
        if sum(frame.height * frame.width for frame in self._waiting) >= self._most:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that wait; call it at the end."""
        if not self._waiting:
            return
        rows = pl.concat(self._waiting)
        self._waiting.clear()
        path = self._folder / f"{self._name}-{self._runs:05d}{_SUFFIX}"
        _write_run(path, rows, self._parts)
        self._runs += 1


def _write_run(path: Path, rows: pl.DataFrame, parts: Parts) -> None:
    """Writes one batch per part, each in the order of `rows`; a reader sees all of it or nothing.

    A runner that loses a worker has the same rows written again, maybe by two workers at once.
    """
    learners = number_parts(rows[LEARNER], parts.seed, parts.shards, parts.ranges)
    numbers = learners.shrink_dtype().to_numpy()  # NumPy sorts short integers fastest
    order = np.argsort(numbers, kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(parts.count + 1))
    table = rows[order].to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()

    handle, beside = tempfile.mkstemp(dir=path.parent)
    with (
        os.fdopen(handle, "wb") as file,
        pa.ipc.new_file(file, table.schema, options=_OPTIONS) as run,
    ):
        [batch] = table.to_batches()
        for start, stop in pairwise(bounds.tolist()):
            run.write_batch(batch.slice(start, stop - start))
    Path(beside).replace(path)


def join_parts(
    folder: Path,
    numbers: Iterable[int],
    spec: LogSpec,
    read: Tally,
    files: Sequence[LogFile],
    prefix: str = "",
) -> Iterator[Part]:
    """Yields parts with the events of every outcome found, one at a time in memory.

    There are none if the times of the log are of several kinds, or it has no outcomes.

    Args:
        folder: of all runs.
        numbers: of the parts, in order.
        spec: how the log is read.
        read: the counts of reading all of it.
        files: the files of outcomes, for messages.
        prefix: of the names of the runs, before `events` and `outcomes`.
    """
    table = "outcomes" if spec.derived is None else "events"
    if common_clock(read.clocks) is None or not read.count_rows(table):
        return
    for number in numbers:
        events = read_part(folder, f"{prefix}events", number)
        outcomes = read_part(folder, f"{prefix}outcomes", number)
        yield join_part(events, outcomes, spec, read, files)


def read_part(folder: Path, table: str, number: int) -> list[pl.DataFrame]:
    """Returns the rows of a part: one table per run, maybe without rows, in the order of the runs.

    Args:
        folder: of all runs.
        table: whose rows; runs of others have names that begin otherwise.
        number: of the part.
    """
    chunks = []
    for path in sorted(folder.glob(f"{table}-*{_SUFFIX}")):
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as run:
            batch = run.get_batch(number)
            chunks.append(pl.DataFrame(pl.from_arrow(batch)))
    return chunks

"""The Beam transforms of ExampleGen: read, shuffle by learner, join, encode and write, by column.

Problems of a log travel as data beside the rows: an exception in a worker would reach the executor
wrapped in the runner's own, and only the first of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import apache_beam as beam
import polars as pl
import tensorflow as tf

from components.contracts.names import SPLIT
from components.event_log.conclusion import judge_reading
from components.event_log.learners import choose_sample, partition, smallest_hashes
from components.event_log.point_in_time import cross_check
from components.event_log.tables import events_table, outcomes_table, read_hashes, read_table
from components.event_log.tally import merge_tallies
from components.event_log.timescales import common_clock
from components.example_gen.encoding import encode, feature_columns, join_batches
from components.files.atomic import new_file

if TYPE_CHECKING:
    from components.event_log.learners import Sample
    from components.event_log.log_spec import LogSpec
    from components.event_log.point_in_time import Part
    from components.event_log.sources import LogFile
    from components.event_log.tally import Tally

Rows = tuple[str, bytes]  # a table's name, some of its rows as Arrow IPC

# Half the time of level 6, files a fifth larger.
OPTIONS = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=3)


class Tallies(NamedTuple):
    """The counts of reading all files, and of joining all partitions."""

    read: beam.PCollection
    joined: beam.PCollection


class ExamplesFromLog(beam.PTransform):  # type: ignore[misc]
    """Reads a log, writes its examples, one shard per split and partition, and counts."""

    def __init__(
        self, files: dict[str, list[LogFile]], spec: LogSpec, folders: dict[str, str]
    ) -> None:
        """Binds the transform.

        Args:
            files: the files of `events` and `outcomes`.
            spec: how the log is read.
            folders: the folder of each split.
        """
        super().__init__()
        self._files = files
        self._spec = spec
        self._folders = folders

    def expand(self, pipeline: beam.Pipeline) -> Tallies:
        """Returns the counts, two collections of one element; examples go to files."""
        files = [(table, file) for table, group in self._files.items() for file in group]
        reader = beam.ParDo(_ReadFile(self._spec), self._sample(pipeline))
        read = (
            pipeline
            | "Files" >> beam.Create(files, reshuffle=True)
            | "Read" >> reader.with_outputs("tallies", main="rows")
        )
        read_tally = read.tallies | "SumRead" >> beam.CombineGlobally(merge_tallies)

        # A partition without rows still writes its shards, so that their names are complete.
        empty = [(number, ("", b"")) for number in range(self._spec.partitions)]
        every = pipeline | "Partitions" >> beam.Create(empty)
        join = _JoinPartition(self._spec, self._files["outcomes"], self._folders)
        joined_tally = (
            (read.rows, every)
            | "Rows" >> beam.Flatten()
            | "ByPartition" >> beam.GroupByKey()
            | "Join" >> beam.ParDo(join, beam.pvalue.AsSingleton(read_tally))
            | "SumJoined" >> beam.CombineGlobally(merge_tallies)
        )
        return Tallies(read_tally, joined_tally)

    def _sample(self, pipeline: beam.Pipeline) -> beam.pvalue.AsSingleton | None:
        """Chooses the learners in a pass of its own, so that rows of others are never shuffled.

        Returns None for all learners.
        """
        learners = self._spec.sample_learners
        seed = self._spec.splits.seed
        if learners is None:
            return None
        return beam.pvalue.AsSingleton(
            pipeline
            | "Outcomes" >> beam.Create(self._files["outcomes"], reshuffle=True)
            | "HashLearners" >> beam.FlatMap(read_hashes, outcomes_table(self._spec), seed)
            | "SmallestHashes" >> beam.CombineGlobally(smallest_hashes, learners)
            | "ChooseSample" >> beam.Map(choose_sample, learners, seed)
        )


class _ReadFile(beam.DoFn):  # type: ignore[misc]
    """Yields a file's rows by partition, and its counts beside them."""

    def __init__(self, spec: LogSpec) -> None:
        self._spec = spec

    def process(
        self, element: tuple[str, LogFile], sample: Sample | None
    ) -> Iterator[tuple[int, Rows] | beam.pvalue.TaggedOutput]:
        name, file = element
        spec = self._spec
        table = events_table(spec) if name == "events" else outcomes_table(spec)
        for frame, tally in read_table(file, table, sample):
            yield beam.pvalue.TaggedOutput("tallies", tally)
            if frame is None:
                continue
            parts = partition(frame, spec.splits.seed, spec.partitions)
            for number, rows in parts.items():
                yield number, (name, _to_ipc(rows))


class _JoinPartition(beam.DoFn):  # type: ignore[misc]
    """Writes the examples of a partition, unless reading has found problems of the log."""

    def __init__(self, spec: LogSpec, files: list[LogFile], folders: dict[str, str]) -> None:
        self._spec = spec
        self._files = files
        self._folders = folders

    def process(self, element: tuple[int, Iterable[Rows]], read: Tally) -> Iterator[Tally]:
        number, rows = element
        chunks: dict[str, list[pl.DataFrame]] = {"events": [], "outcomes": []}
        for table, ipc in rows:
            if table:
                chunks[table].append(_from_ipc(ipc))

        part = None
        if chunks["outcomes"] and common_clock(read.clocks) is not None:
            part = cross_check(chunks["events"], chunks["outcomes"], self._spec, read, self._files)
            yield part.tally
        if not judge_reading(read):
            write_shards(part, self._spec, self._folders, number)


def write_shards(part: Part | None, spec: LogSpec, folders: dict[str, str], number: int) -> None:
    """Writes the examples of a partition, one compressed TFRecord file per split.

    They are named `data_tfrecord-<number>-of-<partitions>.gz`. The same log gives the same bytes.

    Args:
        part: the log's rows in the partition; None writes empty shards.
        spec: how the log is joined.
        folders: the folder of each split.
        number: of the partition.
    """
    name = f"data_tfrecord-{number:05d}-of-{spec.partitions:05d}.gz"
    with ExitStack() as stack:
        writers = {split: _open(stack, Path(folder, name)) for split, folder in folders.items()}
        if part is None:
            return
        columns = feature_columns(spec)
        for batch in join_batches(part.windows, part.outcomes, list(spec.features)):
            for split, example in zip(batch[SPLIT], encode(batch, columns), strict=True):
                writers[split].write(example)


def _open(stack: ExitStack, path: Path) -> tf.io.TFRecordWriter:
    beside = stack.enter_context(new_file(path))
    return stack.enter_context(tf.io.TFRecordWriter(str(beside), OPTIONS))


def _to_ipc(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def _from_ipc(content: bytes) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(content))

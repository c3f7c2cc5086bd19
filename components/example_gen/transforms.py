"""Beam."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import polars as pl
import tensorflow as tf

from components.contracts.names import SPLIT
from components.event_log.learners import (
    Sample,
    choose_sample,
    partition,
    read_hashes,
    smallest_hashes,
)
from components.event_log.log import judge_reading
from components.event_log.point_in_time import Part, cross_check
from components.event_log.sources import LogFile
from components.event_log.tables import LogSpec, events_table, outcomes_table, read_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock
from components.example_gen.examples import encode, feature_columns, join_batches
from components.files.atomic import new_file

Rows = tuple[str, bytes]  # a table's name, some of its rows as Arrow IPC


class Tallies(NamedTuple):
    """What was counted: in reading all files, and in joining all partitions."""

    read: beam.PCollection
    joined: beam.PCollection


class ExamplesFromLog(beam.PTransform):  # type: ignore[misc]
    """Reads a log and writes its examples, a shard per split and partition, and what was counted on the way."""

    def __init__(
        self, files: dict[str, list[LogFile]], spec: LogSpec, folders: dict[str, str]
    ) -> None:
        """Binds the transform.

        Args:
            files: the files of `events` and `outcomes`.
            spec: how the log is read.
            folders: where each split goes.
        """
        super().__init__()
        self._files, self._spec, self._folders = files, spec, folders

    def expand(self, pipeline: beam.Pipeline) -> Tallies:
        """Returns what was counted, two collections of one element; examples go to files."""
        files = [(table, file) for table, of_table in self._files.items() for file in of_table]
        read = (
            pipeline
            | "Files" >> beam.Create(files, reshuffle=True)
            | "Read"
            >> beam.ParDo(_ReadFile(self._spec), self._sample(pipeline)).with_outputs(
                "tallies", main="rows"
            )
        )
        read_tally = read.tallies | "SumRead" >> beam.CombineGlobally(merge_tallies)
        # A partition without rows still writes its shards, so that their names are complete.
        every = pipeline | "Partitions" >> beam.Create(
            [(number, ("", b"")) for number in range(self._spec.partitions)]
        )
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
        """Chooses the learners, if not all of them, in a pass of its own: what they have not never gets shuffled."""
        learners, seed = self._spec.sample_learners, self._spec.splits.seed
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
    """Yields a file's rows by partition, and beside them what was counted."""

    def __init__(self, spec: LogSpec) -> None:
        self._spec = spec

    def process(
        self, element: tuple[str, LogFile], sample: Sample | None
    ) -> Iterator[tuple[int, Rows] | beam.pvalue.TaggedOutput]:
        name, file = element
        table = events_table(self._spec) if name == "events" else outcomes_table(self._spec)
        for frame, tally in read_table(file, table, sample):
            yield beam.pvalue.TaggedOutput("tallies", tally)
            if frame is not None:
                for number, rows in partition(
                    frame, self._spec.splits.seed, self._spec.partitions
                ).items():
                    yield number, (name, _to_ipc(rows))


class _JoinPartition(beam.DoFn):  # type: ignore[misc]
    """Writes the examples of a partition, unless reading has already found the log unusable."""

    def __init__(self, spec: LogSpec, files: list[LogFile], folders: dict[str, str]) -> None:
        self._spec, self._files, self._folders = spec, files, folders

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


def _to_ipc(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def _from_ipc(content: bytes) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(content))


OPTIONS = tf.io.TFRecordOptions(
    compression_type="GZIP", compression_level=3
)  # half of level 6's time, a fifth larger


def write_shards(part: Part | None, spec: LogSpec, folders: dict[str, str], number: int) -> None:
    """Writes `data_tfrecord-<number>-of-<partitions>.gz` into the folder of each split; same log, same bytes.

    Args:
        part: the log's rows in the partition, None for none: its shards are empty.
        spec: how the log is joined.
        folders: where each split goes.
        number: the partition's.
    """
    name = f"data_tfrecord-{number:05d}-of-{spec.partitions:05d}.gz"
    with ExitStack() as stack:
        writers = {split: _open(stack, Path(folder, name)) for split, folder in folders.items()}
        if part is None:
            return
        for batch in join_batches(part.windows, part.outcomes, list(spec.features)):
            for split, example in zip(
                batch[SPLIT], encode(batch, feature_columns(spec)), strict=True
            ):
                writers[split].write(example)


def _open(stack: ExitStack, path: Path) -> tf.io.TFRecordWriter:
    beside = stack.enter_context(new_file(path))
    return stack.enter_context(tf.io.TFRecordWriter(str(beside), OPTIONS))

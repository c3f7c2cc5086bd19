"""The log's way through Beam: read, shuffle by learner, join, encode, write; all of it columnar.

What is wrong with a log travels beside the rows, as data: an exception in a worker would reach the executor wrapped
in the runner's own, and only the first of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import polars as pl

from components.event_log.crosscheck import cross_check
from components.event_log.files import LogFile
from components.event_log.learners import partition
from components.event_log.read import read_table
from components.event_log.sample import Sample, choose_sample, read_hashes, smallest_hashes
from components.event_log.spec import LogSpec
from components.event_log.tables import events_table, outcomes_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock
from components.event_log.verdict import judge_reading
from components.example_gen.shards import write_shards

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

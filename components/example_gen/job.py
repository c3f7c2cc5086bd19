"""The work of ExampleGen in tasks that depend on nothing but files: read some files, join a shard.

The tasks run in this process, in one thread or several (`components.example_gen.workers`), or on
the workers of Beam's runner (`components.example_gen.transforms`). What they hand to each other are
small counts; rows go by way of a scratch folder below the examples, which all workers reach, since
they write the examples beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.names import OLDER, SPLIT
from components.event_log.conclusion import judge_reading
from components.event_log.learners import choose_sample, smallest_hashes
from components.event_log.replay import (
    join_replayed,
    older_counts,
    replayed_learners,
    with_types_of_older,
)
from components.event_log.shuffle import (
    FileGroup,
    Parts,
    RunWriter,
    divide,
    group_files,
    join_parts,
)
from components.event_log.tables import (
    events_table,
    outcomes_table,
    read_hashes,
    read_table,
    table_of_learners,
)
from components.event_log.tally import Tally, merge_tallies
from components.example_gen.encoding import encode, feature_columns, join_batches
from components.example_gen.sharing import examples_of
from components.files.records import RecordWriter, new_records

if TYPE_CHECKING:
    from components.event_log.learners import Hashes, Sample
    from components.event_log.log_spec import LogSpec
    from components.event_log.point_in_time import Part
    from components.event_log.sources import LogFile

Writers = dict[str, RecordWriter]  # by split


@dataclass(frozen=True)
class Job:
    """What to read and where to write; travels to the workers.

    Attributes:
        files: the files of `events` and `outcomes`; of `replayed_events` and `replayed_outcomes`
            too, where learners of older spans are replayed.
        spec: how the log is read.
        folders: the folder of each split.
        scratch: a folder for rows on their way, empty at the beginning.
        parts: how the learners are divided.
    """

    files: dict[str, list[LogFile]]
    spec: LogSpec
    folders: dict[str, str]
    scratch: str
    parts: Parts

    @classmethod
    def of(
        cls, files: dict[str, list[LogFile]], spec: LogSpec, folders: dict[str, str], scratch: str
    ) -> Job:
        """Returns the job of a log.

        Args:
            files: see `Job`, as the others.
            spec: its `partitions` are the shards that are written.
            folders: of the splits.
            scratch: exists.
        """
        every = [file for group in files.values() for file in group]
        columns = len(events_table(spec).kinds)
        parts = divide(every, columns, spec.splits.seed, spec.partitions)
        return cls(files, spec, folders, scratch, parts)

    @property
    def reading(self) -> list[tuple[int, FileGroup]]:
        """The numbered groups of all files, each a task of reading."""
        return self.groups(*self.files)

    def groups(self, *tables: str) -> list[tuple[int, FileGroup]]:
        """Returns the numbered groups of files of some tables, each a task."""
        groups = [group for table in tables for group in group_files(table, self.files[table])]
        return list(enumerate(groups))

    @property
    def asking(self) -> str:
        """The table whose learners are asked about."""
        return table_of_learners(self.spec).name

    def hash_learners(self, task: tuple[int, FileGroup]) -> Hashes:
        """Returns the smallest hashes of learners in a group of files of `asking`."""
        assert self.spec.sample_learners is not None, "only a sample needs hashes"
        table = table_of_learners(self.spec)
        seed = self.spec.splits.seed
        parts = (part for file in task[1].files for part in read_hashes(file, table, seed))
        return smallest_hashes(parts, self.spec.sample_learners)

    def choose_sample(self, hashes: Hashes) -> Sample:
        """Returns the sample, from the smallest hashes of all files of `asking`."""
        assert self.spec.sample_learners is not None, "only a sample is chosen"
        return choose_sample(hashes, self.spec.sample_learners, self.spec.splits.seed)

    def read(self, task: tuple[int, FileGroup], sample: Sample | None) -> Tally:
        """Reads a group of files into runs, and returns its counts.

        Of older spans only the learners are kept that are replayed, and the counts are `older`.
        """
        number, group = task
        is_older = group.table.startswith(OLDER)
        name = group.table.removeprefix(OLDER)
        table = (events_table if name == "events" else outcomes_table)(self.spec)
        drawn = replayed_learners(self.spec) if is_older else None
        writer = RunWriter(Path(self.scratch), f"{group.table}-{number:05d}", self.parts)
        tallies = []
        for file in group.files:
            for frame, tally in read_table(file, table, sample, drawn):
                tallies.append(tally)
                if frame is not None:
                    writer.add(frame)
        writer.flush()
        total = merge_tallies(tallies)
        return Tally(older=total) if is_older else total

    def join(self, shard: int, read: Tally) -> Tally:
        """Writes the examples of a shard, unless reading has found problems; returns its counts.

        Args:
            shard: its number.
            read: the counts of reading the whole log.
        """
        parts = self._parts(shard, read)
        if judge_reading(read, self.spec):
            return merge_tallies(part.tally for part in parts)
        with self._open_shard(shard) as writers:
            return merge_tallies(_write_part(part, self.spec, writers) for part in parts)

    def _parts(self, shard: int, read: Tally) -> Iterator[Part]:
        """Yields the parts of a shard; after each, what is replayed of the same learners."""
        files = self.files["outcomes"]
        older, newest = older_counts(read, self.spec), with_types_of_older(read)
        for number in self.parts.of_shard(shard):
            yield from join_parts(Path(self.scratch), [number], self.spec, newest, files)
            if older is not None:
                yield from join_replayed(
                    Path(self.scratch), number, self.spec, older, self.files[f"{OLDER}outcomes"]
                )

    @contextmanager
    def _open_shard(self, shard: int) -> Iterator[Writers]:
        """Opens one compressed TFRecord file per split; the same log gives the same bytes.

        They are named `data_tfrecord-<shard>-of-<partitions>.gz`, and are there at the end, or not
        at all: a runner may give up a worker, which goes on, and have the shard written again.
        """
        name = f"data_tfrecord-{shard:05d}-of-{self.spec.partitions:05d}.gz"
        with ExitStack() as stack:
            yield {
                split: stack.enter_context(new_records(Path(folder, name), self.scratch))
                for split, folder in self.folders.items()
            }


def _write_part(part: Part, spec: LogSpec, writers: Writers) -> Tally:
    columns = feature_columns(spec)
    for windows, rows in examples_of(part, spec):
        for batch in join_batches(windows, rows, list(spec.features)):
            for split, example in zip(batch[SPLIT], encode(batch, columns), strict=True):
                writers[split].write(example)
    return part.tally

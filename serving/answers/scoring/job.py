"""From files to questions: what one worker does with some files, and with one partition."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from components.contracts.names import AS_OF, LEARNER, ORDER, TIME, UNIT
from components.errors import MasteryError
from components.event_log.clocks import TIMESTAMP, Clock, to_clock
from components.event_log.log import read_files
from components.event_log.point_in_time import find_windows, with_gaps
from components.event_log.problems import raise_if_any
from components.event_log.readers import read_chunks
from components.event_log.shuffle import FileGroup, Parts, RunWriter, divide, group_files, read_part
from components.event_log.sources import Listing
from components.event_log.tables import events_table, outcomes_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock, judge_clock
from components.example_gen.encoding import encode, join_batches
from components.files.atomic import new_file, write_text
from serving.answers.scoring.activity import component_sums, daily_activity, with_activity

if TYPE_CHECKING:
    from components.event_log.column_kinds import Table
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import LogFile
    from serving.answers.scoring.moments import Moment

QUESTIONS_AT_ONCE = 500_000  # of a partition: more moments are asked about one after the other
STEPS_AT_ONCE = 250_000  # of a batch: some ten thousand questions

PAIRS, ACTIVITY, COMPONENTS, COUNTS = "pairs", "activity", "components", "counts"
LEARNERS = "learners"  # the table of their columns


@dataclass(frozen=True)
class Batch:
    """Questions on their way to the model.

    Attributes:
        keys: `learner_id`, `unit_id`, `as_of`.
        examples: a serialized `tf.Example` per question.
        asked: the same as columns, for the words of reasons; None where there are none.
    """

    keys: pl.DataFrame
    examples: list[bytes]
    asked: pl.DataFrame | None = None


@dataclass(frozen=True)
class Job:
    """What to read and what to ask; travels to the workers.

    Attributes:
        spec: how the log is read.
        inputs: the columns of an example, in order.
        files: of events, and of the table of learners.
        activity: columns of events that the model does not need to read; see `ActivityColumns`.
        moments: that answers are wanted for, in order.
        scratch: a folder for rows on their way, empty at the beginning; all workers reach it.
        parts: how the learners are divided.
        for_reasons: whether batches hold what reasons are worded from.
    """

    spec: LogSpec
    inputs: tuple[str, ...]
    files: dict[str, list[LogFile]]
    activity: dict[str, str]
    moments: tuple[Moment, ...]
    scratch: str
    parts: Parts
    for_reasons: bool = False

    @classmethod
    def of(
        cls,
        spec: LogSpec,
        inputs: Sequence[str],
        files: dict[str, list[LogFile]],
        activity: dict[str, str],
        moments: Sequence[Moment],
        scratch: str,
        *,
        for_reasons: bool = False,
    ) -> Job:
        """Returns the job of a log; see `Job`."""
        columns = len(events_table(spec).kinds) + len(activity)
        every = [file for group in files.values() for file in group]
        parts = divide(every, columns, spec.splits.seed, spec.partitions)
        return cls(
            spec, tuple(inputs), files, activity, tuple(moments), scratch, parts, for_reasons
        )

    # Reading

    def groups(self) -> list[tuple[int, FileGroup]]:
        """Returns the numbered groups of files, each a task of reading."""
        groups = [
            group for table, files in self.files.items() for group in group_files(table, files)
        ]
        return list(enumerate(groups))

    def read(self, task: tuple[int, FileGroup]) -> Tally:
        """Reads a group of files into runs, and returns its counts."""
        number, group = task
        table = self._table(group)
        runs = RunWriter(Path(self.scratch), f"{group.table}-{number:05d}", self.parts)
        return merge_tallies(read_files(table, Listing([*group.files]), runs=runs).tallies)

    def _table(self, group: FileGroup) -> Table:
        if group.table == LEARNERS:
            return learners_table(self.spec, group.files[0])
        return with_activity(events_table(self.spec), self.activity)

    def check(self, read: Tally) -> None:
        """Refuses a log that cannot be scored.

        Raises:
            LogError: lists all of its problems.
            MasteryError: its times are no timestamps.
        """
        raise_if_any([*read.problems, *judge_clock(read.clocks)])
        for table in self.files:
            if not read.count_rows(table):
                raise MasteryError(f"--{table}: expected at least one row, found none.")
        if common_clock(read.clocks) is not Clock.TIMESTAMP:
            raise MasteryError(
                f"--events: expected timestamps in {self.spec.columns.time}, found plain numbers. "
                "Answers are kept by date: write the times as ISO 8601, or use `mastery predict`."
            )

    # Joining

    def ask(self, part: int) -> Iterator[Batch]:
        """Yields the questions about a partition's learners; leaves what they did in `scratch`.

        A runner that loses a worker has a part asked about again, maybe by two workers at once:
        they leave the same files.
        """
        events = self._events(part)
        learners = set(events[LEARNER].unique())
        new = [self._new_learners(events, moment) for moment in self.moments]
        scored = pl.concat(new).unique() if new else pl.Series(LEARNER, [], pl.String)
        events = events.filter(pl.col(LEARNER).is_in(scored.implode()))
        counts = Counter(learners=len(scored), skipped=len(learners) - len(scored))

        self._write_activity(part, events)
        context = self._context(part)
        pairs = events.group_by(LEARNER, UNIT).agg(pl.col(TIME).min().alias("first"))
        step = max(1, QUESTIONS_AT_ONCE // max(1, pairs.height))
        unknown: set[str] = set()
        for start in range(0, len(self.moments), step):
            some = range(start, min(start + step, len(self.moments)))
            asked = pl.concat(
                _questions(pairs.filter(pl.col(LEARNER).is_in(new[place].implode())),
                           self.moments[place])
                for place in some
            ).sort(LEARNER, UNIT, AS_OF)  # fmt: skip
            asked = self._with_context(asked, context, unknown)
            yield from self._batches(events, asked)
        counts["unknown"] = len(unknown)
        write_text(self._path(COUNTS, part), json.dumps(counts), self.scratch)

    def _events(self, part: int) -> pl.DataFrame:
        """Returns the events of a partition, without those of learners who are left out."""
        chunks = read_part(Path(self.scratch), "events", part)
        zone = self.spec.timezone
        return pl.concat(
            chunk.with_columns(to_clock(chunk[TIME], Clock.TIMESTAMP, zone)) for chunk in chunks
        )

    def _new_learners(self, events: pl.DataFrame, moment: Moment) -> pl.Series:
        """Returns the learners who are asked about at a moment, each once."""
        seen = pl.col(TIME) < _at(moment)
        if moment.new_since is not None:
            seen &= pl.col(TIME) >= pl.lit(moment.new_since, TIMESTAMP)
        return events.filter(seen)[LEARNER].unique()

    def _batches(self, events: pl.DataFrame, asked: pl.DataFrame) -> Iterator[Batch]:
        spec = self.spec
        windows = find_windows(with_gaps(events, spec), asked, spec.max_steps, spec.sequence_keys)
        for joined in join_batches(windows, asked, list(spec.features), STEPS_AT_ONCE):
            if not joined.is_empty():
                keys = joined.select(LEARNER, UNIT, AS_OF)
                columns = [*dict.fromkeys([*self.inputs, UNIT])]
                known = joined.select(columns) if self.for_reasons else None
                yield Batch(keys, encode(joined, list(self.inputs)), known)

    # What learners are

    def _context(self, part: int) -> pl.DataFrame | None:
        """Returns the partition's rows of the table of learners, in their types; None without."""
        if LEARNERS not in self.files:
            return None
        spec = self.spec
        types = {
            name: pl.String() if spec.inputs[name] == "categorical" else pl.Float32()
            for name in spec.outcome_columns
        }
        chunks = []
        for chunk in read_part(Path(self.scratch), LEARNERS, part):
            if AS_OF in chunk.columns:
                times = to_clock(chunk[AS_OF], Clock.TIMESTAMP, spec.timezone)
                chunk = chunk.with_columns(times)
            chunks.append(chunk.cast(types))  # type: ignore[arg-type]
        return pl.concat(chunks, how="diagonal").sort(ORDER)

    def _with_context(
        self, asked: pl.DataFrame, context: pl.DataFrame | None, unknown: set[str]
    ) -> pl.DataFrame:
        """Adds the columns of learners that the model reads; notes who has no row."""
        if context is None:
            return asked
        places = newest_rows(asked, context)
        unknown.update(asked[LEARNER].filter(places.is_null()))
        columns = context.select(self.spec.outcome_columns)
        return asked.hstack([columns[name].gather(places) for name in columns.columns])

    # What learners did

    def _write_activity(self, part: int, events: pl.DataFrame) -> None:
        newest = _at(self.moments[-1])
        pairs = events.group_by(LEARNER, UNIT, maintain_order=True).agg(
            pl.col(TIME).min().alias("first_event_at"),
            pl.col(TIME).filter(pl.col(TIME) < newest).max().alias("last_event_at"),
        )
        for name, rows in (
            (PAIRS, pairs.filter(pl.col("last_event_at").is_not_null())),
            (ACTIVITY, daily_activity(events)),
            (COMPONENTS, component_sums(events)),
        ):
            if rows is not None and not rows.is_empty():
                with new_file(self._path(name, part), self.scratch) as beside:
                    rows.write_parquet(beside, compression="lz4")

    def _path(self, name: str, part: int) -> Path:
        return Path(self.scratch, f"{name}-{part:05d}.{'json' if name == COUNTS else 'parquet'}")

    def files_of(self, name: str) -> list[Path]:
        """Returns the files that `ask` has left: `PAIRS`, `ACTIVITY` or `COMPONENTS`."""
        return sorted(Path(self.scratch).glob(f"{name}-*.parquet"))

    def counts(self) -> Counter[str]:
        """Returns how many learners were asked about, skipped, or have no row of their own."""
        total: Counter[str] = Counter()
        for path in Path(self.scratch).glob(f"{COUNTS}-*.json"):
            total.update(json.loads(path.read_bytes()))
        return total


def learners_table(spec: LogSpec, file: LogFile) -> Table:
    """Returns the columns of a table of learners: like outcomes, but for what it does not have."""
    table = outcomes_table(spec)
    chunk = next(iter(read_chunks(file, [], csv=spec.outcomes_csv)), None)
    header = getattr(chunk, "header", [])
    left_out = {spec.label.column} - {*spec.outcome_columns}
    left_out |= {name for name in (UNIT, AS_OF) if table.source(name) not in header}
    kinds = {name: kind for name, kind in table.kinds.items() if name not in left_out}
    return replace(table, name=LEARNERS, kinds=kinds)


def newest_rows(asked: pl.DataFrame, rows: pl.DataFrame) -> pl.Series:
    """Returns for every question the place of the row that says what the learner is; null for none.

    A row of the same unit goes before one of another unit, the newest that is not after the moment
    before later ones. Without `as_of`, the last row counts.

    >>> from datetime import UTC, datetime
    >>> days = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
    >>> asked = pl.DataFrame({"learner_id": "ann", "unit_id": "a", "as_of": [days[1]]})
    >>> rows = pl.DataFrame({"learner_id": "ann", "as_of": days})
    >>> newest_rows(asked, rows).to_list()
    [1]
    """
    numbered = rows.with_row_index("place")
    if AS_OF not in rows.columns:
        long_ago = pl.lit(0).cast(asked.schema[AS_OF])
        numbered = numbered.with_columns(long_ago.alias(AS_OF))
    numbered = numbered.sort(AS_OF, "place")

    questions = asked.with_row_index("question").sort(AS_OF)
    keys = [[LEARNER, UNIT], [LEARNER]] if UNIT in rows.columns else [[LEARNER]]
    found = [
        questions.join_asof(
            numbered.select(*by, AS_OF, "place"), on=AS_OF, by=by, strategy=strategy,
            check_sortedness=False,
        ).get_column("place")
        for by in keys
        for strategy in ("backward", "forward")
    ]  # fmt: skip
    chosen = questions.select("question", place=pl.coalesce(found))
    return chosen.sort("question")["place"]


def _questions(pairs: pl.DataFrame, moment: Moment) -> pl.DataFrame:
    rows = pairs.filter(pl.col("first") < _at(moment))
    return rows.select(LEARNER, UNIT, _at(moment).alias(AS_OF))


def _at(moment: Moment) -> pl.Expr:
    return pl.lit(moment.as_of, TIMESTAMP)

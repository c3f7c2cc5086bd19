"""`mastery convert`: writes the events of a platform's log as a table of events.

Rows are read chunk by chunk as for a run, and kept in a hidden folder beside the table until the
whole log is known to be right: which columns have values, and whether its times are timestamps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from components.command.suggest import did_you_mean
from components.contracts.names import AS_OF, DWELL, EVENT_TYPE, LEARNER, ORDER, TIME, UNIT
from components.errors import MasteryError
from components.event_log.clocks import format_moment, to_clock
from components.event_log.column_kinds import Kind, Table
from components.event_log.conclusion import LINE_KINDS, no_rows
from components.event_log.log import find_log, read_in_parts
from components.event_log.log_spec import LogSpec
from components.event_log.problems import raise_if_any
from components.event_log.shuffle import divide
from components.event_log.sources import find_files
from components.event_log.spans import choose_spans
from components.event_log.tables import events_table, read_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock, extent, judge_clock
from components.files.atomic import draft_folder
from components.platforms.formats import FORMATS, STANDARD, mapping_of
from pipeline.table_writer import SUFFIXES, new_table

if TYPE_CHECKING:
    from components.config import Config
    from components.event_log.problems import Problem
    from components.event_log.sources import Listing

# The columns that formats give where they can, beside learner, unit and time.
COLUMNS = {
    EVENT_TYPE: Kind.TEXT,
    "component": Kind.TEXT,
    DWELL: Kind.NUMBER,
    "completed": Kind.NUMBER,
    "correct": Kind.NUMBER,
    "score": Kind.NUMBER,
    "playback_speed": Kind.NUMBER,
}


@dataclass(frozen=True)
class Request:
    """What is converted.

    Attributes:
        events: files, folders or patterns.
        span: which spans of them.
        table: how they are read; its optional columns are left out if none of them has a value.
        config: if outcomes are derived, how.
    """

    events: Sequence[str]
    span: str
    table: Table
    config: Config | None = None

    @classmethod
    def of(cls, config: Config) -> Request:
        """Returns the request for the log of a configuration.

        Beside the standard columns these are its step features and the columns that it maps.
        """
        needed = events_table(LogSpec.of(config))
        mapped = dict.fromkeys(config.data.mapping, Kind.TEXT)
        table = _with_further(needed, mapped | COLUMNS)
        deriving = None if config.data.derived is None else config
        return cls(config.data.events, config.data.span, table, deriving)

    @classmethod
    def of_format(cls, name: str, events: Sequence[str]) -> Request:
        """Returns the request for files in a format, read as its mapping says.

        Raises:
            MasteryError: there is no such format.
        """
        name = STANDARD if name in SUFFIXES else name  # the suffix of a file says which it is
        if name not in FORMATS:
            suggestion = did_you_mean(name, FORMATS)
            raise MasteryError(
                f"--format: expected one of {', '.join(FORMATS)}, found {name!r}{suggestion or '.'}"
            )
        mapping = mapping_of(name)
        kinds = {LEARNER: Kind.KEY, UNIT: Kind.KEY, TIME: Kind.CLOCK}
        table = Table("events", kinds, mapping=None if name == STANDARD else mapping)
        return cls(events, "newest", _with_further(table, COLUMNS))


def _with_further(table: Table, kinds: dict[str, Kind]) -> Table:
    """Returns a table with columns that a file may lack."""
    further = {name: kind for name, kind in kinds.items() if name not in table.kinds}
    return replace(table, kinds=table.kinds | further, optional=table.optional | further.keys())


@dataclass(frozen=True)
class Converted:
    """A table of events that was written.

    Attributes:
        path: the file.
        rows: how many events it has.
        times: the first and the last, in words.
        columns: its columns.
        empty: columns that would have been written if they had a value.
        tally: what was read and left out.
        outcomes: how many outcomes were derived and written beside it; None if none had to be.
    """

    path: Path
    rows: int
    times: tuple[str, str]
    columns: list[str]
    empty: list[str]
    tally: Tally
    outcomes: int | None = None

    def describe(self) -> str:
        """Returns what was written, read and left out, as a few lines of text."""
        first, last = self.times
        lines = [f"events    {self.rows:>12,}   {first} to {last}"]
        for counts in self.tally.lines.values():
            kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in LINE_KINDS if counts[kind])
            lines.append(f"lines     {counts.total():>12,}   {kinds}")
        lines.append(f"columns   {', '.join(self.columns)}")
        if self.empty:
            lines.append(f"no values {', '.join(self.empty)} (not written)")
        lines += [f"not read  {reasons}" for reasons in self.tally.passed_over.values()]
        lines += [f"warning   {hint}" for hint in self.tally.hints]
        written = str(self.path)
        if self.outcomes is not None:
            lines.insert(1, f"outcomes  {self.outcomes:>12,}   derived")
            written += f" and {self.path.with_stem('outcomes').name}"
        return "\n".join([*lines, f"Wrote {written}."])


def convert(
    request: Request, out: Path, *, to: str = "parquet", overwrite: bool = False
) -> Converted:
    """Writes the events of a log as the table `events` into a folder, whole or not at all.

    Its rows are those of the log, in the order of files and lines. Times are in UTC, numbers
    float32. Where the log has no dwell time, neither has the table: a gap depends on the moment
    that an outcome is asked about.

    Args:
        request: what is converted.
        out: the folder, created if missing.
        to: parquet, csv or jsonl.
        overwrite: replace a table of events in `out`.

    Raises:
        LogError: the log cannot be used; lists all of its problems.
        MasteryError: `out` holds a table of events, or cannot be written to.
    """
    if to not in SUFFIXES:
        raise MasteryError(f"--to: expected one of {', '.join(SUFFIXES)}, found {to!r}.")
    patterns = [*request.events]
    chosen = choose_spans(patterns, request.span)
    found = find_files("events", chosen.fill(patterns), request.table.mapping)
    target = out / f"events.{to}"
    others = _check_free(target, found, derives=request.config is not None, overwrite=overwrite)
    try:
        with draft_folder(out) as folder:
            parts = _Parts(folder)
            read = _read(found, request.table, parts)
            raise_if_any(_judge(read))
            converted = _publish(parts, request, read, target)
        for path in others:
            path.unlink()
    except OSError as error:
        raise MasteryError(
            f"{out}: the table could not be written ({error.strerror or error}). "
            "Choose another --out."
        ) from error
    return converted


def _check_free(target: Path, found: Listing, *, derives: bool, overwrite: bool) -> list[Path]:
    """Returns the other tables of events in the folder, which the new one replaces.

    Raises:
        MasteryError: there is one, and it may not be replaced, or it is what would be read.
    """
    stems = ["events", *(["outcomes"] if derives else [])]
    known = [target.with_name(f"{stem}.{suffix}") for stem in stems for suffix in SUFFIXES]
    taken = [path for path in known if path.exists()]
    read = {Path(file.path).resolve() for file in found.files}
    if own := [path for path in taken if path.resolve() in read]:
        raise MasteryError(f"{own[0]} is a file of the log itself. Choose another --out.")
    if taken and not overwrite:
        raise MasteryError(
            f"{taken[0]} exists. Choose another --out, or add --overwrite to replace it."
        )
    return [path for path in taken if path.suffix != target.suffix]


class _Parts:
    """Chunks of rows on their way, in files, since only all of them show their types.

    Attributes:
        valued: the columns that have a value in one of them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.valued: set[str] = set()

    def add(self, rows: pl.DataFrame) -> None:
        """Keeps the rows of a chunk."""
        rows.drop(ORDER).write_ipc(self._path(self._count), compression="lz4")
        self._count += 1
        self.valued |= {name for name in rows.columns if rows[name].null_count() < rows.height}

    def read(self) -> Iterator[pl.DataFrame]:
        """Yields the chunks in their order."""
        for number in range(self._count):
            yield pl.read_ipc(self._path(number))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.arrow"


def _read(found: Listing, table: Table, parts: _Parts) -> Tally:
    """Reads all files into parts; returns the counts."""
    reasons = found.describe_passed_over()
    passed_over = {table.name: reasons} if reasons else {}
    tallies = [Tally(problems=found.problems, passed_over=passed_over)]
    for file in found.files:
        for rows, tally in read_table(file, table):
            tallies.append(tally)
            if rows is not None:
                parts.add(rows)
    return merge_tallies(tallies)


def _judge(read: Tally) -> list[Problem]:
    """Returns the problems of a log that was read."""
    problems = [*read.problems, *judge_clock(read.clocks)]
    if not problems and not read.count_rows("events"):
        problems.append(no_rows("events", read, "data.events"))
    return problems


def _publish(parts: _Parts, request: Request, read: Tally, target: Path) -> Converted:
    """Writes the tables, and moves them to their places."""
    table, config = request.table, request.config
    clock = common_clock(read.clocks)
    assert clock is not None, "judge_clock refuses a log without one clock"
    columns = [name for name in table.kinds if name in parts.valued or name not in table.optional]
    with ExitStack() as stack:
        writer = stack.enter_context(new_table(target))
        for rows in parts.read():
            on_clock = to_clock(rows[TIME], clock, table.timezone)
            writer.add(rows.with_columns(on_clock).select(columns))
        # Before the events get their name, so that a problem of outcomes leaves neither.
        outcomes = None if config is None else write_outcomes(config, target)

    times = extent(read.clocks[TIME], clock)
    assert times is not None, "the log has rows"
    return Converted(
        path=target,
        rows=read.count_rows("events"),
        times=(format_moment(times[0], clock), format_moment(times[1], clock)),
        columns=columns,
        empty=[name for name in table.kinds if name not in columns],
        tally=read,
        outcomes=outcomes,
    )


def write_outcomes(config: Config, events: Path) -> int:
    """Writes derived outcomes beside the events, with one part of the learners in memory at a time.

    Returns:
        How many there are.

    Raises:
        LogError: there are none; or the log cannot be used.
    """
    spec = LogSpec.of(config).without_splits().model_copy(update={"sample_learners": None})
    found = find_log(config)
    divided = divide(found.files, len(events_table(spec).kinds), spec.splits.seed, shards=1)
    keys = [LEARNER, UNIT, AS_OF, spec.label.column]
    columns = [*dict.fromkeys([*keys, *spec.outcome_columns])]
    count = 0
    tallies = []
    with (
        new_table(events.with_stem("outcomes")) as writer,
        read_in_parts(found, spec, divided) as (read, parts),
    ):
        raise_if_any(read.problems)
        for part in parts:
            writer.add(part.outcomes.select(columns))
            count += part.outcomes.height
            tallies.append(part.tally)
        joined = merge_tallies([read, *tallies])
        raise_if_any(joined.problems)
        if not count:
            raise_if_any([no_rows("outcomes", joined, "data.outcomes")])
    return count

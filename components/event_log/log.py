"""A whole log in memory: for checking one, and for scoring one with a model that is already there."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from components.config import Config
from components.contracts.names import ORDER
from components.event_log.crosscheck import Part, cross_check, fingerprint
from components.event_log.files import LogFile, find_files
from components.event_log.read import read_table
from components.event_log.sample import Sample, choose_sample, read_hashes, smallest_hashes
from components.event_log.spans import choose_spans
from components.event_log.spec import LogSpec
from components.event_log.tables import Table, events_table, outcomes_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock
from components.event_log.verdict import conclude


@dataclass
class TableRead:
    """A table of a log, as far as it could be read: its files, their rows, and what was counted."""

    files: list[LogFile]
    chunks: list[pl.DataFrame] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)


def read_log(config: Config, *, splits: bool, keys_only: bool) -> tuple[Part, Tally]:
    """Reads and checks a log.

    Args:
        config: where it is and what it should hold.
        splits: whether its splits have to be large enough too.
        keys_only: whether to check the step features and then forget them, which needs less memory.

    Returns:
        The log as one part, and what was counted.

    Raises:
        LogError: the log cannot be used; with everything that is wrong with it.
    """
    spec = LogSpec.of(config)
    chosen = choose_spans([*config.data.events, *config.data.outcomes], config.data.span)
    outcome_patterns = chosen.fill(config.data.outcomes)
    sample = _sample(spec, outcome_patterns)
    events = read_files(
        events_table(spec), chosen.fill(config.data.events), sample, keys_only=keys_only
    )
    outcomes = read_files(outcomes_table(spec), outcome_patterns, sample)
    read = merge_tallies([*events.tallies, *outcomes.tallies])
    part = None
    if outcomes.chunks and common_clock(read.clocks) is not None:
        part = cross_check(events.chunks, outcomes.chunks, spec, read, outcomes.files)
    total = conclude(read, part.tally if part else Tally(), spec, splits=splits)
    assert part is not None, "a log without outcomes, or with two clocks, has been refused"
    return part, total


def _sample(spec: LogSpec, patterns: list[str]) -> Sample | None:
    if spec.sample_learners is None:
        return None
    files = find_files("outcomes", patterns).files
    parts = (
        part for file in files for part in read_hashes(file, outcomes_table(spec), spec.splits.seed)
    )
    return choose_sample(
        smallest_hashes(parts, spec.sample_learners), spec.sample_learners, spec.splits.seed
    )


def read_files(
    table: Table, patterns: list[str], sample: Sample | None = None, *, keys_only: bool = False
) -> TableRead:
    """Reads all files behind the patterns of a table.

    Args:
        table: what they should hold.
        patterns: without placeholders for spans.
        sample: the learners whose rows are wanted, None for all.
        keys_only: whether only keys, time and order are kept, and a hash of the rest.
    """
    found = find_files(table.name, patterns)
    reasons = found.describe_passed_over()
    passed_over = {table.name: reasons} if reasons else {}
    result = TableRead(
        found.files, tallies=[Tally(problems=found.problems, passed_over=passed_over)]
    )
    for file in found.files:
        for frame, tally in read_table(file, table, sample):
            result.tallies.append(tally)
            if frame is not None:
                result.chunks.append(_keys_of(frame, table) if keys_only else frame)
    return result


def _keys_of(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    keys = frame.select(*list(table.kinds)[:3], ORDER)
    return keys.with_columns(fingerprint(frame)) if keys.width < frame.width else keys

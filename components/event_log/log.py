"""A whole log in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from components.config import Config, Label
from components.contracts.log_summary import LogSummary
from components.contracts.names import AS_OF, LEARNER, ORDER, SPLITS, TIME, UNIT
from components.errors import MasteryError
from components.event_log.clocks import read_clock
from components.event_log.column_kinds import Table
from components.event_log.learners import Sample, choose_sample, read_hashes, smallest_hashes
from components.event_log.point_in_time import Part, cross_check, fingerprint
from components.event_log.problems import (
    Hint,
    Problem,
    describe_lookalikes,
    merge_hints,
    raise_if_any,
)
from components.event_log.sources import LogFile, find_files
from components.event_log.spans import choose_spans
from components.event_log.tables import LogSpec, events_table, outcomes_table, read_table
from components.event_log.tally import Tally, merge_tallies, summarise
from components.event_log.timescales import common_clock, judge_clock, see


def check_log(config: Config) -> LogSummary:
    """Reads a log as ExampleGen would, and says what is in it.

    Raises:
        LogError: the log cannot be used; with everything that is wrong with it.
    """
    chosen = choose_spans([*config.data.events, *config.data.outcomes], config.data.span)
    _, total = read_log(config, splits=True, keys_only=True)
    return summarise(total, config.label.classes, spans=chosen.names)


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


def read_questions(
    config: Config, events: Sequence[str], outcomes: Sequence[str] = (), *, as_of: str | None = None
) -> Part:
    """Reads events and what is asked about them, as `read_log` reads a log with labels.

    Args:
        config: how they are read; where they are does not matter here.
        events: files, folders or patterns.
        outcomes: the same for a table of `learner_id`, `unit_id`, `as_of` and the columns that the model reads.
        as_of: instead of `outcomes`, one moment: everybody in the events is asked about, in each of their units.

    Returns:
        The questions as the outcomes of one part. Their order is ExampleGen's; `_order` has that of the files.

    Raises:
        LogError: something in the files cannot be used; with everything that is wrong.
        MasteryError: neither or both of `outcomes` and `as_of` are given; `as_of` is no time; the model reads columns
            that events do not have, so that `outcomes` is needed.
    """
    if bool(outcomes) == (as_of is not None):
        raise MasteryError(
            "expected either outcomes or as_of: whose answers are wanted, and for which moments."
        )
    spec = question_spec(config)
    read = read_files(events_table(spec), list(events))
    if as_of is None:
        table = outcomes_table(spec)
        kinds = {name: kind for name, kind in table.kinds.items() if name != spec.label.column}
        asked = read_files(replace(table, kinds=kinds), list(outcomes))
    else:
        asked = _everybody(read, spec, as_of)
    tally = merge_tallies([*read.tallies, *asked.tallies])
    raise_if_any(judge_reading(tally))
    part = cross_check(read.chunks, asked.chunks, spec, tally, asked.files)
    raise_if_any(part.tally.problems)
    return part


def question_spec(config: Config) -> LogSpec:
    """Returns how a log without labels is read: no class is looked for, and no column that only slices."""
    inputs = dict.fromkeys([*config.context, *config.prior.group_by])
    label = Label(column=config.label.column, task="regression")
    columns = [name for name in inputs if name not in (LEARNER, UNIT, AS_OF)]
    return LogSpec.of(config).model_copy(update={"label": label, "outcome_columns": columns})


def _everybody(events: TableRead, spec: LogSpec, as_of: str) -> TableRead:
    """Returns one question for each learner and unit in the events, in their order there."""
    if spec.outcome_columns:
        raise MasteryError(
            f"as_of: this model also reads {', '.join(spec.outcome_columns)}, which events do not have. Give a table "
            f"of outcomes with {LEARNER}, {UNIT}, {AS_OF} and these columns."
        )
    raw = pl.Series(AS_OF, [as_of])
    read = read_clock(raw, spec.timezone)
    if read is None or read.values.null_count():
        expected = (
            next((expected for fault, expected in read.faults if fault.any()), "a time")
            if read
            else "a time"
        )
        raise MasteryError(f"as_of: expected {expected}, found {as_of!r}.")
    forms = see(read, raw, [0], timezone=spec.timezone, path="as_of", unit="row", column=AS_OF)
    if not events.chunks:
        return TableRead([], tallies=[Tally(rows={"outcomes": Counter({"as_of": 1})})])
    pairs = pl.concat([chunk.select(LEARNER, UNIT, ORDER) for chunk in events.chunks]).sort(ORDER)
    pairs = pairs.unique([LEARNER, UNIT], keep="first", maintain_order=True)
    asked = pairs.with_columns(read.values.new_from_index(0, len(pairs)).alias(AS_OF))
    counted = Tally(rows={"outcomes": Counter({"as_of": len(asked)})}, clocks={AS_OF: forms})
    return TableRead([], [asked.select(LEARNER, UNIT, AS_OF, ORDER)], [counted])


def conclude(read: Tally, joined: Tally, spec: LogSpec, *, splits: bool) -> Tally:
    """Returns what was counted over a log that can be used.

    Shares and class counts are only judged when every row could be read: with rows left out they mislead.

    Args:
        read: what was counted in reading it.
        joined: what was counted over its outcomes and their events.
        spec: how much of what it needs.
        splits: whether its splits are going to be used, and so have to be large enough.

    Raises:
        LogError: it cannot be used; with everything that is wrong with it.
    """
    total = merge_tallies([read, joined])
    alike = _lookalikes(total, spec)
    total.hints = merge_hints([*total.hints, *alike, *_unused_events(total)])
    problems = judge_reading(read)
    if not problems:
        problems = [
            *_judge_cold_starts(total, spec, alike),
            *(_judge_splits(total, spec) if splits else []),
        ]
    raise_if_any([*problems, *joined.problems])
    return total


def judge_reading(read: Tally) -> list[Problem]:
    """Returns what is wrong with the log as a whole once it is read: what makes it useless to go on.

    Args:
        read: what was counted in reading, its own problems included.
    """
    problems = list(read.problems)
    problems += judge_clock(read.clocks)
    if not problems:
        empty = [table for table in ("events", "outcomes") if not read.count_rows(table)]
        problems += [
            Problem(subject=f"data.{table}", expected="at least one row", found="none")
            for table in empty
        ]
    return problems


def _lookalikes(total: Tally, spec: LogSpec) -> list[Hint]:
    sources = {LEARNER: spec.columns.learner_id, UNIT: spec.columns.unit_id}
    return [
        hint
        for column, candidates in total.lookalikes.items()
        for hint in describe_lookalikes(sources[column], candidates, total.twins.get(column, ()))
    ]


def _unused_events(total: Tally) -> list[Hint]:
    count = total.count_rows("events") - total.used_events
    text = "events of a learner and unit without an outcome (they are not used)"
    return [Hint(text=text, count=count, example=total.unused)] if count else []


def _judge_cold_starts(total: Tally, spec: LogSpec, alike: list[Hint]) -> list[Problem]:
    outcomes, cold = total.steps.total(), total.steps[0]
    if cold < outcomes and cold <= spec.max_cold_start_share * outcomes:
        return []
    if cold == outcomes:
        expected = f"events before {AS_OF} for at least some outcomes"
        found = f"none for any of the {outcomes:,} outcomes"
    else:
        expected = f"at most {spec.max_cold_start_share:.1%} of outcomes without events (data.max_cold_start_share)"
        share = f"{cold:,} of {outcomes:,} ({cold / outcomes:.1%})"
        found = f"{share} with no event of their learner and unit before {AS_OF}"
    if total.too_late:
        found += (
            f"; {total.too_late:,} of them have events, but all at or after {AS_OF}: "
            f"do {TIME} and {AS_OF} use the same clock, and is data.timezone ({spec.timezone}) right?"
        )
    if total.too_late < cold:
        found += f"; {cold - total.too_late:,} have no event at all: do both tables write learner_id and unit_id alike?"
    return [
        Problem(subject="the log", expected=expected, found="; ".join([found, *map(str, alike)]))
    ]


def _judge_splits(total: Tally, spec: LogSpec) -> list[Problem]:
    names = spec.label.classes or [""]
    expected = f"at least {spec.min_class_examples} examples of every class in every split (data.min_class_examples)"
    few = [
        f"{count} of {name!r} in {split}" if name else f"{count} in {split}"
        for split in SPLITS
        for name in names
        if (count := total.count_class(split, name)) < spec.min_class_examples
    ]
    if not few:
        return []
    advice = "; use a longer log, other shares or another seed (data.splits)"
    return [Problem(subject="the log", expected=expected, found=", ".join(few) + advice)]

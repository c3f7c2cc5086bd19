"""A log that asks: events, and for which moments an answer is wanted; nobody knows a label yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from components.config import Config, Label
from components.contracts.names import AS_OF, LEARNER, ORDER, UNIT
from components.errors import MasteryError
from components.event_log.clocks import read_clock
from components.event_log.crosscheck import Part, cross_check
from components.event_log.log import TableRead, read_files
from components.event_log.problems import raise_if_any
from components.event_log.spec import LogSpec
from components.event_log.tables import events_table, outcomes_table
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import see
from components.event_log.verdict import judge_reading


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

"""What the counts say about a log: whether it can be used, and the summary of one that can."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from components.contracts.log_summary import LogSummary, describe_unasked
from components.contracts.names import AS_OF, DWELL, LEARNER, SPLITS, TIME, UNIT
from components.event_log.clocks import Clock, format_moment
from components.event_log.odd_ids import describe_lookalikes
from components.event_log.problems import LEFT_OUT, Hint, Problem, merge_hints, raise_if_any
from components.event_log.replay import judge_older, summarise_replayed
from components.event_log.splits import judge_folds
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock, extent, judge_clock

if TYPE_CHECKING:
    from components.event_log.log_spec import LogSpec

LINE_KINDS = ("rows", "header", "blank", "within quotes", "left out")
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)


def conclude(read: Tally, joined: Tally, spec: LogSpec, *, splits: bool) -> Tally:
    """Returns the counts over a log that can be used.

    Shares and class counts are judged only if every row could be read: with rows left out they
    mislead.

    Args:
        read: the counts of reading it.
        joined: the counts over its outcomes and their events.
        spec: what it must hold.
        splits: whether its splits will be used, and so must be large enough.

    Raises:
        LogError: it cannot be used; lists all of its problems.
    """
    total = merge_tallies([read, joined])
    if read.older is not None and spec.splits.column is not None:
        total = merge_tallies([total, Tally(folds=read.older.folds)])
    alike = _find_lookalikes(total, spec)
    total.hints = merge_hints([*total.hints, *alike, *_count_unused_events(total, spec)])

    problems = judge_reading(read, spec)
    if not problems and spec.derived is not None and not total.steps:
        problems = [] if joined.problems else [_explain_none_derived(total)]
    elif not problems:
        problems += _judge_gaps(total, spec)
        problems += _judge_cold_starts(total, spec, alike)
        problems += (judge_folds(total, spec) or _judge_splits(total, spec)) if splits else []
    raise_if_any([*problems, *joined.problems])
    return total


def _explain_none_derived(total: Tally) -> Problem:
    expected = "at least one outcome (data.outcomes.at, window and until)"
    return Problem(
        subject="data.outcomes", expected=expected, found=f"none: {describe_unasked(total.unasked)}"
    )


def judge_reading(read: Tally, spec: LogSpec) -> list[Problem]:
    """Returns the problems of reading a log; if there are any, joining it is useless.

    Args:
        read: the counts of reading it, its own problems included.
        spec: how it is read.
    """
    problems = [*read.problems, *judge_clock(read.clocks), *judge_older(read)]
    if problems:
        return problems
    tables = {"events": "data.events", "outcomes": "data.outcomes"}
    if spec.derived is not None:
        del tables["outcomes"]
        if spec.derived.table:
            tables["outcomes"] = "data.outcomes.table"
    return [
        no_rows(table, read, subject)
        for table, subject in tables.items()
        if not read.count_rows(table)
    ]


def no_rows(table: str, read: Tally, subject: str) -> Problem:
    """Returns the problem of a table without a usable row, with why records were left out.

    Args:
        table: `events` or `outcomes`.
        read: the counts of reading it.
        subject: the key of the configuration that names it.
    """
    reasons = [hint for hint in read.hints if hint.text.startswith(LEFT_OUT)]
    found = "none"
    if table == "events" and reasons:
        counts = ", ".join(f"{hint.count:,} {hint.text.removeprefix(LEFT_OUT)}" for hint in reasons)
        total = sum(hint.count for hint in reasons)
        found += f"; of {total:,} records all are left out: {counts}"
        found += " (data.leave_out, data.mapping)"
    return Problem(subject=subject, expected="at least one row", found=found)


def _find_lookalikes(total: Tally, spec: LogSpec) -> list[Hint]:
    sources = {LEARNER: spec.columns.learner_id, UNIT: spec.columns.unit_id}
    hints = []
    for column, candidates in total.lookalikes.items():
        twins = total.twins.get(column, ())
        hints += describe_lookalikes(sources[column], candidates, twins)
    return hints


def _count_unused_events(total: Tally, spec: LogSpec) -> list[Hint]:
    count = total.count_rows("events") - total.used_events
    verb = "have" if spec.history == "unit" else "has"
    text = f"events whose {spec.sequence_owner} {verb} no outcome (not used)"
    return [Hint(text=text, count=count, example=total.unused)] if count else []


def _judge_cold_starts(total: Tally, spec: LogSpec, alike: list[Hint]) -> list[Problem]:
    outcomes = total.steps.total()
    cold = total.steps[0]
    if cold < outcomes and cold <= spec.max_cold_start_share * outcomes:
        return []

    if cold == outcomes:
        expected = f"events before {AS_OF} for at least some outcomes"
        found = [f"none for any of the {outcomes:,} outcomes"]
    else:
        most = f"{spec.max_cold_start_share:.1%}"
        expected = f"at most {most} of outcomes without events (data.max_cold_start_share)"
        share = f"{cold:,} of {outcomes:,} ({cold / outcomes:.1%})"
        found = [f"{share} with no event of their {spec.sequence_owner} before {AS_OF}"]

    if total.too_late:
        found.append(
            f"{total.too_late:,} of them have events, but all at or after {AS_OF}: do {TIME} and "
            f"{AS_OF} use the same clock, and is data.timezone ({spec.timezone}) right?"
        )
    if total.too_late < cold:
        without = f"{cold - total.too_late:,} have no event at all"
        found.append(f"{without}: do both tables spell learner_id and unit_id the same?")
    found += [str(hint) for hint in alike]
    return [Problem(subject="the log", expected=expected, found="; ".join(found))]


def _judge_gaps(total: Tally, spec: LogSpec) -> list[Problem]:
    """Returns the problem of dwell times that should be filled in without timestamps."""
    is_read = spec.dwell_cap_seconds is not None and DWELL in spec.features
    if not is_read or common_clock(total.clocks) is Clock.TIMESTAMP:
        return []
    return [
        Problem(
            subject="data.dwell_cap_seconds",
            expected=f"timestamps in {TIME}, since gaps are counted in seconds",
            found="numbers of a clock of the log's own; write null to leave gaps as they are",
        )
    ]


def _judge_splits(total: Tally, spec: LogSpec) -> list[Problem]:
    few = []
    for split in SPLITS:
        for name in spec.label.classes or [""]:
            count = total.count_class(split, name)
            if count < spec.min_class_examples:
                few.append(f"{count} of {name!r} in {split}" if name else f"{count} in {split}")
    if not few:
        return []

    tested = sum(total.classes.get("test", {}).values())
    if spec.splits.column and not tested:
        return [
            Problem(
                subject="the log",
                column=spec.splits.column,
                expected=f"rows of fold {spec.splits.fold}, the test split (data.splits.fold)",
                found="none",
            )
        ]

    least = f"at least {spec.min_class_examples} examples of every class in every split"
    advice = "use a longer log, other shares or another seed (data.splits)"
    if total.unasked:
        advice += f"; derived, and none for {describe_unasked(total.unasked)}"
    return [
        Problem(
            subject="the log",
            expected=f"{least} (data.min_class_examples)",
            found=f"{', '.join(few)}; {advice}",
        )
    ]


def summarise(
    total: Tally,
    classes: list[str],
    *,
    spans: list[str] | None = None,
    version: int | None = None,
    replayed: list[str] | None = None,
) -> LogSummary:
    """Returns the summary of a usable log.

    Args:
        total: the counts over all of it.
        classes: the classes, in the order they are shown; empty for a regression.
        spans: names of the spans that were read, oldest first.
        version: of the spans.
        replayed: names of the older spans of which learners were replayed, oldest first.

    Raises:
        ValueError: the log has no rows, or no common clock.
    """
    clock = common_clock(total.clocks)
    if clock is None:
        raise ValueError("expected the counts of a log with one clock")
    first_event, last_event = _describe_extent(total, TIME, clock)
    first_outcome, last_outcome = _describe_extent(total, AS_OF, clock)
    return LogSummary(
        events=total.count_rows("events"),
        outcomes=total.steps.total(),
        learners=total.learners,
        units=len(total.units),
        clock=clock,
        first_event=first_event,
        last_event=last_event,
        first_outcome=first_outcome,
        last_outcome=last_outcome,
        cold_starts=total.steps[0],
        truncated=total.truncated,
        steps=_quantiles(total),
        splits={
            split: {name: total.count_class(split, name) for name in classes or [""]}
            for split in SPLITS
        },
        files={table: dict(sorted(rows.items())) for table, rows in sorted(total.rows.items())},
        unasked=dict(total.unasked),
        lines={
            table: {kind: kinds[kind] for kind in LINE_KINDS if kinds[kind]}
            for table, kinds in sorted(total.lines.items())
        },
        passed_over=dict(sorted(total.passed_over.items())),
        spans=spans or [],
        version=version,
        replayed=summarise_replayed(total, replayed) if replayed else None,
        warnings=[str(hint) for hint in total.hints],
    )


def _describe_extent(total: Tally, column: str, clock: Clock) -> tuple[str, str]:
    """Returns the first and the last time of a column in words."""
    times = extent(total.clocks.get(column, {}), clock)
    if times is None and column == AS_OF:
        times = total.asked
    if times is None:
        raise ValueError(f"expected the counts of a log with rows, found no {column}")
    return format_moment(times[0], clock), format_moment(times[1], clock)


def _quantiles(total: Tally) -> dict[str, int]:
    """Returns the number of events that outcomes see, at each of `QUANTILES`."""
    values = sorted(total.steps)
    ranks = list(accumulate(total.steps[value] for value in values))
    return {
        f"{quantile:.0%}": values[bisect_left(ranks, quantile * ranks[-1])]
        for quantile in QUANTILES
    }

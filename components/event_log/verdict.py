"""Whether a log can be used, from what was counted over all of it."""

from __future__ import annotations

from components.contracts.names import AS_OF, LEARNER, SPLITS, TIME, UNIT
from components.event_log.hints import Hint, describe_lookalikes, merge_hints
from components.event_log.problems import Problem, raise_if_any
from components.event_log.spec import LogSpec
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import judge_clock


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

"""Replays learners of older spans: a share of them is trained on once more.

A model that goes on learning from the newest spans alone forgets what is not in them. So a share of
the learners of the spans before is read again (`data.replay`). Which learners is decided by a hash
of their ids, which is not the one of the splits: the same ones at each run, whatever else is in the
log, and equally many of every split.

The gates judge a model on the newest spans, so what is replayed must not be in their way:

- Only outcomes of the train split are kept. Learners of eval and test are not drawn from, so
  nothing is trained on that an earlier or a later run tests on, and the eval and test splits are
  those of the same run without replay, byte by byte.
- Older spans are joined on their own. An older outcome sees the older events before its `as_of`,
  as it did when it was new; an outcome of the newest spans sees what it would see without replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components.contracts.log_summary import ReplayedLog
from components.contracts.names import LEARNER, OLDER, SPLIT, TRAIN
from components.event_log.learners import Sample
from components.event_log.point_in_time import Part, Windows
from components.event_log.problems import Problem
from components.event_log.shuffle import join_parts
from components.event_log.tally import Tally, merge_tallies
from components.event_log.timescales import common_clock, judge_clock

if TYPE_CHECKING:
    from components.event_log.log_spec import LogSpec
    from components.event_log.sources import LogFile

_CLASS = "class "
_HASHES = 2**64


def replayed_learners(spec: LogSpec) -> Sample:
    """Returns the learners that `data.replay` draws, of all splits."""
    return Sample(f"replay/{spec.splits.seed}", max(0, round(spec.replay * _HASHES) - 1))


def older_counts(read: Tally, spec: LogSpec) -> Tally | None:
    """Returns the counts of reading older spans, with columns typed as in the whole log.

    None if nothing of them can be replayed: no learner was drawn, or theirs are rows of one table.
    """
    older = read.older
    needed = ["events"] if spec.derived is not None else ["events", "outcomes"]
    if older is None or not all(map(older.count_rows, needed)):
        return None
    return older.model_copy(update={"types": _types_of_both(read)})


def with_types_of_older(read: Tally) -> Tally:
    """Returns the counts of reading the newest spans, with columns typed as in the whole log."""
    return read if read.older is None else read.model_copy(update={"types": _types_of_both(read)})


def _types_of_both(read: Tally) -> dict[str, str]:
    older = Tally() if read.older is None else read.older
    return merge_tallies([Tally(types=read.types), Tally(types=older.types)]).types


def join_replayed(
    folder: Path, number: int, spec: LogSpec, older: Tally, files: Sequence[LogFile]
) -> Iterator[Part]:
    """Yields what is trained on once more of a part: the older outcomes of its train split.

    The counts of the part are in `replayed`, so that they are not taken for those of the newest
    spans; problems and hints are kept.

    Args:
        folder: of all runs.
        number: of the part.
        spec: how the log is read.
        older: what `older_counts` returned.
        files: the files of older outcomes, for messages.
    """
    for part in join_parts(folder, [number], spec, older, files, prefix=OLDER):
        yield _train_split(part, spec)


def _train_split(part: Part, spec: LogSpec) -> Part:
    is_in = (part.outcomes[SPLIT] == TRAIN).to_numpy()
    outcomes, windows = part.outcomes.filter(is_in), part.windows
    bounds = (windows.first, windows.start, windows.stop, windows.end)
    kept = Windows(windows.events, *(rows[is_in] for rows in bounds))

    counts = Counter(learners=outcomes[LEARNER].n_unique(), outcomes=outcomes.height)
    if spec.label.task == "classification":
        by_class = outcomes.group_by(spec.label.column).len().iter_rows()
        counts.update({f"{_CLASS}{name}": count for name, count in by_class})
    tally = Tally(replayed=counts, problems=part.tally.problems)
    return replace(part, outcomes=outcomes, windows=kept, tally=tally)


def judge_older(read: Tally) -> list[Problem]:
    """Returns the problems of older spans, of which learners are to be replayed."""
    if read.older is None:
        return []
    problems = [*read.older.problems, *judge_clock(read.older.clocks)]
    clocks = [common_clock(tally.clocks) for tally in (read, read.older)]
    if problems or None in clocks or clocks[0] == clocks[1]:
        return problems
    found = f"{clocks[1]} in the older ones, {clocks[0]} in the newest"
    return [
        Problem(
            subject="the log",
            expected="times of one kind in all spans (data.replay reads older ones too)",
            found=found,
        )
    ]


def summarise_replayed(total: Tally, spans: list[str]) -> ReplayedLog:
    """Returns what is replayed of older spans.

    Args:
        total: the counts over the whole log.
        spans: names of the older spans, oldest first.
    """
    counts = total.replayed
    classes = {
        name.removeprefix(_CLASS): count
        for name, count in sorted(counts.items())
        if name.startswith(_CLASS)
    }
    return ReplayedLog(
        spans=spans, learners=counts["learners"], outcomes=counts["outcomes"], classes=classes
    )

"""What became of learners, without examples: outcomes that a table holds, or that are derived."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from components.config.outcomes import HORIZON, MADE, kind_of
from components.contracts.names import AS_OF, FOLD, ORDER
from components.errors import MasteryError
from components.event_log.clocks import Clock
from components.event_log.conclusion import conclude, judge_reading
from components.event_log.log import find_log, read_files, read_in_parts
from components.event_log.log_spec import LogSpec
from components.event_log.point_in_time import KEYS, find_duplicates, join_outcomes
from components.event_log.problems import Problem, raise_if_any
from components.event_log.shuffle import divide
from components.event_log.sources import find_files
from components.event_log.spans import choose_spans
from components.event_log.tables import events_table, outcomes_table
from components.event_log.tally import merge_tallies
from components.event_log.timescales import common_clock, judge_clock

if TYPE_CHECKING:
    from components.config.root import Config


def read_known_outcomes(config: Config, *, keys_only: bool = True) -> pl.DataFrame:
    """Reads or derives the outcomes of the configured log, as `read_outcomes` returns them.

    Raises:
        LogError: the log cannot be used; lists all of its problems.
        MasteryError: `as_of` is a number instead of a time.
    """
    data = config.data
    if data.derived is None:
        chosen = choose_spans([*data.events, *data.outcome_files], data.span)
        return read_outcomes(config, chosen.fill(data.outcome_files), keys_only=keys_only)
    rows = pl.concat(derive_outcomes(config))
    if not isinstance(rows.schema[AS_OF], pl.Datetime):
        raise _no_timestamps(AS_OF)
    wanted = [*KEYS, config.label.column]
    others = [] if keys_only else [name for name in rows.columns if name not in (*wanted, *MADE)]
    made = [name for name in config.outcome_columns if name in MADE and not keys_only]
    return rows.select(*wanted, *others, *made)


def _no_timestamps(column: str) -> MasteryError:
    return MasteryError(
        f"{column}: expected timestamps or dates, found numbers of a clock of the "
        "log's own. What came in is compared with answers that were given at a time."
    )


def derive_outcomes(config: Config) -> Iterator[pl.DataFrame]:
    """Yields the outcomes that are derived from a log, some learners at a time.

    ```python
    for frame in derive_outcomes(load_config("my-log.yaml")):
        print(frame)
    ```

    Yields:
        `learner_id`, `unit_id`, `as_of` (UTC where it is a timestamp), the label by its own name,
        the other columns of outcomes, `horizon_days` (not for dates), `moment`, and `_fold` with
        `data.splits.column`.

    Raises:
        LogError: the log cannot be used, or no outcome can be derived; lists all of its problems.
        ValueError: the configuration has a table of outcomes.
    """
    spec = LogSpec.of(config)
    if spec.derived is None:
        raise ValueError("expected data.outcomes with derive, found files")
    made = [name for name in MADE if name != HORIZON or kind_of(spec.derived.moments[0]) != "dates"]
    columns = [*dict.fromkeys([*spec.outcome_columns, *made])]
    spec = spec.model_copy(update={"outcome_columns": columns})
    folds = [] if spec.splits.column is None else [FOLD]

    found = find_log(config)
    parts = divide(found.files, len(events_table(spec).kinds), spec.splits.seed, shards=1)
    tallies = []
    with read_in_parts(found, spec, parts) as (read, joined):
        raise_if_any(judge_reading(read, spec))
        for part in joined:
            raise_if_any(part.tally.problems)
            tallies.append(part.tally)
            yield part.outcomes.select(*KEYS, spec.label.column, *columns, *folds)
    conclude(read, merge_tallies(tallies), spec, splits=False)


def read_outcomes(
    config: Config, outcomes: Sequence[str], *, keys_only: bool = True
) -> pl.DataFrame:
    """Reads what turned out to be true, without any events.

    Args:
        config: how it is read; its own paths are ignored.
        outcomes: files, folders or patterns of a table of outcomes.
        keys_only: whether to ignore the columns besides keys and label.

    Returns:
        `learner_id`, `unit_id`, `as_of` (in UTC), the label by its own name and the other columns
        (the fold as `_fold`), in the order of the files.

    Raises:
        LogError: the files cannot be used, or a learner has two outcomes in a unit and at a
            moment; lists all of their problems.
        MasteryError: `as_of` is a number instead of a time.
    """
    spec = LogSpec.of(config).model_copy(update={"derived": None})
    if keys_only:
        spec = spec.without_splits().model_copy(update={"outcome_columns": []})
    read = read_files(outcomes_table(spec), find_files("outcomes", outcomes))
    tally = merge_tallies(read.tallies)
    raise_if_any([*tally.problems, *judge_clock(tally.clocks)])
    if not read.chunks:
        raise_if_any([Problem(subject="outcomes", expected="at least one row", found="none")])

    clock = common_clock(tally.clocks)
    if clock is not Clock.TIMESTAMP:
        raise _no_timestamps(spec.columns.as_of)
    rows = join_outcomes(read.chunks, clock, spec, tally)
    raise_if_any(find_duplicates(rows, read.files))
    return rows.drop(ORDER)

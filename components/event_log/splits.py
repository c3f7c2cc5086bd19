"""Which split an outcome is in, and which events that leaves it to see.

Learners, or whole units, are held out (`data.splits.by`): by a hash of their id, so that the split
of one does not depend on the others in the log, or by a column of outcomes with the number of its
fold. Then the column must agree: a learner, or unit, with two folds would be in two splits.

Where units are held out and sequences run over several units (`steps.history: learner`), the events
of units that are held out are too. In train an outcome sees those of train's units, in eval also
eval's, in test all: a model cannot have met the units that it is tested on, not even as steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from components.contracts.names import (
    EVAL,
    FOLD,
    LEARNER,
    SPLIT,
    SPLIT_HASH,
    SPLITS,
    TEST,
    TRAIN,
    UNIT,
)
from components.event_log.learners import hash_ids
from components.event_log.problems import Problem, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.config.data import Splits
    from components.event_log.log_spec import LogSpec
    from components.event_log.tally import Tally

Folds = dict[str, set[int]]  # numbers of folds by learner or unit

_SEEN_BY = "_seen_by"


def assign_splits(rows: pl.DataFrame, splits: Splits) -> pl.Series:
    """Returns the name of each row's split.

    Args:
        rows: `unit_id` if units are held out, otherwise `_split_hash` of the learner; `_fold` with
            `splits.column`, where null is not the fold of the test split.
        splits: how they are divided.
    """
    if splits.by == "unit":
        hashes = hash_ids(rows[UNIT], splits.seed).select(UNIT, SPLIT_HASH)
        rows = rows.drop(SPLIT_HASH, strict=False).join(hashes, on=UNIT, maintain_order="left")
    return rows.select(split_of(splits).alias(SPLIT)).to_series()


def split_of(splits: Splits) -> pl.Expr:
    """Returns the name of a row's split from its `_split_hash`, and `_fold` if a column has it."""
    hashed = pl.col(SPLIT_HASH)
    if splits.folds is None:
        shares = np.cumsum([splits.train, splits.eval, splits.test])
        bucket = hashed % int(shares[-1])
        return (
            pl.when(bucket < int(shares[0])).then(pl.lit(TRAIN))
            .when(bucket < int(shares[1])).then(pl.lit(EVAL))
            .otherwise(pl.lit(TEST))
        )  # fmt: skip

    # Quotient and remainder of a hash have nothing to do with each other.
    fold = hashed % splits.folds if splits.column is None else pl.col(FOLD)
    bucket = hashed // splits.folds % (splits.train + splits.eval)
    return (
        pl.when(fold == splits.fold).then(pl.lit(TEST))
        .when(bucket < splits.train).then(pl.lit(TRAIN))
        .otherwise(pl.lit(EVAL))
    )  # fmt: skip


def show_events(
    events: pl.DataFrame, outcomes: pl.DataFrame, splits: Splits, folds: Mapping[str, set[int]]
) -> pl.DataFrame:
    """Returns events once for every split of their learner's outcomes that may see them.

    Args:
        events: with `learner_id` and `unit_id`.
        outcomes: `learner_id` and their split.
        splits: units are held out.
        folds: of the units with outcomes, if a column has them.

    Returns:
        The rows of `events` with `_split`, the split that sees them.
    """
    units = events.select(pl.col(UNIT).unique(maintain_order=True))
    if splits.column is not None:
        known = {UNIT: [*folds], FOLD: [min(numbers) for numbers in folds.values()]}
        of_units = pl.DataFrame(known, schema={UNIT: pl.String, FOLD: pl.Int64})
        units = units.join(of_units, on=UNIT, how="left")

    order = pl.Enum(SPLITS)
    of_unit = units.select(UNIT, assign_splits(units, splits).cast(order).alias(_SEEN_BY))
    asked = outcomes.select(LEARNER, SPLIT).unique(maintain_order=True)
    shown = events.join(of_unit, on=UNIT, how="left").join(asked, on=LEARNER, how="inner")
    return shown.filter(pl.col(_SEEN_BY) <= pl.col(SPLIT).cast(order)).drop(_SEEN_BY)


def folds_of_units(outcomes: pl.DataFrame) -> Folds:
    """Returns the folds of every unit in some outcomes."""
    return {unit: {*folds} for unit, folds in outcomes.group_by(UNIT).agg(FOLD).iter_rows()}


def learner_in_two_folds(outcomes: pl.DataFrame) -> Folds:
    """Returns the first learner by name that has several folds, with them; empty if none has."""
    of_learner = outcomes.group_by(LEARNER).agg(pl.col(FOLD).unique())
    several = of_learner.filter(pl.col(FOLD).list.len() > 1).sort(LEARNER).head(1)
    return {learner: {*folds} for learner, folds in several.iter_rows()}


def judge_folds(total: Tally, spec: LogSpec) -> list[Problem]:
    """Returns the problem of a column of folds that does not agree, by the first id that has it."""
    several = sorted(name for name, folds in total.folds.items() if len(folds) > 1)
    if not several:
        return []
    by = spec.splits.by
    folds = " and ".join(str(fold) for fold in sorted(total.folds[several[0]]))
    return [
        Problem(
            subject="the log",
            column=str(spec.splits.column),
            expected=f"one fold per {by} (data.splits.column)",
            found=f"{folds} for the {by} {describe(several[0])}",
        )
    ]

"""What the size of a log suggests: whose events are seen, how many, how the model is fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from components.config.data import Splits
from components.contracts.names import EVENT_TYPE, LEARNER, SPLITS, TIME, UNIT
from components.event_log.learners import hash_ids
from components.event_log.point_in_time import find_windows
from components.event_log.splits import assign_splits
from pipeline.proposal.profile import is_skewed

if TYPE_CHECKING:
    from pipeline.proposal.overview import Overview
    from pipeline.proposal.reading import Field
    from pipeline.proposal.target import Target

LONGEST = 200  # steps; longer sequences are slow to fit, and say little more
FEW = 50  # outcomes of a class in a split; with fewer, more learners are held out
FEW_EVENTS = 10  # of a learner in a unit
_VOCABULARIES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class Shape:
    """Sizes that decide about sequences, splits and the fit.

    Attributes:
        history: whose events are seen.
        why_history: in words.
        max_steps: how many of them.
        why_steps: in words.
        cold_share: share of outcomes without events.
        outcomes: how many there are in the whole log, estimated.
        per_split: outcomes by split and class, of the whole log, estimated.
        splits: shares of learners.
    """

    history: Literal["unit", "learner"]
    why_history: str
    max_steps: int
    why_steps: str
    cold_share: float
    outcomes: int
    per_split: dict[str, dict[str, int]]
    splits: dict[str, int]

    @property
    def fewest(self) -> int:
        """The number of outcomes of the rarest class in the smallest split."""
        return min(count for classes in self.per_split.values() for count in classes.values())

    @property
    def tested(self) -> int:
        """Number of outcomes that the model is judged by."""
        return sum(self.per_split["test"].values())


def shape_of(overview: Overview, target: Target) -> Shape:
    """Returns the shape of a log with its outcomes."""
    history, why = _history(overview)
    keys = (LEARNER, UNIT) if history == "unit" else (LEARNER,)
    windows = find_windows(overview.events, target.rows, 10_000, keys)
    seen = windows.num_steps
    warm = seen[seen > 0]
    usual = float(np.quantile(warm, 0.95)) if len(warm) else 1.0
    steps = min(LONGEST, max(8, 8 * math.ceil(usual / 8)))
    cut = float((seen > steps).mean())
    longest = int(seen.max(initial=0))
    why_steps = f"of {longest:,} at most; {cut:.0%} of the outcomes have more, and see the last"

    splits, counts = divide(target, overview.share)
    return Shape(
        history,
        why,
        steps,
        why_steps if cut else f"none has more than {longest:,}",
        float((seen == 0).mean()),
        round(len(target.rows) / overview.share),
        counts,
        splits,
    )


def _history(overview: Overview) -> tuple[Literal["unit", "learner"], str]:
    by_unit = overview.events.group_by(LEARNER, UNIT).len()
    units = by_unit.group_by(LEARNER).len()["len"]
    several = float((units > 1).mean() or 0)  # type: ignore[arg-type]
    usual = float(by_unit["len"].median() or 0)  # type: ignore[arg-type]
    seen = f"{several:.0%} of the learners have several units, with {usual:.0f} events in each"
    if overview.per_second is None:
        return "unit", "the clock is the log's own, and may start anew in every unit"
    if several >= 0.5 and usual < FEW_EVENTS:
        return "learner", seen
    return "unit", seen


def divide(target: Target, share: float) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Returns shares of learners that leave enough of every class to judge by, and the counts."""
    hashes = hash_ids(target.rows[LEARNER], Splits().seed)
    rows = target.rows.join(hashes, on=LEARNER, maintain_order="left")
    counts: dict[str, dict[str, int]] = {}
    for shares in ({}, {"train": 6, "eval": 2, "test": 2}):
        split = assign_splits(rows, Splits.model_validate(shares))
        label = pl.lit("") if target.is_number else pl.col(target.column)
        found = (
            rows.select(split.alias("split"), label.alias("label")).group_by("split", "label").len()
        )
        known = {(name, word): count for name, word, count in found.iter_rows()}
        classes = target.classes or [""]
        counts = {
            name: {word: round(known.get((name, word), 0) / share) for word in classes}
            for name in SPLITS
        }
        if min(count for classes in counts.values() for count in classes.values()) >= FEW:
            return shares, counts
    return shares, counts


def features_of(
    overview: Overview, fields: list[Field], shape: Shape
) -> dict[str, tuple[dict[str, Any], str]]:
    """Returns the step features with what was seen of each, those that say nothing left out."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for item in fields:
        column = overview.events[item.name]
        known = column.drop_nulls()
        if item.kind == "categorical" and (known.n_unique() > 1 or item.name == EVENT_TYPE):
            found[item.name] = _words(known)
        elif item.kind == "numeric" and known.n_unique() > 1:
            found[item.name] = _numbers(column)

    if shape.history == "learner":
        found["step_unit"] = _words(overview.events[UNIT])
        found["same_unit"] = (
            {"type": "numeric", "scale": "none"},
            "1 in the unit that is asked about",
        )
    log = {"type": "numeric", "log": True}
    gaps = (
        overview.events.sort(LEARNER, UNIT, TIME)
        .select(pl.col(TIME).diff().over(LEARNER, UNIT))
        .to_series()
    )
    if overview.per_second is not None or gaps.drop_nulls().n_unique() > 2:
        found["time_since_previous"] = (log, "")
    found["time_to_as_of"] = (log, "")
    return found


def _words(values: pl.Series) -> tuple[dict[str, Any], str]:
    different = values.n_unique()
    size = next((size for size in _VOCABULARIES if size >= different), _VOCABULARIES[-1])
    width = 4 if different <= 10 else 8 if different <= 100 else 16
    return {
        "type": "categorical",
        "vocabulary": size,
        "embedding": width,
    }, f"{different:,} different"


def _numbers(values: pl.Series) -> tuple[dict[str, Any], str]:
    known = values.drop_nulls()
    feature: dict[str, Any] = {"type": "numeric"}
    low, middle, high = (float(known.quantile(share) or 0) for share in (0, 0.5, 1))
    seen = f"{low:.4g} to {high:.4g}, half below {middle:.4g}"
    if values.null_count():
        seen += f"; missing in {values.null_count() / len(values):.0%}"
    if is_skewed(known):
        feature["log"] = True
    return feature, seen


def context_of(overview: Overview, target: Target) -> dict[str, tuple[dict[str, Any], str]]:
    """Returns inputs beside the sequence: the unit, where there are several, and how late it is."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    if overview.events[UNIT].n_unique() > 1:
        found[UNIT] = _words(overview.events[UNIT])
    if target.horizon:
        found[target.horizon] = ({"type": "numeric"}, "when is asked")
    return found


def training_of(shape: Shape) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Returns the sections `model` and `training` for a log's size, and the reason."""
    fitted = sum(shape.per_split["train"].values())
    seen = f"{fitted:,} outcomes to fit to"
    if fitted < 2_000:
        return {"lstm": [32], "dense": [32]}, {"batch_size": 32, "learning_rate": 0.002}, seen
    if fitted < 20_000:
        return {"lstm": [64, 32], "dense": [64]}, {"batch_size": 64, "learning_rate": 0.002}, seen
    epochs = {"epochs": 15} if fitted > 200_000 else {}
    return (
        {"lstm": [64, 32], "dense": [64]},
        {"batch_size": 256, "learning_rate": 0.0015, **epochs},
        seen,
    )

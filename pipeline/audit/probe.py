"""A simple model that reads everything in examples but the label, to find what they show of it.

On labels that were shuffled among learners (or units, where those are held out) it has to score as
a coin does. If it does better, the examples show labels by another way than the one that they are
meant to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, SPLIT, TEST, TRAIN, UNIT

if TYPE_CHECKING:
    from components.event_log.log_spec import LogSpec

Array = npt.NDArray[Any]

MOST_ROWS = 5_000  # that the probe is fitted to
MOST_WORDS = 10  # of a categorical step that are counted one by one
_TREES, _SMALLEST_LEAF = 20, 5
_MISSING = -1e9  # trees can tell it from any other
_FEWEST = 20  # shuffles


@dataclass(frozen=True)
class ProbeTable:
    """What the probe reads of each outcome, and how it is asked.

    Attributes:
        names: of the columns.
        values: float32 [N, F]; `_MISSING` where a value is missing.
        labels: int [N], the classes by their number; a regression's are 1 above the median.
        classes: how many.
        owners: int [N], the learners by number; the units, where those are held out.
        is_train: bool [N], rows of the train split.
        is_test: bool [N], rows of the test split.
    """

    names: list[str]
    values: Array
    labels: Array
    classes: int
    owners: Array
    is_train: Array
    is_test: Array

    @classmethod
    def of(cls, rows: pl.DataFrame, spec: LogSpec) -> ProbeTable:
        """Returns the table of examples, one row per outcome."""
        table = rows.select(_columns(rows, spec))
        held_out = UNIT if spec.splits.by == "unit" else LEARNER
        split = rows[SPLIT]
        return cls(
            names=table.columns,
            values=np.nan_to_num(table.cast(pl.Float32).to_numpy(), nan=_MISSING),
            labels=class_numbers(rows[spec.label.column], spec),
            classes=max(2, len(spec.label.classes)),
            owners=rows[held_out].rank("dense").cast(pl.Int64).to_numpy() - 1,
            is_train=(split == TRAIN).to_numpy(),
            is_test=(split == TEST).to_numpy(),
        )


def class_numbers(labels: pl.Series, spec: LogSpec) -> Array:
    """Returns the number of each label's class; 1 for numbers above the median, else 0."""
    if not spec.label.classes:
        return (labels > labels.median()).cast(pl.Int64).to_numpy()
    return labels.replace_strict(
        spec.label.classes, [*range(len(spec.label.classes))], return_dtype=pl.Int64
    ).to_numpy()


def _columns(rows: pl.DataFrame, spec: LogSpec) -> Iterator[pl.Expr]:
    """Yields numbers for all that an example holds but the label: codes, means, last values."""
    for name in (LEARNER, UNIT, AS_OF, NUM_STEPS, *spec.outcome_columns):
        if rows.schema[name] == pl.String:
            yield pl.col(name).rank("dense").alias(name)
        else:
            yield pl.col(name)

    for name, kind in spec.features.items():
        steps = pl.col(name).list
        if kind == "numeric":
            known = pl.col(name).list.eval(pl.element().fill_nan(None))
            yield known.list.mean().alias(f"{name}.mean")
            yield known.list.sum().alias(f"{name}.sum")
            yield steps.last().alias(f"{name}.last")
            continue
        words = rows[name].explode().value_counts(sort=True).drop_nulls(name)[name]
        yield steps.n_unique().alias(f"{name}.words")
        yield steps.last().rank("dense").alias(f"{name}.last")
        for word in words.head(MOST_WORDS):
            yield steps.count_matches(word).alias(f"{name}.{word}")


def score_probe(table: ProbeTable, labels: Array) -> float:
    """Returns the AUC on the test split of trees fitted to the train split; .5 is a coin toss.

    With several classes it is the mean over them, each against all others.

    Args:
        table: what the trees read.
        labels: int [N], what they are to say.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    rows = np.flatnonzero(table.is_train)
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    trees = ExtraTreesClassifier(_TREES, min_samples_leaf=_SMALLEST_LEAF, random_state=0)
    trees.fit(table.values[rows], labels[rows])
    scores = trees.predict_proba(table.values[table.is_test])
    return mean_auc(labels[table.is_test], scores, trees.classes_)


def mean_auc(labels: Array, scores: Array, classes: Sequence[int]) -> float:
    """Returns the mean over classes of the AUC of each against all others; NaN without any.

    Args:
        labels: int [N].
        scores: [N, C].
        classes: the class of each column of `scores`.
    """
    from sklearn.metrics import roc_auc_score

    values = [
        roc_auc_score(labels == number, scores[:, column])
        for column, number in enumerate(classes)
        if 0 < (labels == number).sum() < len(labels)
    ]
    return float(np.mean(values)) if values else math.nan


def shuffle(owners: Array, seed: int) -> Array:
    """Returns for each row the row whose label it gets: one of another owner's.

    An owner's labels all come from one other owner, so whatever they have in common they keep, and
    an owner in two splits would show. They come in another order, and nothing that examples hold
    says whose they are: nobody can do better than a coin.

    Args:
        owners: int [N], by number, from 0: the learners, or the units where those are held out. For
            then a learner may well be in two splits, and would show.
        seed: another seed, another draw.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(len(owners))
    by_owner = drawn[np.argsort(owners[drawn], kind="stable")]
    counts = np.bincount(owners)
    starts = np.cumsum(counts) - counts

    place = np.empty_like(by_owner)  # of a row among those of its owner
    again = generator.permutation(len(owners))  # an owner may draw itself, then in another order
    place[again[np.argsort(owners[again], kind="stable")]] = np.arange(len(owners)) - np.repeat(
        starts, counts
    )
    donors = generator.permutation(len(counts))[owners]
    rows: Array = by_owner[starts[donors] + place % counts[donors]]
    return rows


@dataclass(frozen=True)
class Shuffles:
    """What the probe scored on shuffled labels.

    Attributes:
        scores: AUC of each shuffle.
    """

    scores: list[float]

    @property
    def mean(self) -> float:
        """The mean AUC."""
        return float(np.mean(self.scores))

    @property
    def deviation(self) -> float:
        """How much a score differs from shuffle to shuffle: the size of the log decides."""
        return float(np.std(self.scores, ddof=1))

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.deviation / math.sqrt(len(self.scores))


def score_shuffles(table: ProbeTable, first: float, error: float, most: int) -> Shuffles:
    """Scores as many shuffles as it takes for the mean to be known well enough.

    Args:
        table: what the probe reads.
        first: the score of a shuffle that was scored already, of seed 0.
        error: the standard error that the mean is to have; a smaller log takes more shuffles.
        most: how many at most.
    """
    scores = [first]
    while len(scores) < _FEWEST or (Shuffles(scores).error > error and len(scores) < most):
        labels = table.labels[shuffle(table.owners, seed=len(scores))]
        scores.append(score_probe(table, labels))
    return Shuffles(scores)

"""A simple model that reads everything in examples but the label, to find what they show of it.

On labels that were shuffled among learners it has to score as a coin does. If it does better, the
examples show labels by another way than the one that they are meant to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from components.contracts.names import AS_OF, LEARNER, NUM_STEPS, SPLIT, SPLITS, UNIT

if TYPE_CHECKING:
    from components.event_log.log_spec import LogSpec

Array = npt.NDArray[Any]

MOST_ROWS = 20_000  # that the probe is fitted to
MOST_WORDS = 10  # of a categorical step that are counted one by one
_LEAVES, _SMALLEST = 32, 20


@dataclass(frozen=True)
class ProbeTable:
    """What the probe reads of each outcome, and how it is asked.

    Attributes:
        names: of the columns.
        values: float32 [N, F]; NaN where a value is missing.
        labels: int [N], the classes by their number; a regression's are 1 above the median.
        classes: how many.
        learners: int [N], the learners by number.
        is_train: bool [N], rows of the train split.
        is_test: bool [N], rows of the test split.
    """

    names: list[str]
    values: Array
    labels: Array
    classes: int
    learners: Array
    is_train: Array
    is_test: Array

    @classmethod
    def of(cls, rows: pl.DataFrame, spec: LogSpec) -> ProbeTable:
        """Returns the table of examples, one row per outcome."""
        table = rows.select(_columns(rows, spec))
        split = rows[SPLIT]
        return cls(
            names=table.columns,
            values=table.cast(pl.Float32).to_numpy(),
            labels=class_numbers(rows[spec.label.column], spec),
            classes=max(2, len(spec.label.classes)),
            learners=rows[LEARNER].rank("dense").to_numpy() - 1,
            is_train=(split == SPLITS[0]).to_numpy(),
            is_test=(split == SPLITS[-1]).to_numpy(),
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
    """Returns the AUC on the test split of a tree fitted to the train split; .5 is a coin toss.

    With several classes it is the mean over them, each against all others.

    Args:
        table: what the tree reads.
        labels: int [N], what it is to say.
    """
    from sklearn.tree import DecisionTreeClassifier

    rows = np.flatnonzero(table.is_train)
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    tree = DecisionTreeClassifier(
        max_leaf_nodes=_LEAVES, min_samples_leaf=_SMALLEST, random_state=0
    )
    tree.fit(table.values[rows], labels[rows])
    scores = tree.predict_proba(table.values[table.is_test])
    return mean_auc(labels[table.is_test], scores, tree.classes_)


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


def shuffle_labels(table: ProbeTable, seed: int) -> Array:
    """Returns labels in which each learner has those of another, in another order.

    Whatever the labels of a learner have in common they keep, so a learner in two splits shows.
    Nothing that the examples hold says which learner they were taken from.
    """
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(len(table.labels))
    by_learner = drawn[np.argsort(table.learners[drawn], kind="stable")]
    counts = np.bincount(table.learners)
    starts = np.cumsum(counts) - counts

    donors = generator.permutation(len(counts))[table.learners]
    # The place of each outcome among those of its learner, in an order drawn anew.
    place = np.empty(len(drawn), np.int64)
    place[by_learner] = np.arange(len(drawn)) - np.repeat(starts, counts)
    source = by_learner[starts[donors] + place % counts[donors]]
    return table.labels[source]
